//! Leader election on a `coordination.k8s.io/v1` Lease.
//!
//! One process of several acts. The rules are client-go's: a lease that was not seen renewed for its
//! duration, by the watcher's own monotonic clock, may be taken; the holder renews often and stops being
//! leader when it could not renew for the renew deadline, which ends before anybody may take over. A
//! clean shutdown releases the lease, so that the next leader need not wait.
//!
//! What is promised is that two processes do not both *believe* to lead, as long as monotonic clocks
//! run equally fast and requests end in time. Writes that were sent before still may arrive after; so
//! they must be safe to repeat, which ours are.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::drain::Shutdown;

mod record;

use record::{Observed, Step};

/// Durations of the election, as in client-go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease holds without renewal.
    pub lease_duration: Duration,
    /// How long a leader goes on trying to renew before it steps down; less than the duration.
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
    /// Name of this process, different from every other's: the pod's.
    pub holder: String,
    /// Durations.
    pub timing: Timing,
}

/// The part that this process plays. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    term: watch::Receiver<Option<Instant>>,
    state: watch::Receiver<State>,
}

impl Leadership {
    /// Joins the election in a tracked task, until `shutdown` begins; then the lease is released.
    pub fn campaign(
        client: Client,
        candidate: Candidate,
        clock: impl Clock,
        shutdown: &Shutdown,
    ) -> Self {
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
            term: term_seen,
            state: state_seen,
        }
    }

    /// Leads always: for services that are told to run alone, and for tests.
    pub fn unopposed() -> Self {
        let (_, state) = watch::channel(State::Leader);
        let (_, term) = watch::channel(None);
        Self { term, state }
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
                _ = ticks.tick() => self.attempt().await,
                () = token.cancelled() => break,
            }
        }
        self.release().await;
    }

    /// One try to take or renew the lease, over before the term is.
    async fn attempt(&mut self) {
        let begun = Instant::now();
        let term = *self.term.borrow();
        // Half of the deadline, so that one request that hangs leaves time for another.
        let patience = begun + self.candidate.timing.renew_deadline / 2;
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
            self.follow("the renew deadline has passed");
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
            .send_replace(Some(begun + self.candidate.timing.renew_deadline));
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

    /// Gives the lease up, if it is still ours, so that another may take it at once.
    async fn release(&self) {
        let leading = *self.state.borrow() == State::Leader;
        self.follow("the shutdown has begun");
        if !leading {
            return;
        }
        let release = async {
            let lease = self.leases.get(&self.candidate.name).await?;
            match record::released(lease.spec.as_ref(), &self.candidate) {
                Some(spec) => self
                    .replace(Lease {
                        spec: Some(spec),
                        ..lease
                    })
                    .await
                    .map(drop),
                None => Ok(()),
            }
        };
        match tokio::time::timeout(self.candidate.timing.retry_period, release).await {
            Ok(Ok(())) => tracing::info!(lease = self.candidate.name, "lease was released"),
            Ok(Err(error)) => tracing::warn!(%error, "lease could not be released"),
            Err(_elapsed) => tracing::warn!("lease could not be released in time"),
        }
    }
}

#[cfg(test)]
mod tests;
