//! What to do about a lease record: a pure function of the record, what was seen of it, and the time.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

use super::{Candidate, is_predecessor};

/// The last change of the record that this process saw, and when by its own clock.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observed {
    spec: LeaseSpec,
    at: Instant,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Write this record; the times are the writer's to set.
    Write(LeaseSpec),
    /// Another holds the lease.
    Wait,
}

/// Notes the record, if it is another than last time. The times that stand in it are of somebody
/// else's clock and are never compared with ours.
fn observe(spec: Option<&LeaseSpec>, observed: &mut Option<Observed>, now: Instant) {
    let spec = spec.cloned().unwrap_or_default();
    if observed
        .as_ref()
        .is_none_or(|observed| observed.spec != spec)
    {
        *observed = Some(Observed { spec, at: now });
    }
}

pub(super) fn step(
    spec: Option<&LeaseSpec>,
    observed: &mut Option<Observed>,
    candidate: &Candidate,
    now: Instant,
) -> Step {
    observe(spec, observed, now);
    let held = spec.cloned().unwrap_or_default();
    match holder(&held) {
        Some(holder) if holder == candidate.holder => Step::Write(LeaseSpec {
            lease_duration_seconds: seconds(candidate),
            ..held
        }),
        Some(holder) if is_predecessor(holder, &candidate.holder) => {
            Step::Write(taken(&held, candidate))
        }
        Some(_) if now < expiry(observed.as_ref(), candidate, now) => Step::Wait,
        Some(_) | None => Step::Write(taken(&held, candidate)),
    }
}

/// The record that gives the lease up; `None` if it is not ours to give.
pub(super) fn released(spec: Option<&LeaseSpec>, candidate: &Candidate) -> Option<LeaseSpec> {
    let held = spec?;
    (holder(held) == Some(&candidate.holder)).then(|| LeaseSpec {
        // As client-go does; an empty holder is what makes the lease free.
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        ..held.clone()
    })
}

fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

fn taken(previous: &LeaseSpec, candidate: &Candidate) -> LeaseSpec {
    let transitions = previous.lease_transitions.unwrap_or(0);
    // The first holder of a new record is no transition.
    let changed = previous.holder_identity.is_some();
    LeaseSpec {
        holder_identity: Some(candidate.holder.clone()),
        lease_duration_seconds: seconds(candidate),
        lease_transitions: Some(transitions.saturating_add(i32::from(changed))),
        acquire_time: None,
        renew_time: None,
        preferred_holder: previous.preferred_holder.clone(),
        strategy: previous.strategy.clone(),
    }
}

/// Rounded up: others must not be told less than what the holder counts on.
fn seconds(candidate: &Candidate) -> Option<i32> {
    let duration = candidate.timing.lease_duration;
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).ok()
}

/// When the record that was last seen runs out: by the longer of the holder's duration and ours, so
/// that two versions with different settings do not overlap.
fn expiry(observed: Option<&Observed>, candidate: &Candidate, now: Instant) -> Instant {
    let Some(observed) = observed else { return now };
    let theirs = observed.spec.lease_duration_seconds.unwrap_or(0);
    let theirs = Duration::from_secs(u64::try_from(theirs).unwrap_or(0));
    observed.at + theirs.max(candidate.timing.lease_duration)
}
