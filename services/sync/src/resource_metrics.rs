//! The resource metrics API inside virtual clusters: `kubectl top`, and autoscaling by CPU and memory.
//!
//! A virtual API server leads requests for `metrics.k8s.io` here, as to any aggregated API server
//! ([`aggregation`](crate::aggregation) has it so). They are answered from the host's PodMetrics of the tenant's
//! own host namespace, read as the tenant's own ServiceAccount; what of them is whose is decided by
//! [`vcluster_translate::resource_metrics`].
//!
//! Promises:
//! - the tenant is the one whose front-proxy authority signed the caller's certificate;
//! - the user is the one that its API server names, and that API server is asked whether the user may;
//! - what is read and held for requests is bounded, for each tenant and for all together ([`reading`]);
//! - discovery answers whatever the host says, so that a host without metrics breaks nothing inside.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vcluster_chassis::access;
use vcluster_chassis::identity::headers;
use vcluster_resources::label::CLUSTER_UID;
use vcluster_translate::resource_metrics::{self, Measured, Node, Pod};

use crate::engine::Engine;
use crate::kubelet::access::{Access, Accesses};
use crate::object::time;
use crate::peer::{Caller, Handler};
use crate::reply::{self, Body, Kind, Refusal};

mod discovery;
pub(crate) mod reading;
mod route;

use reading::{Reading, Readings};
use route::{Asked, Of, Route};

/// Answers for `metrics.k8s.io`.
#[derive(Debug)]
pub struct ResourceMetrics {
    engine: Arc<Engine>,
    accesses: Arc<Accesses>,
    readings: Arc<Readings>,
}

impl ResourceMetrics {
    /// Makes it.
    pub(crate) fn new(
        engine: Arc<Engine>,
        accesses: Arc<Accesses>,
        readings: Arc<Readings>,
    ) -> Self {
        Self {
            engine,
            accesses,
            readings,
        }
    }

    async fn answer<B>(
        &self,
        caller: &Caller,
        request: &Request<B>,
    ) -> Result<Response<Body>, Refusal> {
        let user = headers::decode(request.headers())
            .map_err(|error| Refusal::new(Kind::Bad, error.to_string()))?
            .ok_or_else(|| Refusal::new(Kind::Forbidden, "the request names no user"))?;
        let uri = request.uri();
        let asked = match route::route(request.method(), uri.path(), uri.query())? {
            Route::Discovery(document) => return Ok(reply::json(StatusCode::OK, &document)),
            Route::Metrics(asked) => asked,
        };
        let mut reading = self.readings.enter(&caller.tenant)?;
        let access = self.accesses.get(&caller.tenant).await?;
        let attributes = asked.attributes();
        let allowed = access.authorizer.check(&user, &attributes).await;
        allowed.map_err(|error| refused(&error))?;
        let text = self.measure(&access, &asked, &mut reading).await?;
        reading.body(text).await
    }

    /// The answer, in JSON.
    async fn measure(
        &self,
        access: &Access,
        asked: &Asked,
        reading: &mut Reading,
    ) -> Result<String, Refusal> {
        match &asked.of {
            Of::Pods { namespace } => {
                let path = asked.in_virtual("pods", namespace.as_deref());
                let pods: Vec<Pod> = inside(access, reading, &path).await?;
                let host = host_metrics(access, reading).await?;
                let found = resource_metrics::pods(&pods, &host, &access.tenant);
                asked.answer("PodMetrics", &found)
            }
            Of::Nodes => {
                let path = asked.in_virtual("nodes", None);
                let nodes: Vec<Node> = inside(access, reading, &path).await?;
                let pods: Vec<Pod> = inside(access, reading, PODS).await?;
                let host = host_metrics(access, reading).await?;
                let now = time(self.engine.clock.now());
                let found = resource_metrics::nodes(&nodes, &pods, &host, &access.tenant, &now);
                asked.answer("NodeMetrics", &found)
            }
        }
    }
}

/// Pods that are on a node: only they are measured.
const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D";

impl Handler for ResourceMetrics {
    fn handle(
        self: Arc<Self>,
        caller: Arc<Caller>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            match self.answer(&caller, &request).await {
                Ok(answer) => answer,
                Err(refusal) => {
                    let (path, message) = (request.uri().path(), &refusal.message);
                    tracing::debug!(tenant = %caller.tenant, path, message, "metrics are refused");
                    refusal.into_response()
                }
            }
        })
    }
}

fn refused(error: &access::Error) -> Refusal {
    let kind = match error {
        access::Error::Denied(_) | access::Error::Unauthenticated { .. } => Kind::Forbidden,
        access::Error::Unavailable(_) => Kind::Unavailable,
        access::Error::Misconfigured(_) => Kind::Internal,
    };
    Refusal::new(kind, error.to_string())
}

/// What the host has measured of the tenant's pods.
pub(crate) async fn host_metrics(
    access: &Access,
    reading: &mut Reading,
) -> Result<Vec<Measured>, Refusal> {
    let path = format!(
        "/apis/{}/namespaces/{}/pods?labelSelector={}%3D{}",
        resource_metrics::GROUP_VERSION,
        access.tenant.namespace,
        CLUSTER_UID.replace('/', "%2F"),
        access.tenant.uid
    );
    // A metrics server knows no pages.
    reading.whole(&access.host, &path).await.map_err(|error| {
        tracing::debug!(tenant = %access.tenant, %error, "the host's metrics cannot be read");
        error.refusal("the host cluster does not tell what pods use: it has no metrics server, or that does not answer")
    })
}

/// Objects of the virtual cluster, by a path with a query.
pub(crate) async fn inside<T: DeserializeOwned + Serialize>(
    access: &Access,
    reading: &mut Reading,
    path: &str,
) -> Result<Vec<T>, Refusal> {
    reading
        .pages(&access.virtual_, path)
        .await
        .map_err(|error| {
            tracing::warn!(tenant = %access.tenant, %error, "virtual objects cannot be read");
            error.refusal("the virtual cluster's API server cannot be asked what there is")
        })
}
