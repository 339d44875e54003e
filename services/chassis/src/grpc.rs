//! The gRPC side of a service: one server with one stack, and channels to other services.
//!
//! [`Server`] takes each service together with its descriptor set, so that health and reflection cannot
//! be forgotten, and puts all of them behind the same layers. It serves any stream of connections:
//! [`crate::tls::accept`] in production, pipes in tests. [`channel`] makes the other end.
//!
//! Message sizes are limited by the generated services themselves: pass [`MAX_MESSAGE`] to their
//! `max_decoding_message_size` and `max_encoding_message_size`.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http::{HeaderName, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::server::Connected;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use crate::drain::Shutdown;
use crate::health::Health;

pub mod caller;
mod channel;
mod deadline;
mod limit;
mod methods;
mod outcome;
mod panic;
mod preface;
mod record;
mod serve;
mod status;
mod trace;

pub use caller::CallerLayer;
pub use channel::{Channel, ChannelOptions, Error as ChannelError, channel};
pub use deadline::Deadline;
pub use record::Metrics;

/// The largest message that a service of ours takes or sends, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Header of the id that joins the logs of one request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken from a client, in bytes.
const MAX_REQUEST_ID: usize = 128;
/// What every server has of itself.
const BUILT_IN: [&[u8]; 2] = [
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
];

/// Every service of a server behind its stack. For servers that share a port with other protocols.
pub type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Calls that may wait for the head of their response at once; more are refused with
    /// `RESOURCE_EXHAUSTED`. Streams that flow do not count.
    pub max_calls: usize,
    /// The longest that a call may take to the head of its response, whatever the client asks for.
    pub max_deadline: Duration,
    /// Streams of one connection.
    pub max_streams: u32,
    /// Age after which a connection is told to go, give or take a tenth; its streams may end.
    pub max_connection_age: Option<Duration>,
    /// How long streams may go on after that; without limit if absent.
    pub max_connection_age_grace: Option<Duration>,
    /// How often an idle client is asked whether it is there; silent ones are cut off 20 s later.
    pub keep_alive: Duration,
}

impl Default for Options {
    /// 1,024 calls, 60 s, 256 streams, 30 min without limit of grace, 20 s.
    fn default() -> Self {
        Self {
            max_calls: 1024,
            max_deadline: Duration::from_mins(1),
            max_streams: 256,
            max_connection_age: Some(Duration::from_mins(30)),
            max_connection_age_grace: None,
            keep_alive: Duration::from_secs(20),
        }
    }
}

/// A server could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A descriptor set is not one.
    #[error("a descriptor set cannot be decoded")]
    Descriptor(#[from] prost::DecodeError),
    /// Reflection cannot describe the services.
    #[error("reflection cannot describe the services")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Services that are served together.
#[derive(Debug)]
pub struct Server {
    options: Options,
    metrics: Metrics,
    health: Health,
    routes: RoutesBuilder,
    services: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
    callers: Option<CallerLayer>,
}

impl Server {
    /// Makes a server without services.
    pub fn new(options: Options, metrics: &Metrics, health: &Health) -> Self {
        Self {
            options,
            metrics: metrics.clone(),
            health: health.clone(),
            routes: RoutesBuilder::default(),
            services: Vec::new(),
            descriptors: Vec::new(),
            callers: None,
        }
    }

    /// Lets every call know its caller, and refuses those without. Health and reflection need none.
    pub fn callers(mut self, layer: CallerLayer) -> Self {
        self.callers = Some(layer);
        self
    }

    /// Adds a service with the encoded descriptor set that describes it.
    pub fn add<S>(mut self, service: S, descriptor_set: &'static [u8]) -> Self
    where
        S: tower::Service<Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.services.push(S::NAME);
        self.descriptors.push(descriptor_set);
        self
    }

    /// Serves the connections in tracked tasks until `shutdown` begins and their streams have ended.
    pub fn serve<I, IO>(self, incoming: I, shutdown: &Shutdown) -> Result<(), Error>
    where
        I: futures::Stream<Item = io::Result<IO>> + Send + 'static,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let options = self.options;
        let stack = self.into_stack(shutdown)?;
        let connections = serve::connections(incoming, stack, options, shutdown.clone());
        shutdown.spawn("grpc server", connections);
        Ok(())
    }

    /// Gives the services behind their stack, for a server of the caller's own. gRPC health follows
    /// readiness in a tracked task.
    pub fn into_stack(mut self, shutdown: &Shutdown) -> Result<Stack, Error> {
        self.routes.add_service(self.reflection()?);
        self.routes
            .add_service(status::health(&self.services, &self.health, shutdown));
        self.descriptors.extend(BUILT_IN);
        let methods = methods::Methods::read(&self.descriptors)?;
        let routes = std::mem::take(&mut self.routes).routes().prepare();
        Ok(self.stack(routes, methods))
    }

    /// The whole stack, outermost first.
    fn stack(self, routes: Routes, methods: methods::Methods) -> Stack {
        let handler = ServiceBuilder::new()
            .map_request(drop_odd_id)
            .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            // Trace and metrics stand outside of whatever may refuse or cut off a call, so that both
            // see it, with the code that the client sees.
            .layer(trace::TraceLayer)
            .layer(record::RecordLayer::new(self.metrics, methods))
            .layer(limit::LimitLayer::new(self.options.max_calls))
            .layer(deadline::DeadlineLayer::new(self.options.max_deadline))
            .layer(panic::CatchPanicLayer)
            .option_layer(self.callers)
            .service(routes);
        BoxCloneSyncService::new(handler.map_response(|response| response.map(Body::new)))
    }

    fn reflection(&self) -> Result<impl ReflectionService, Error> {
        let builder = self
            .descriptors
            .iter()
            .fold(
                tonic_reflection::server::Builder::configure(),
                |builder, descriptor| builder.register_encoded_file_descriptor_set(descriptor),
            )
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        Ok(builder.build_v1()?)
    }
}

/// Takes away a request id that would bloat every log line; it is then made anew.
fn drop_odd_id(mut request: Request<Body>) -> Request<Body> {
    let odd = |id: &http::HeaderValue| {
        id.len() > MAX_REQUEST_ID || !id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if request.headers().get(REQUEST_ID).is_some_and(odd) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

/// What [`RoutesBuilder`] asks of a service.
trait ReflectionService:
    tower::Service<
        Request<Body>,
        Error = Infallible,
        Response = Response<Body>,
        Future: Send + 'static,
    > + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> ReflectionService for S where
    S: tower::Service<
            Request<Body>,
            Error = Infallible,
            Response = Response<Body>,
            Future: Send + 'static,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

#[cfg(test)]
mod tests;
