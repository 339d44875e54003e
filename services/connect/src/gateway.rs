//! The front door: from a request to whoever answers it.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tracing::Instrument;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::health::Health;
use vcluster_chassis::telemetry::propagation;

use crate::authenticate::Authenticator;
use crate::authorize::Access;
use crate::body::{self, Body};
use crate::clusters::Clusters;
use crate::limits::Limits;
use crate::metrics::{Metrics, To};
use crate::peer::Peer;
use crate::platform::Platform;
use crate::record::Record;
use crate::refusal::{self, Kind, Refusal};
use crate::relay;
use crate::route::{self, Domain, Route, Service};
use crate::upstream::Upstreams;
use crate::vigil::Vigil;
use crate::{cluster, platform};

/// Everything that serving a request takes.
#[derive(Debug)]
pub struct Gateway {
    /// The domain of clusters' own hosts, if there is one.
    pub domain: Option<Domain>,
    /// Who calls.
    pub authenticator: Authenticator,
    /// What callers may do.
    pub access: Access,
    /// The virtual clusters of the host.
    pub clusters: Clusters,
    /// Their API servers.
    pub upstreams: Upstreams,
    /// The services behind the gateway, and its own.
    pub platform: Platform,
    /// What one user may have under way.
    pub limits: Limits,
    /// What ends streams.
    pub vigil: Vigil,
    /// What is counted.
    pub metrics: Metrics,
    /// Readiness, for load balancers.
    pub health: Health,
    /// The end of the process.
    pub shutdown: Shutdown,
}

impl Gateway {
    /// Answers one request of a connection.
    pub async fn handle(&self, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        // The method only: a path may name what its owner keeps to himself, and the audit has it.
        let span = tracing::info_span!(
            "request",
            otel.kind = "server",
            method = %request.method(),
            to = tracing::field::Empty,
        );
        propagation::set_parent(&span, request.headers());
        let answer = self.dispatch(peer, request);
        Box::pin(answer.instrument(span)).await
    }

    async fn dispatch(&self, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let route = route::route(&head, peer.server_name.as_deref(), self.domain.as_ref());
        let to = to(&route);
        tracing::Span::current().record("to", tracing::field::debug(to));
        let record = Record::new(&self.metrics, to, &head.method, head.uri.path(), &peer);
        let grpc = refusal::is_grpc(&head.headers);
        let request = Request::from_parts(head, body);
        let refused = |refusal: Refusal, record| refuse(refusal, grpc, record);
        match route {
            Route::Cluster(route) => {
                Box::pin(cluster::serve(self, &peer, route, request, record)).await
            }
            Route::Grpc(service) => {
                Box::pin(platform::serve(self, &peer, service, request, record)).await
            }
            Route::Health => self.healthz(record),
            Route::NotFound => refused(
                Refusal::new(
                    Kind::NotFound,
                    "nothing is served here: virtual clusters are at /clusters/HOST-NAMESPACE/NAME (with `kubectl proxy`, \
                     add --append-server-path)",
                ),
                record,
            ),
            Route::Bad(reason) => refused(Refusal::new(Kind::Bad, reason), record),
            Route::Misdirected => refused(
                Refusal::new(
                    Kind::Misdirected,
                    "this connection was opened for another host: open one for this host",
                ),
                record,
            ),
        }
    }

    /// Tells load balancers whether to send requests here, and nothing else.
    fn healthz(&self, mut record: Record) -> Response<Body> {
        let ready = self.health.is_ready();
        let (code, text) = if ready {
            (http::StatusCode::OK, "ok\n")
        } else {
            (http::StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        };
        record.answered(code);
        let mut response = Response::new(relay::whole(body::full(text), record));
        *response.status_mut() = code;
        response
    }
}

/// Refuses a request in the way that its client understands.
pub(crate) fn refuse(refusal: Refusal, grpc: bool, mut record: Record) -> Response<Body> {
    record.refused(&refusal);
    let response = if grpc {
        refusal.into_grpc()
    } else {
        refusal.into_http()
    };
    response.map(|body| relay::whole(body, record))
}

fn to(route: &Route) -> To {
    match route {
        Route::Cluster(_) => To::Cluster,
        Route::Grpc(Service::Control) => To::Control,
        Route::Grpc(Service::Sync) => To::Sync,
        Route::Grpc(Service::Connect | Service::Health) | Route::Health => To::Connect,
        Route::NotFound | Route::Bad(_) | Route::Misdirected => To::Nowhere,
    }
}
