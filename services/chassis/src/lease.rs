//! Leader election on a `coordination.k8s.io/v1` Lease.
//!
//! One process of several acts. The rules are client-go's: a lease that was not seen renewed for its
//! duration, by the watcher's own monotonic clock, may be taken; the holder renews often and stops being
//! leader when it could not renew for the renew deadline, which ends before anybody may take over.
//!
//! Who was started in the same pod after the holder need not wait either: a container is started again once its
//! process has ended, and not before. The pod's UID, which is part of what a process is called, says so; its name does
//! not, for a `StatefulSet` makes it again elsewhere.
//!
//! A clean shutdown releases the lease, so that the next leader need not wait, but not before every
//! [`Leadership`] of it is dropped: whoever holds one may still be acting. Where that takes longer than the
//! term, the lease is left to run out.
//!
//! What is promised is that two processes do not both *believe* to lead, as long as monotonic clocks
//! run equally fast (one that is suspended does not run) and nobody else writes or deletes the lease. Writes
//! that were sent before still may arrive after; so they must be safe to repeat, which ours are.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::chance;
use crate::clock::Clock;
use crate::drain::Shutdown;

mod record;

use record::{Observed, Step};

const TERM_OVER: &str = "the renew deadline has passed";

/// Durations of the election, as in client-go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease holds without renewal; the record tells it in whole seconds, rounded up.
    pub lease_duration: Duration,
    /// How long a leader goes on trying to renew before it steps down; less than the duration, and cut to
    /// two thirds of it where it is not.
    pub renew_deadline: Duration,
    /// How often the lease is tried for or renewed.
    pub retry_period: Duration,
}

impl Default for Timing {
    /// 15 s, 10 s and 2 s.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// How long a renewal makes a leader: never so long that another may lead before it ends.
    fn term(&self) -> Duration {
        if self.renew_deadline < self.lease_duration {
            self.renew_deadline
        } else {
            self.lease_duration * 2 / 3
        }
    }
}

/// Whether this process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It alone may act.
    Leader,
    /// Another may be acting.
    Follower,
}

/// Which lease, and who asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// Name of this process as people know it: the pod's. Two processes may bear the same one, for each
    /// adds a random part of its own.
    pub holder: String,
    /// UID of that pod; without it a process that is started again waits for its own former lease to run out.
    pub pod_uid: Option<String>,
    /// Durations.
    pub timing: Timing,
}

/// The part that this process plays. Cheap to clone. To be dropped by whoever has stopped acting on it:
/// the lease is released once nobody holds one.
#[derive(Debug, Clone)]
pub struct Leadership {
    holder: Arc<str>,
    term: watch::Receiver<Option<Instant>>,
    state: watch::Receiver<State>,
    /// The other end of a leadership without an election, which is never over.
    _unopposed: Option<Arc<watch::Sender<State>>>,
}

impl Leadership {
    /// Joins the election in a tracked task, until `shutdown` begins; then the lease is released.
    pub fn campaign(
        client: Client,
        candidate: Candidate,
        clock: impl Clock,
        shutdown: &Shutdown,
    ) -> Self {
        let candidate = Candidate {
            holder: unique(&candidate.holder, candidate.pod_uid.as_deref()),
            ..candidate
        };
        let holder = Arc::from(candidate.holder.as_str());
        let (term, term_seen) = watch::channel(None);
        let (state, state_seen) = watch::channel(State::Follower);
        let election = Election {
            leases: Api::namespaced(client, &candidate.namespace),
            candidate,
            clock,
            term,
            state,
            observed: None,
        };
        let token = shutdown.token();
        shutdown.spawn("lease", election.run(token));
        Self {
            holder,
            term: term_seen,
            state: state_seen,
            _unopposed: None,
        }
    }

    /// Leads always: for services that are told to run alone, and for tests.
    pub fn unopposed() -> Self {
        let (sender, state) = watch::channel(State::Leader);
        let (_, term) = watch::channel(None);
        Self {
            holder: Arc::from(""),
            term,
            state,
            _unopposed: Some(Arc::new(sender)),
        }
    }

    /// What this process is called in the lease: `HOLDER_UID_RANDOM`, or `HOLDER_RANDOM` where the pod has no UID.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Follows the state.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Whether this process leads at this instant. Asks the clock too, so it is right even when the
    /// task that would have said so has not run in time.
    pub fn is_leader(&self) -> bool {
        let in_term = self.term.borrow().is_none_or(|end| Instant::now() < end);
        *self.state.borrow() == State::Leader && in_term
    }

    /// Waits until this process leads; for ever, if the election is over. Cancel safe.
    pub async fn elected(&mut self) {
        if self
            .state
            .wait_for(|state| *state == State::Leader)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this process does not lead. Cancel safe.
    pub async fn deposed(&mut self) {
        // An error means that the election is over: deposed for good.
        drop(self.state.wait_for(|state| *state == State::Follower).await);
    }
}

/// Adds a random part to the name, as client-go's users do: a process must not take for its own the lease
/// of another that was started under the same name, or of the one that it replaces.
fn unique(holder: &str, pod_uid: Option<&str>) -> String {
    let number = chance::number();
    pod_uid.map_or_else(
        || format!("{holder}_{number:016x}"),
        |uid| format!("{holder}_{uid}_{number:016x}"),
    )
}

/// Whether a holder is an earlier process of the pod of this one, which cannot act any more.
pub fn is_predecessor(holder: &str, me: &str) -> bool {
    holder != me && pod_uid(me).is_some_and(|uid| pod_uid(holder) == Some(uid))
}

fn pod_uid(holder: &str) -> Option<&str> {
    let (rest, _random) = holder.rsplit_once('_')?;
    let (_, uid) = rest.rsplit_once('_')?;
    Some(uid).filter(|uid| !uid.is_empty())
}

/// What came of one try.
enum Outcome {
    Held,
    Lost,
    Conflict,
}

struct Election<C> {
    leases: Api<Lease>,
    candidate: Candidate,
    clock: C,
    term: watch::Sender<Option<Instant>>,
    state: watch::Sender<State>,
    observed: Option<Observed>,
}

impl<C: Clock> Election<C> {
    async fn run(mut self, token: tokio_util::sync::CancellationToken) {
        let mut ticks = tokio::time::interval(self.candidate.timing.retry_period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                () = self.end_of_term() => self.follow(TERM_OVER),
                _ = ticks.tick() => self.attempt().await,
            }
        }
        self.resign().await;
    }

    /// Waits until the term is over; for ever, if there is none.
    async fn end_of_term(&self) {
        let term = *self.term.borrow();
        match term {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    /// One try to take or renew the lease, over before the term is.
    async fn attempt(&mut self) {
        let begun = Instant::now();
        let term = *self.term.borrow();
        // Half of the term, so that one request that hangs leaves time for another.
        let patience = begun + self.candidate.timing.term() / 2;
        let until = term.map_or(patience, |end| end.min(patience));
        let lease = self.candidate.name.clone();
        match tokio::time::timeout_at(until, self.step()).await {
            Ok(Ok(Outcome::Held)) => self.lead(begun),
            Ok(Ok(Outcome::Lost)) => self.follow("another holds the lease"),
            // Somebody else wrote first. If we lead, that was no candidate: our term has not ended.
            Ok(Ok(Outcome::Conflict)) => tracing::debug!(lease, "lease was written by another"),
            Ok(Err(error)) => tracing::warn!(%error, lease, "lease cannot be renewed"),
            Err(_elapsed) => tracing::warn!(lease, "lease was not renewed in time"),
        }
        if self.term.borrow().is_some_and(|end| Instant::now() >= end) {
            self.follow(TERM_OVER);
        }
    }

    /// Reads the lease and does what the record calls for.
    async fn step(&mut self) -> Result<Outcome, kube::Error> {
        let lease = self.leases.get_opt(&self.candidate.name).await?;
        // Counted from when the answer is there: a renewal that happened while it was on its way must
        // not shorten the wait.
        let now = Instant::now();
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let spec = match record::step(spec, &mut self.observed, &self.candidate, now) {
            Step::Wait => return Ok(Outcome::Lost),
            Step::Write(spec) => self.stamp(spec),
        };
        let written = match lease {
            // The resource version of what was read: if anybody wrote since, this conflicts.
            Some(lease) => {
                self.replace(Lease {
                    spec: Some(spec),
                    ..lease
                })
                .await
            }
            None => self.create(spec).await,
        };
        match written {
            Ok(_) => Ok(Outcome::Held),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::Conflict),
            Err(error) => Err(error),
        }
    }

    fn stamp(&self, mut spec: LeaseSpec) -> LeaseSpec {
        let now = MicroTime(self.now());
        spec.acquire_time.get_or_insert_with(|| now.clone());
        spec.renew_time = Some(now);
        spec
    }

    /// Whole microseconds, as the API server keeps them.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, kube::Error> {
        self.leases
            .replace(&self.candidate.name, &PostParams::default(), &lease)
            .await
    }

    async fn create(&self, spec: LeaseSpec) -> Result<Lease, kube::Error> {
        let metadata = ObjectMeta {
            name: Some(self.candidate.name.clone()),
            namespace: Some(self.candidate.namespace.clone()),
            ..ObjectMeta::default()
        };
        let lease = Lease {
            metadata,
            spec: Some(spec),
        };
        self.leases.create(&PostParams::default(), &lease).await
    }

    fn lead(&self, begun: Instant) {
        // Counted from before the request was sent: others count from when they see it, which is later.
        self.term
            .send_replace(Some(begun + self.candidate.timing.term()));
        self.turn(State::Leader, "the lease is held");
    }

    fn follow(&self, reason: &'static str) {
        self.turn(State::Follower, reason);
        self.term.send_replace(None);
    }

    fn turn(&self, next: State, reason: &'static str) {
        let turned = self
            .state
            .send_if_modified(|state| std::mem::replace(state, next) != next);
        if turned {
            tracing::info!(lease = self.candidate.name, state = ?next, reason, "leadership moved");
        }
    }

    /// Stops to lead, and gives the lease up once nobody acts on it any more.
    async fn resign(&self) {
        let leading = *self.state.borrow() == State::Leader;
        let term = *self.term.borrow();
        self.follow("the shutdown has begun");
        let Some(end) = term.filter(|_| leading) else {
            return;
        };
        let lease = &self.candidate.name;
        if tokio::time::timeout_at(end, self.state.closed())
            .await
            .is_err()
        {
            tracing::warn!(lease, "lease is left to run out: it is still acted on");
            return;
        }
        match tokio::time::timeout(self.candidate.timing.retry_period, self.release()).await {
            Ok(Ok(())) => tracing::info!(lease, "lease was released"),
            Ok(Err(error)) => tracing::warn!(%error, lease, "lease could not be released"),
            Err(_elapsed) => tracing::warn!(lease, "lease could not be released in time"),
        }
    }

    /// Frees the lease for another, if it is still ours.
    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get(&self.candidate.name).await?;
        if let Some(spec) = record::released(lease.spec.as_ref(), &self.candidate) {
            let spec = Some(spec);
            self.replace(Lease { spec, ..lease }).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
