//! The audit of one request, and what is counted of it.
//!
//! A value that is dropped when the request has ended, however it ended, so that no end is missed. One line (target
//! `audit`) when a request is let through to a pod, one when it ends. They hold no query, no header and nothing of
//! what is streamed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;
use vcluster_chassis::upgrade;
use vcluster_resources::TenantUri;
use vcluster_translate::reach::Asked;

use super::Verb;
use crate::metrics::{Counted, Metrics};
use crate::peer::Caller;
use crate::reply::{Body, BoxError};

/// Longest part of a path that is logged.
const PATH: usize = 512;

/// One request.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Metrics,
    begun: Instant,
    caller: Arc<Caller>,
    method: Method,
    path: String,
    verb: Option<Verb>,
    asked: Option<Asked>,
    node: Option<String>,
    code: u16,
    ended: &'static str,
    bytes: upgrade::Bytes,
    counted: Option<Counted>,
}

impl Record {
    /// Begins with what is known of every request.
    pub(super) fn new<B>(metrics: &Metrics, caller: Arc<Caller>, request: &Request<B>) -> Self {
        let path = request.uri().path();
        let mut end = path.len().min(PATH);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            metrics: metrics.clone(),
            begun: Instant::now(),
            caller,
            method: request.method().clone(),
            path: path[..end].to_owned(),
            verb: None,
            asked: None,
            node: None,
            code: 0,
            ended: "gone",
            bytes: upgrade::Bytes::default(),
            counted: None,
        }
    }

    /// Whose it is.
    pub(super) fn tenant(&self) -> &TenantUri {
        &self.caller.tenant
    }

    /// Adds what is asked for.
    pub(super) fn asked(&mut self, verb: Verb, asked: &Asked) {
        self.verb = Some(verb);
        self.asked = Some(asked.clone());
    }

    /// Adds of which node statistics are asked for.
    pub(super) fn asked_of(&mut self, node: &str) {
        self.node = Some(node.to_owned());
    }

    fn verb(&self) -> Option<&'static str> {
        let stats = self.node.as_ref().map(|_| "stats");
        self.verb.map(Verb::as_str).or(stats)
    }

    /// Writes that the request is let through to the pod.
    pub(super) fn started(&mut self) {
        self.counted = self.verb.map(|verb| self.metrics.kubelet_stream(verb));
        let asked = self.asked.as_ref();
        tracing::info!(
            target: "audit",
            event = "start",
            tenant = %self.caller.tenant,
            source = self.caller.address.map(tracing::field::display),
            verb = self.verb.map(Verb::as_str),
            namespace = asked.map(|asked| asked.namespace.as_str()),
            pod = asked.map(|asked| asked.pod.as_str()),
            container = asked.and_then(|asked| asked.container.as_deref()),
            method = %self.method,
            "request started"
        );
    }

    /// Adds the code of the answer.
    pub(super) fn answered(&mut self, code: StatusCode) {
        self.code = code.as_u16();
    }

    /// Adds how it ended.
    pub(super) fn ended(&mut self, how: &'static str) {
        self.ended = how;
    }

    /// Counters of what is streamed.
    pub(super) fn bytes(&self) -> upgrade::Bytes {
        self.bytes.clone()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let received = self.bytes.received.load(Ordering::Relaxed);
        let sent = self.bytes.sent.load(Ordering::Relaxed);
        self.metrics
            .kubelet_ended(self.verb(), self.code, received, sent);
        let asked = self.asked.as_ref();
        tracing::info!(
            target: "audit",
            event = "end",
            tenant = %self.caller.tenant,
            source = self.caller.address.map(tracing::field::display),
            verb = self.verb(),
            node = self.node.as_deref(),
            namespace = asked.map(|asked| asked.namespace.as_str()),
            pod = asked.map(|asked| asked.pod.as_str()),
            container = asked.and_then(|asked| asked.container.as_deref()),
            method = %self.method,
            path = self.path,
            code = self.code,
            ended = self.ended,
            received,
            sent,
            milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request ended"
        );
    }
}

/// An answer that is known as a whole; the record ends with it.
pub(super) fn whole(response: Response<Body>, mut record: Record) -> Response<Body> {
    record.ended("complete");
    drop(record);
    response
}

/// A refusal; the record ends with it.
pub(super) fn refused(response: Response<Body>, mut record: Record) -> Response<Body> {
    record.answered(response.status());
    record.ended("refused");
    drop(record);
    response
}

/// An answer that is streamed; the record ends when it does.
pub(super) fn streamed(body: Body, mut record: Record) -> Response<Body> {
    record.answered(StatusCode::OK);
    Response::new(Streamed { body, record }.boxed_unsync())
}

struct Streamed {
    body: Body,
    record: Record,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Buf::remaining);
                let sent = &self.record.bytes.sent;
                sent.fetch_add(length as u64, Ordering::Relaxed);
                if self.body.is_end_stream() {
                    self.record.ended("complete");
                }
            }
            Some(Err(_)) => self.record.ended("broken"),
            None => self.record.ended("complete"),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
