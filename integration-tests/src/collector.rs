//! A collector of traces inside the cluster, for tests of what the services say to one.
//!
//! It listens where `cargo xtask test` told the services that one is: at an address that exists only
//! in the cluster's network namespace. A socket belongs to the namespace of the thread that made it,
//! so one thread goes in, makes the socket and ends; the rest happens outside.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    ffi::OsString,
    fmt::Write as _,
    fs::File,
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value},
    trace::v1 as otlp,
};
use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// Names the cluster's network namespace, as a file.
pub const NETNS: &str = "VCLUSTER_TEST_NETNS";
/// Names the address inside at which the services expect a collector.
pub const COLLECTOR: &str = "VCLUSTER_TEST_COLLECTOR";

/// What a service has told of a piece of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `service.name`.
    pub service: String,
    /// What it is called.
    pub name: String,
    /// Its id, in hex.
    pub id: String,
    /// The id of the span that it is part of, in hex; empty for a root.
    pub parent: String,
    /// Its attributes that are text.
    pub attributes: BTreeMap<String, String>,
}

/// The spans that have arrived, by the id of their trace.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    traces: Arc<Mutex<HashMap<String, Vec<Span>>>>,
}

impl Collector {
    /// The collector of this process, which listens from the first call on until the process ends.
    pub fn get() -> Self {
        static COLLECTOR: OnceLock<Collector> = OnceLock::new();
        COLLECTOR.get_or_init(Self::start).clone()
    }

    /// Spans of a trace that have arrived so far. They come in batches of some seconds.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        self.traces().get(id).cloned().unwrap_or_default()
    }

    fn start() -> Self {
        let (netns, address) = (variable(NETNS), variable(COLLECTOR));
        let address = address.to_string_lossy();
        let listener = listen(Path::new(&netns), &address);
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        thread::spawn(move || serve(listener, service));
        collector
    }

    fn traces(&self) -> MutexGuard<'_, HashMap<String, Vec<Span>>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, service: &str, span: &otlp::Span) {
        let told = Span {
            service: service.to_owned(),
            name: span.name.clone(),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: span.attributes.iter().filter_map(text).collect(),
        };
        let trace = hex(&span.trace_id);
        self.traces().entry(trace).or_default().push(told);
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for from in request.into_inner().resource_spans {
            let resource = from.resource.unwrap_or_default();
            let attributes: BTreeMap<_, _> = resource.attributes.iter().filter_map(text).collect();
            let service = attributes.get("service.name").map_or("", String::as_str);
            for span in from.scope_spans.iter().flat_map(|scope| &scope.spans) {
                self.add(service, span);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: run this test by `cargo xtask test`"))
}

fn listen(netns: &Path, address: &str) -> TcpListener {
    let inside = || {
        let file = File::open(netns)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    let listener = thread::scope(|scope| scope.spawn(inside).join());
    let listener = listener.expect("the thread does not panic");
    listener.unwrap_or_else(|error| {
        panic!(
            "no collector at {address} inside {}: {error}",
            netns.display()
        )
    })
}

fn serve(listener: TcpListener, service: TraceServiceServer<Collector>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread can be made");
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener))
            .await
    });
    // The test that waits for spans fails by itself and says what it has seen.
    eprintln!("the collector has ended: {served:?}");
}

fn text(attribute: &KeyValue) -> Option<(String, String)> {
    let any_value::Value::StringValue(text) = attribute.value.as_ref()?.value.as_ref()? else {
        return None;
    };
    Some((attribute.key.clone(), text.clone()))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
