//! `/stats/summary`: what the tenant's own pods on one virtual node use.
//!
//! Composed of the host's PodMetrics by [`vcluster_translate::resource_metrics`]; no kubelet is asked.

use http::{HeaderMap, Request, Response, StatusCode};
use vcluster_translate::resource_metrics::{self, Node, Pod};

use super::record::{self, Record};
use super::{Kubelet, route};
use crate::object::time;
use crate::reply::{Body, Kind, Refusal};
use crate::resource_metrics::{host_metrics, inside};

/// Where the API server says what it was asked for.
const FORWARDED_URI: &str = "x-forwarded-uri";

impl Kubelet {
    pub(super) async fn summary<B>(
        &self,
        request: &Request<B>,
        mut record: Record,
    ) -> Response<Body> {
        match self.summarize(request.headers(), &mut record).await {
            Ok(summary) => {
                record.answered(StatusCode::OK);
                record::whole(summary, record)
            }
            Err(refusal) => record::refused(refusal.into_response(), record),
        }
    }

    async fn summarize(
        &self,
        headers: &HeaderMap,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        let forwarded = headers.get(FORWARDED_URI);
        let node = route::node(forwarded.and_then(|uri| uri.to_str().ok()))?;
        record.asked_of(node);
        let tenant = record.tenant().clone();
        let mut reading = self.readings.enter(&tenant)?;
        let access = self.accesses.get(&tenant).await?;
        let text = {
            let path = format!("/api/v1/nodes?fieldSelector=metadata.name%3D{node}");
            let nodes: Vec<Node> = inside(&access, &mut reading, &path).await?;
            let found = nodes.first().ok_or_else(|| {
                Refusal::new(Kind::NotFound, format!("there is no node {node:?}"))
            })?;
            let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
            let pods: Vec<Pod> = inside(&access, &mut reading, &path).await?;
            let host = host_metrics(&access, &mut reading).await?;
            let now = time(self.engine.clock.now());
            resource_metrics::summary(found, &pods, &host, &access.tenant, &now).to_string()
        };
        reading.body(text).await
    }
}
