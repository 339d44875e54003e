//! The work on keys: who takes them, and what follows from how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use http::{HeaderMap, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use vcluster_chassis::retry::Policy;
use vcluster_chassis::telemetry::propagation;

use super::Engine;
use crate::guard::{self, Guard};
use crate::hold::Hold;
use crate::metrics::{Found, Outcome};
use crate::object::Key;
use crate::queue::{After, Lane, Taken};
use crate::sync::{self, Next};
use crate::tenant::Tenant;

/// Delays of a key that fails.
const RETRY: Policy = Policy {
    base: Duration::from_millis(250),
    factor: 2.0,
    cap: Duration::from_mins(1),
};

impl Engine {
    /// Keys in work.
    pub fn in_work(&self) -> usize {
        self.in_work.load(Ordering::Relaxed)
    }

    /// Works until the token is cancelled, and ends when what is in work by then is done. How many keys that is at
    /// once is the queue's to say.
    pub async fn work(self: Arc<Self>, token: CancellationToken) {
        let mut in_work = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Some(_ended) = in_work.join_next() => {}
                taken = self.work.take() => {
                    let engine = Arc::clone(&self);
                    in_work.spawn(async move {
                        let after = engine.work_on(&taken).await;
                        engine.work.done(taken.tenant, &taken.key, after);
                    });
                }
            }
        }
        while in_work.join_next().await.is_some() {}
    }

    async fn work_on(&self, taken: &Taken<Key>) -> After {
        let tenant = self.tenants().by_ticket.get(&taken.tenant).cloned();
        let Some(tenant) = tenant else {
            return After::Settled;
        };
        if !tenant.is_active() {
            // Frozen, or going: what is known now is looked at again when it thaws.
            return After::Until(Instant::now() + Duration::from_mins(1));
        }
        let _working = tenant.working();
        self.in_work.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        // One object of one tenant must not take the process down.
        let span = span(&tenant, &taken.key, self.clock.now());
        let work = tenant
            .bill
            .meter(sync::key(self, &tenant, &taken.key).instrument(span));
        let next = AssertUnwindSafe(work).catch_unwind().await;
        self.in_work.fetch_sub(1, Ordering::Relaxed);
        if taken.lane == Lane::Scan && next.as_ref().is_ok_and(|(_, steps)| *steps > 0) {
            self.metrics.found(Found::Fixed);
        }
        let (after, outcome) = match next {
            Ok((Next::Settled, _)) => (After::Settled, Outcome::Settled),
            Ok((Next::Until(at), _)) => (After::Until(at), Outcome::Settled),
            Ok((Next::Retry { after, message }, _)) => {
                let key = &taken.key;
                tracing::debug!(tenant = %tenant.id, %key, failures = taken.failures, message, "tried again later");
                let delays = guard::stands(Guard::BackOff);
                let failures = if delays { taken.failures } else { 0 };
                let delay = after.unwrap_or_default() + RETRY.delay(failures);
                (After::Failed(Instant::now() + delay), Outcome::Retried)
            }
            Err(_panic) => {
                tracing::error!(tenant = %tenant.id, key = %taken.key, "work on an object panicked");
                tenant.holds.set(&taken.key, Some(panicked()));
                (After::Failed(Instant::now() + RETRY.cap), Outcome::Panicked)
            }
        };
        self.metrics
            .worked(taken.key.kind, outcome, taken.since, begun);
        after
    }
}

fn panicked() -> Hold {
    let message = "sync itself failed at it, which its log tells more of; please report it";
    Hold::Failed {
        message: message.to_owned(),
    }
}

/// The span of work on a key, in the trace of whoever made the object, or else of the new virtual cluster.
fn span(tenant: &Tenant, key: &Key, now: jiff::Timestamp) -> tracing::Span {
    let span = tracing::info_span!("sync", otel.name = %format_args!("sync {}", key.kind), tenant = %tenant.id, %key);
    let left = tenant.state().entry(key).traceparent;
    let creation = tenant.creation.as_ref().and_then(|trace| trace.at(now));
    let parent = left.as_deref().or(creation);
    if let Some(parent) = parent.and_then(|parent| HeaderValue::from_str(parent).ok()) {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert("traceparent", parent);
        propagation::set_parent(&span, &headers);
    }
    span
}
