//! The audit of one request, and what is counted of it.
//!
//! A value that is dropped when the request has ended, however it ended, so that no end is missed. One JSON line
//! (target `audit`) when a request is let through, one when it ends; a refused one has the end only. They
//! hold no header, no query and nothing of a body or a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use crate::authenticate::{By, Caller};
use crate::metrics::{Class, Counted, Metrics, To};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::route::ClusterKey;
use vcluster_chassis::idle::UnderWay;

/// Longest part of a path that is logged.
const PATH: usize = 1024;

/// One request.
#[derive(Debug)]
pub struct Record {
    metrics: Metrics,
    begun: Instant,
    id: uuid::Uuid,
    to: To,
    method: Method,
    path: String,
    source: IpAddr,
    user: Option<String>,
    by: &'static str,
    credential: Option<String>,
    cluster: Option<ClusterKey>,
    class: Class,
    code: u16,
    grpc: Option<u16>,
    ended: &'static str,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    counted: Option<Counted>,
    _under_way: UnderWay,
}

impl Record {
    /// Begins with what is known of every request.
    pub fn new(metrics: &Metrics, to: To, method: &Method, path: &str, peer: &Peer) -> Self {
        let mut end = path.len().min(PATH);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            metrics: metrics.clone(),
            begun: Instant::now(),
            id: uuid::Uuid::new_v4(),
            to,
            method: method.clone(),
            path: path[..end].to_owned(),
            source: peer.address.to_canonical(),
            user: None,
            by: "",
            credential: None,
            cluster: None,
            class: Class::Short,
            code: 0,
            grpc: None,
            ended: "gone",
            received: Arc::default(),
            sent: Arc::default(),
            counted: None,
            _under_way: peer.requests.begin(),
        }
    }

    /// Adds the virtual cluster that is asked for.
    pub fn cluster(&mut self, cluster: &ClusterKey) {
        self.cluster = Some(cluster.clone());
    }

    /// Adds who asks.
    pub fn caller(&mut self, caller: &Caller) {
        self.user = Some(caller.identity.user.clone());
        self.by = caller.by.as_str();
        self.credential = match &caller.by {
            By::Credential { id, .. } => Some(id.clone()),
            By::Certificate | By::Token => None,
        };
    }

    /// Writes that the request is let through.
    pub fn started(&mut self, class: Class) {
        self.class = class;
        self.counted = Some(self.metrics.under_way(class));
        tracing::info!(
            target: "audit",
            event = "start",
            request = %self.id,
            user = self.user.as_deref(),
            by = self.by,
            credential = self.credential.as_deref(),
            cluster = self.cluster.as_ref().map(tracing::field::display),
            source = %self.source,
            method = %self.method,
            path = self.path,
            class = ?self.class,
            "request started"
        );
    }

    /// Adds the head of the answer.
    pub fn answered(&mut self, code: StatusCode) {
        self.code = code.as_u16();
        self.metrics.head(self.to, self.begun.elapsed());
    }

    /// Adds the status of a gRPC call, wherever it stands.
    pub fn grpc(&mut self, head_or_trailers: &HeaderMap) {
        let status = head_or_trailers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok());
        self.grpc = status.and_then(|status| status.parse().ok()).or(self.grpc);
    }

    /// Adds that the request was refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.ended = refusal.kind.reason();
        self.metrics.refused(self.to, self.ended);
        self.answered(refusal.kind.code());
    }

    /// Adds how it ended.
    pub fn ended(&mut self, how: &'static str) {
        self.ended = how;
    }

    /// Counter of the request's bytes.
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Counter of the answer's bytes.
    pub fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let received = self.received.load(Ordering::Relaxed);
        let sent = self.sent.load(Ordering::Relaxed);
        self.metrics.ended(self.to, self.code, received, sent);
        tracing::info!(
            target: "audit",
            event = "end",
            request = %self.id,
            user = self.user.as_deref(),
            by = self.by,
            credential = self.credential.as_deref(),
            cluster = self.cluster.as_ref().map(tracing::field::display),
            source = %self.source,
            method = %self.method,
            path = self.path,
            code = self.code,
            grpc = self.grpc,
            ended = self.ended,
            received,
            sent,
            milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request ended"
        );
    }
}
