//! `/stats/summary`: what the tenant's own pods on one virtual node use.
//!
//! Composed of the host's PodMetrics by [`vcluster_translate::resource_metrics`]; no kubelet is asked.

use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use vcluster_translate::resource_metrics;

use super::record::{self, Record};
use super::{Kubelet, route};
use crate::object::time;
use crate::reply::{self, Body, Kind, Refusal};
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
                record::whole(reply::json(StatusCode::OK, &summary), record)
            }
            Err(refusal) => record::refused(refusal.into_response(), record),
        }
    }

    async fn summarize(&self, headers: &HeaderMap, record: &mut Record) -> Result<Value, Refusal> {
        let forwarded = headers.get(FORWARDED_URI);
        let node = route::node(forwarded.and_then(|uri| uri.to_str().ok()))?;
        record.asked_of(node);
        let tenant = record.tenant().clone();
        let _slot = self.summaries.enter(&tenant).ok_or_else(|| {
            let message = "too many summaries are asked for at once: try again";
            Refusal::new(Kind::TooMany, message)
        })?;
        let access = self.accesses.get(&tenant).await?;
        let (nodes, pods) = (
            format!("/api/v1/nodes?fieldSelector=metadata.name%3D{node}"),
            format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"),
        );
        let (nodes, pods, host) = tokio::try_join!(
            inside(&access, &nodes),
            inside(&access, &pods),
            host_metrics(&access)
        )?;
        let found = nodes
            .first()
            .ok_or_else(|| Refusal::new(Kind::NotFound, format!("there is no node {node:?}")))?;
        let now = time(self.engine.clock.now());
        Ok(resource_metrics::summary(
            found,
            &pods,
            &host,
            &access.tenant,
            &now,
        ))
    }
}
