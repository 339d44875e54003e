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
//! - discovery answers whatever the host says, so that a host without metrics breaks nothing inside.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::Client;
use serde_json::Value;
use vcluster_chassis::access;
use vcluster_chassis::identity::headers;
use vcluster_resources::label::CLUSTER_UID;
use vcluster_translate::resource_metrics;

use crate::apply::with_causes;
use crate::engine::Engine;
use crate::kubelet::access::{Access, Accesses};
use crate::kubelet::slots::Slots;
use crate::object::time;
use crate::peer::{Caller, Handler};
use crate::reply::{self, Body, Kind, Refusal};

mod discovery;
mod route;

use route::{Asked, Of, Route};

/// How long one request to either side may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Requests of one tenant at once.
const REQUESTS: usize = 64;

/// Answers for `metrics.k8s.io`.
#[derive(Debug)]
pub struct ResourceMetrics {
    engine: Arc<Engine>,
    accesses: Arc<Accesses>,
    slots: Slots,
}

impl ResourceMetrics {
    /// Makes it.
    pub(crate) fn new(engine: Arc<Engine>, accesses: Arc<Accesses>) -> Self {
        Self {
            engine,
            accesses,
            slots: Slots::new(REQUESTS),
        }
    }

    async fn answer<B>(&self, caller: &Caller, request: &Request<B>) -> Result<Value, Refusal> {
        let user = headers::decode(request.headers())
            .map_err(|error| Refusal::new(Kind::Bad, error.to_string()))?
            .ok_or_else(|| Refusal::new(Kind::Forbidden, "the request names no user"))?;
        let uri = request.uri();
        let asked = match route::route(request.method(), uri.path(), uri.query())? {
            Route::Discovery(document) => return Ok(document),
            Route::Metrics(asked) => asked,
        };
        let _slot = self.slots.enter(&caller.tenant).ok_or_else(|| {
            Refusal::new(
                Kind::TooMany,
                "too many metrics are asked for at once; try again",
            )
        })?;
        let access = self.accesses.get(&caller.tenant).await?;
        let attributes = asked.attributes();
        let allowed = access.authorizer.check(&user, &attributes).await;
        allowed.map_err(|error| refused(&error))?;
        self.measure(&access, &asked).await
    }

    async fn measure(&self, access: &Access, asked: &Asked) -> Result<Value, Refusal> {
        let host = host_metrics(access);
        match &asked.of {
            Of::Pods { namespace } => {
                let path = asked.in_virtual("pods", namespace.as_deref());
                let (pods, host) = tokio::try_join!(inside(access, &path), host)?;
                let found = resource_metrics::pods(&pods, &host, &access.tenant);
                asked.answer("PodMetrics", found)
            }
            Of::Nodes => {
                let path = asked.in_virtual("nodes", None);
                let (nodes, pods, host) =
                    tokio::try_join!(inside(access, &path), inside(access, PODS), host)?;
                let now = time(self.engine.clock.now());
                let found = resource_metrics::nodes(&nodes, &pods, &host, &access.tenant, &now);
                asked.answer("NodeMetrics", found)
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
                Ok(document) => reply::json(StatusCode::OK, &document),
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
pub(crate) async fn host_metrics(access: &Access) -> Result<Vec<Value>, Refusal> {
    let path = format!(
        "/apis/{}/namespaces/{}/pods?labelSelector={}%3D{}",
        resource_metrics::GROUP_VERSION,
        access.tenant.namespace,
        CLUSTER_UID.replace('/', "%2F"),
        access.tenant.uid
    );
    items(&access.host, &path).await.map_err(|failure| {
        tracing::debug!(tenant = %access.tenant, failure, "the host's metrics cannot be read");
        let why = "the host cluster does not tell what pods use: it has no metrics server, or that does not answer";
        Refusal::new(Kind::Unavailable, why)
    })
}

/// Objects of the virtual cluster.
pub(crate) async fn inside(access: &Access, path: &str) -> Result<Vec<Value>, Refusal> {
    items(&access.virtual_, path).await.map_err(|failure| {
        tracing::warn!(tenant = %access.tenant, failure, "virtual objects cannot be read");
        let why = "the virtual cluster's API server cannot be asked what there is";
        Refusal::new(Kind::Unavailable, why)
    })
}

async fn items(client: &Client, path: &str) -> Result<Vec<Value>, String> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(DEADLINE, client.request::<Value>(request)).await;
    let mut list = match answer {
        Ok(Ok(list)) => list,
        Ok(Err(error)) => return Err(with_causes(&error)),
        Err(_elapsed) => return Err("no answer in time".to_owned()),
    };
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        Some(_) | None => Ok(Vec::new()),
    }
}
