//! The kubelet API for virtual API servers: logs, exec, attach and port-forward of the tenant's own pods, and what they
//! use.
//!
//! Every virtual node leads here. A request names a pod as it is called inside; it is served from the pod's host
//! subresource, as the tenant's own ServiceAccount, after both pods have been read and
//! [`vcluster_translate::reach`] has decided. Sync has no right to any kubelet. What pods use is what the host's
//! metrics server says of them.
//!
//! Promises:
//! - the tenant is the caller's certificate's; nothing of the request has a say in it;
//! - bytes are passed on, not parsed: exit codes, terminals and half-closed streams are the host's own;
//! - every request leaves an audit line when it begins and when it ends;
//! - a tenant has so many requests under way, and a client that goes ends what it asked for.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use vcluster_chassis::drain::Shutdown;
use vcluster_translate::reach::Asked;

use crate::engine::Engine;
use crate::peer::{Caller, Handler};
use crate::reply::{self, Body, Kind, Refusal};
use crate::resource_metrics::reading::Readings;

pub(crate) mod access;
mod answer;
mod logs;
mod pods;
mod query;
mod record;
mod route;
pub(crate) mod slots;
mod streams;
mod summary;

use access::{Access, Accesses};
use record::Record;
use route::Route;
pub use route::Verb;
use slots::Slots;

/// Streams of one tenant at once.
const STREAMS: usize = 200;
/// Logs of one tenant at once: all tenants' share their connections to the host.
const LOGS: usize = 64;

/// Answers as the kubelet of every virtual node.
#[derive(Debug)]
pub struct Kubelet {
    engine: Arc<Engine>,
    accesses: Accesses,
    streams: Slots,
    logs: Slots,
    readings: Arc<Readings>,
    shutdown: Shutdown,
}

/// A request that is let through to a pod.
struct Admitted {
    access: Arc<Access>,
    pods: pods::Pods,
    permit: OwnedSemaphorePermit,
}

impl Kubelet {
    /// Makes it; streams end with the shutdown's deadline.
    pub(crate) fn new(engine: Arc<Engine>, readings: Arc<Readings>, shutdown: &Shutdown) -> Self {
        Self {
            accesses: Accesses::new(Arc::clone(&engine)),
            engine,
            streams: Slots::new(STREAMS),
            logs: Slots::new(LOGS),
            readings,
            shutdown: shutdown.clone(),
        }
    }

    async fn answer(&self, caller: Arc<Caller>, request: Request<Incoming>) -> Response<Body> {
        let route = route::route(request.method(), request.uri().path());
        let mut record = Record::new(&self.engine.metrics, caller, &request);
        match route {
            Ok(Route::Healthz) => {
                record.answered(http::StatusCode::OK);
                record::whole(Response::new(reply::full("ok")), record)
            }
            Ok(Route::Logs(asked)) => self.logs(asked, &request, record).await,
            Ok(Route::Stream(verb, asked)) => self.stream(verb, asked, request, record).await,
            Ok(Route::Summary) => self.summary(&request, record).await,
            Err(refusal) => record::refused(refusal.into_response(), record),
        }
    }

    /// Lets a request through to a pod: the tenant is there, has not its fill, and the pod is its own.
    async fn admit(
        &self,
        slots: &Slots,
        asked: &Asked,
        record: &mut Record,
    ) -> Result<Admitted, Refusal> {
        let tenant = record.tenant().clone();
        let permit = slots.enter(&tenant).ok_or_else(|| {
            Refusal::new(
                Kind::TooMany,
                "the virtual cluster has too many logs or streams open: close some and try again",
            )
        })?;
        let access = self.accesses.get(&tenant).await?;
        let pods = match pods::read(&access, asked).await {
            Ok(pods) => pods,
            Err(error) => {
                if error.doubts_access() {
                    self.accesses.forget(&tenant);
                }
                return Err(error.refusal(asked));
            }
        };
        record.started();
        Ok(Admitted {
            access,
            pods,
            permit,
        })
    }

    async fn logs(
        &self,
        asked: Asked,
        request: &Request<Incoming>,
        mut record: Record,
    ) -> Response<Body> {
        record.asked(Verb::Logs, &asked);
        match self.admit(&self.logs, &asked, &mut record).await {
            Ok(admitted) => logs::serve(admitted, &asked, request.uri().query(), record).await,
            // What a kubelet says of logs is text, which the API server puts into a Status.
            Err(refusal) => record::refused(answer::text(refusal), record),
        }
    }

    async fn stream(
        &self,
        verb: Verb,
        asked: Asked,
        request: Request<Incoming>,
        mut record: Record,
    ) -> Response<Body> {
        record.asked(verb, &asked);
        let admitted = match self.admit(&self.streams, &asked, &mut record).await {
            Ok(admitted) => admitted,
            Err(refusal) => return record::refused(refusal.into_response(), record),
        };
        streams::Stream {
            host: &self.engine.host,
            shutdown: &self.shutdown,
            verb,
            asked,
        }
        .serve(admitted, request, record)
        .await
    }
}

impl Handler for Kubelet {
    fn handle(
        self: Arc<Self>,
        caller: Arc<Caller>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move { self.answer(caller, request).await })
    }
}

#[cfg(test)]
mod tests;
