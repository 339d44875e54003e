//! The admission webhook of virtual API servers: a Service gets its addresses from the host before it is stored.
//!
//! Promises:
//! - the tenant is the one of the client certificate, and only its own host namespace is written, by its own
//!   ServiceAccount;
//! - a dry run makes nothing;
//! - every answer comes within [`DEADLINE`], which is below the time that virtual API servers wait;
//! - a tenant with too many requests under way is told so, and keeps nobody else out.
//!
//! What is decided is [`vcluster_translate::service::admission`]'s. A reservation for a Service that is not stored
//! after all is collected by the engine. Every replica answers, whichever works for the tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use vcluster_resources::TenantUri;
use vcluster_resources::layout::SERVICES_WEBHOOK_PATH;

use crate::directory::Directory;
use crate::peer::{Caller, Handler};
use crate::reply::{self, Body, Kind, Refusal};

mod host;
mod reserve;
mod review;
#[cfg(test)]
mod tests;

pub use review::Review;

/// How long an answer may take; virtual API servers wait ten seconds.
const DEADLINE: Duration = Duration::from_secs(8);
/// Largest review: it holds a Service twice.
const MOST: usize = 3 << 20;
/// Requests of one tenant at once.
const PER_TENANT: usize = 16;

/// Answers admission reviews.
#[derive(Debug)]
pub struct Webhook {
    directory: Arc<Directory>,
    slots: Mutex<HashMap<TenantUri, Arc<Semaphore>>>,
}

impl Webhook {
    /// Makes it.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            slots: Mutex::default(),
        }
    }

    async fn answer<B>(&self, caller: &Caller, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body,
        B::Error: Into<reply::BoxError>,
    {
        if request.uri().path() != SERVICES_WEBHOOK_PATH {
            let message = format!("{} is not served here", request.uri().path());
            return Refusal::new(Kind::NotFound, message).into_response();
        }
        if request.method() != Method::POST {
            return Refusal::new(Kind::Method, "only POST is served here").into_response();
        }
        let Some(_slot) = self.enter(&caller.tenant) else {
            let message = "too many Services are being made at once; try again";
            return Refusal::new(Kind::TooMany, message).into_response();
        };
        let end = Instant::now() + DEADLINE;
        let read = async {
            let body = Limited::new(request.into_body(), MOST).collect().await;
            body.map(http_body_util::Collected::to_bytes)
        };
        let review = match tokio::time::timeout_at(end, read).await {
            Ok(Ok(body)) => Review::parse(&body),
            Ok(Err(error)) => Err(review::Error::Body(error.to_string())),
            Err(_elapsed) => Err(review::Error::Body("took too long".to_owned())),
        };
        match review {
            Ok(review) => {
                let answer = self.judge(caller, &review, end).await;
                reply::json(StatusCode::OK, &review.answer(answer))
            }
            Err(error) => Refusal::new(Kind::Bad, error.to_string()).into_response(),
        }
    }

    async fn judge(&self, caller: &Caller, review: &Review, end: Instant) -> review::Answer {
        let judged = async {
            if !review.is_of_services() {
                return Ok(Vec::new());
            }
            let tenant = self.directory.find(&caller.tenant).await?;
            reserve::service(&tenant, &self.directory, review).await
        };
        let answer = tokio::time::timeout_at(end, judged)
            .await
            .unwrap_or_else(|_elapsed| {
                let message = "the host cluster did not answer in time; try again";
                Err(review::Denied::unavailable(message))
            });
        if let Err(denied) = &answer {
            let (code, message) = (denied.code, &denied.message);
            tracing::info!(tenant = %caller.tenant, service = %review.name(), code, message, "a Service is refused");
        }
        answer
    }

    /// A right to be served, unless the tenant has its fill.
    fn enter(&self, tenant: &TenantUri) -> Option<OwnedSemaphorePermit> {
        let mut slots = self.slots();
        // Those with a request under way hold a second handle.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        let slot = slots
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(PER_TENANT)));
        Arc::clone(slot).try_acquire_owned().ok()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TenantUri, Arc<Semaphore>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Webhook {
    fn handle(
        self: Arc<Self>,
        caller: Arc<Caller>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move { self.answer(&caller, request).await })
    }
}
