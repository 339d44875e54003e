//! The admission webhook of virtual API servers: a Service gets its addresses from the host before it is stored.
//!
//! Promises:
//! - the tenant is the one of the client certificate, and only its own host namespace is written, by its own
//!   ServiceAccount;
//! - a dry run makes nothing;
//! - every answer comes within [`DEADLINE`], which is below the time that virtual API servers wait;
//! - a tenant with too many requests under way, or too many Services on the host that are not stored yet, is told so,
//!   and keeps nobody else out;
//! - what is held of all reviews together is bounded.
//!
//! What is decided is [`vcluster_translate::service::admission`]'s. A reservation for a Service that is not stored
//! after all is collected by the engine. Every replica answers, whichever works for the tenant; what is bounded is
//! so per replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use vcluster_resources::TenantUri;
use vcluster_resources::layout::{SERVICE_PORTS, SERVICES_WEBHOOK_PATH};

use crate::directory::Directory;
use crate::metrics::Reviewed;
use crate::peer::{Caller, Handler};
use crate::reply::{self, Body, Kind, Refusal};

mod host;
mod reserve;
mod review;
mod share;
#[cfg(test)]
mod tests;

pub use review::Review;
use share::{Entered, Share};

/// How long an answer may take; virtual API servers wait ten seconds.
const DEADLINE: Duration = Duration::from_secs(8);
/// Largest review: it holds a Service twice.
const MOST: usize = 512 << 10;
/// Bytes of reviews of all tenants that are held at once: the least of what they cost in memory.
const HELD: usize = 32 << 20;
/// Requests of one tenant at once.
const PER_TENANT: usize = 16;

/// Answers admission reviews.
#[derive(Debug)]
pub struct Webhook {
    directory: Arc<Directory>,
    shares: Mutex<HashMap<TenantUri, Arc<Share>>>,
    held: Semaphore,
}

impl Webhook {
    /// Makes it.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            shares: Mutex::default(),
            held: Semaphore::new(HELD),
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
        let metrics = &self.directory.engine().metrics;
        let too_many = || {
            metrics.reviewed(Reviewed::TooMany);
            let message = "too many Services are being made at once; try again";
            Refusal::new(Kind::TooMany, message).into_response()
        };
        let Some(entered) = self.enter(&caller.tenant) else {
            return too_many();
        };
        let end = Instant::now() + DEADLINE;
        let size = weight(request.body());
        let Ok(Ok(_held)) = tokio::time::timeout_at(end, self.held.acquire_many(size)).await else {
            return too_many();
        };
        match tokio::time::timeout_at(end, read(request.into_body())).await {
            Ok(Ok(review)) => {
                let answer = self.judge(caller, &review, &entered.share, end).await;
                let outcome = answer
                    .as_ref()
                    .map_or(Reviewed::Denied, |_| Reviewed::Allowed);
                metrics.reviewed(outcome);
                reply::json(StatusCode::OK, &review.answer(answer))
            }
            Ok(Err(error)) => {
                metrics.reviewed(Reviewed::Malformed);
                Refusal::new(Kind::Bad, error.to_string()).into_response()
            }
            Err(_elapsed) => {
                metrics.reviewed(Reviewed::Malformed);
                let error = review::Error::Body("took too long".to_owned());
                Refusal::new(Kind::Bad, error.to_string()).into_response()
            }
        }
    }

    async fn judge(
        &self,
        caller: &Caller,
        review: &Review,
        share: &Share,
        end: Instant,
    ) -> review::Answer {
        let judged = async {
            if !review.is_of_services() {
                return Ok(Vec::new());
            }
            if review.ports() > SERVICE_PORTS {
                return Err(review::Denied::too_many_ports(
                    review.ports(),
                    SERVICE_PORTS,
                ));
            }
            let tenant = self.directory.find(&caller.tenant).await?;
            reserve::service(&tenant, &self.directory, share, review).await
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
    fn enter(&self, tenant: &TenantUri) -> Option<Entered> {
        let mut shares = self.shares();
        // Those with a request under way hold a second handle.
        shares.retain(|_, share| Arc::strong_count(share) > 1 || !share.is_spent());
        let share = shares.entry(tenant.clone()).or_insert_with(|| {
            let metrics = self.directory.engine().metrics.clone();
            Arc::new(Share::new(metrics))
        });
        Share::enter(share)
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<TenantUri, Arc<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a review will hold at least; the most if it does not say.
fn weight(body: &impl http_body::Body) -> u32 {
    let said = body.size_hint().exact().unwrap_or(MOST as u64);
    u32::try_from(said.clamp(1, MOST as u64)).unwrap_or(u32::MAX)
}

async fn read<B>(body: B) -> Result<Review, review::Error>
where
    B: http_body::Body,
    B::Error: Into<reply::BoxError>,
{
    match Limited::new(body, MOST).collect().await {
        Ok(body) => Review::parse(&body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(review::Error::Large(MOST)),
        Err(error) => Err(review::Error::Body(error.to_string())),
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
