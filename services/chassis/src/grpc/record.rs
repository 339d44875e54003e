//! The classic three of a gRPC server: calls started, calls handled by code, and how long they took.
//!
//! A call ends with its last byte, so a stream that lasts an hour counts an hour. A call that the
//! client gave up counts as `Cancelled`.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};

use super::methods::Methods;
use super::outcome::{self, Outcome};
use crate::metrics::{CALL_SECONDS, Registry};

/// Counters of gRPC servers. Made once per process, cloned to each server.
#[derive(Debug, Clone)]
pub struct Metrics {
    started: Family<Labels, Counter>,
    in_flight: Family<Labels, Gauge>,
    handled: Family<Handled, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    grpc_service: Arc<str>,
    grpc_method: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(
    clippy::struct_field_names,
    reason = "the labels' names are a convention"
)]
struct Handled {
    grpc_service: Arc<str>,
    grpc_method: Arc<str>,
    grpc_code: &'static str,
}

impl Labels {
    pub(super) fn new(service: &str, method: &str) -> Self {
        Self {
            grpc_service: service.into(),
            grpc_method: method.into(),
        }
    }
}

impl Metrics {
    /// Adds the families to the registry as `grpc_server_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            started: Family::default(),
            in_flight: Family::default(),
            handled: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
        };
        let grpc = registry.sub_registry("grpc_server");
        grpc.register("started", "Calls that began", this.started.clone());
        grpc.register(
            "in_flight",
            "Calls and streams that have not ended",
            this.in_flight.clone(),
        );
        grpc.register("handled", "Calls that ended, by code", this.handled.clone());
        grpc.register(
            "handling_seconds",
            "From the head to the last byte",
            this.seconds.clone(),
        );
        this
    }

    fn begin(&self, labels: Labels) -> Call {
        self.started.get_or_create(&labels).inc();
        self.in_flight.get_or_create(&labels).inc();
        Call {
            metrics: self.clone(),
            labels,
            begun: Instant::now(),
            code: Code::Cancelled,
        }
    }
}

/// A call under way; counted as ended when dropped.
#[derive(Debug)]
struct Call {
    metrics: Metrics,
    labels: Labels,
    begun: Instant,
    code: Code,
}

impl Outcome for Call {
    fn ended(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let handled = Handled {
            grpc_service: Arc::clone(&self.labels.grpc_service),
            grpc_method: Arc::clone(&self.labels.grpc_method),
            grpc_code: name(self.code),
        };
        self.metrics.handled.get_or_create(&handled).inc();
        self.metrics.in_flight.get_or_create(&self.labels).dec();
        let seconds = self.begun.elapsed().as_secs_f64();
        self.metrics
            .seconds
            .get_or_create(&self.labels)
            .observe(seconds);
    }
}

/// The code's name as other servers' metrics spell it.
pub(super) const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// Records every call.
#[derive(Debug, Clone)]
pub(super) struct RecordLayer {
    metrics: Metrics,
    methods: Methods,
}

impl RecordLayer {
    pub(super) fn new(metrics: Metrics, methods: Methods) -> Self {
        Self { metrics, methods }
    }
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Record<S> {
        Record {
            layer: self.clone(),
            inner,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Record<S> {
    layer: RecordLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for Record<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let labels = self.layer.methods.labels(request.uri().path()).clone();
        let call = self.layer.metrics.begin(labels);
        let response = self.inner.call(request);
        Box::pin(async move { Ok(outcome::follow(response.await?, call)) })
    }
}
