//! What is known of the Leases of all replicas and of their tenants. No I/O, and no clock but the instants given.
//!
//! Two questions have two answers. Who is a *candidate* for tenants: who holds its Lease. Who *may still act*: who held
//! one, until its duration has passed since it was last seen to be renewed, released or not; a replica stops by itself
//! before that, by its own clock. Times that stand in Leases are of somebody else's clock and are only compared with
//! each other.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::guard::{self, Guard};
use crate::hash::HashMap;

/// Beginning of the names of replicas' Leases.
pub const REPLICA: &str = "vcluster-sync-replica-";
/// Beginning of the names of tenants' Leases.
pub const TENANT: &str = "vcluster-sync-tenant-";

/// A Lease as it stands: its holder and the renewal that it tells of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Who holds it, if anybody.
    pub holder: Option<String>,
    /// What changes with each renewal.
    pub renewal: Option<String>,
    /// Version of the object; a tenant's Lease never goes back to an older one.
    pub version: u64,
}

/// The Leases.
#[derive(Debug)]
pub struct Leases {
    duration: Duration,
    replicas: HashMap<String, (Record, Instant)>,
    signs: HashMap<String, Instant>,
    tenants: HashMap<String, (Option<String>, u64)>,
}

impl Leases {
    /// Knows nothing yet; Leases of replicas hold so long without renewal.
    pub fn new(duration: Duration) -> Self {
        Self {
            duration,
            replicas: HashMap::default(),
            signs: HashMap::default(),
            tenants: HashMap::default(),
        }
    }

    /// Takes note of a Lease, or of its end; tells whether anything but a renewal is new.
    pub fn see(&mut self, name: &str, record: Option<&Record>, now: Instant) -> bool {
        if let Some(uid) = name.strip_prefix(TENANT) {
            return self.see_tenant(uid, record);
        }
        if !name.starts_with(REPLICA) {
            return false;
        }
        let before = self.replicas.get(name).map(|(record, _)| record.clone());
        let same = |record: &Record| {
            before.as_ref().is_some_and(|before| {
                (&before.holder, &before.renewal) == (&record.holder, &record.renewal)
            })
        };
        if record.map_or_else(|| before.is_none(), same) {
            return false;
        }
        let before = before.unwrap_or_default();
        // Whoever held it until now may have renewed it a moment before.
        let now_held = record.and_then(|record| record.holder.clone());
        for holder in [&before.holder, &now_held].into_iter().flatten() {
            self.signs.insert(holder.clone(), now);
        }
        match record {
            Some(record) => drop(self.replicas.insert(name.to_owned(), (record.clone(), now))),
            None => drop(self.replicas.remove(name)),
        }
        before.holder != now_held
    }

    fn see_tenant(&mut self, uid: &str, record: Option<&Record>) -> bool {
        let Some(record) = record else {
            return self.tenants.remove(uid).is_some();
        };
        let known = self.tenants.get(uid);
        if known.is_some_and(|(_, version)| *version >= record.version) {
            return false;
        }
        let next = (record.holder.clone(), record.version);
        let before = self.tenants.insert(uid.to_owned(), next);
        before.and_then(|(holder, _)| holder) != record.holder
    }

    /// Who holds the Lease of a tenant.
    pub fn holder(&self, uid: &str) -> Option<&str> {
        self.tenants.get(uid)?.0.as_deref()
    }

    /// Names of all Leases that are known.
    pub fn names(&self) -> Vec<String> {
        let tenants = self.tenants.keys().map(|uid| format!("{TENANT}{uid}"));
        self.replicas.keys().cloned().chain(tenants).collect()
    }

    /// Replicas that hold their Lease.
    pub fn candidates(&self, now: Instant) -> BTreeSet<String> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < self.duration;
        let live = self.replicas.values().filter(|(_, at)| fresh(*at));
        live.filter_map(|(record, _)| record.holder.clone())
            .collect()
    }

    /// Leases of replicas of which nothing was seen for so long: their pods are gone.
    pub fn stale(&self, age: Duration, now: Instant) -> Vec<String> {
        let old = |at: Instant| now.saturating_duration_since(at) >= age;
        let stale = self.replicas.iter().filter(|(_, (_, at))| old(*at));
        stale.map(|(name, _)| name.clone()).collect()
    }

    /// Whether that process may still act. One that nobody heard of is given its time from now on.
    pub fn may_act(&mut self, process: &str, now: Instant) -> bool {
        !self.time_left(process, now).is_zero()
    }

    /// How long that process may still act, unless more is heard of it.
    pub fn time_left(&mut self, process: &str, now: Instant) -> Duration {
        let sign = *self.signs.entry(process.to_owned()).or_insert(now);
        let silent = now.saturating_duration_since(sign);
        self.duration.saturating_sub(silent)
    }

    /// UIDs of the tenants whose Leases are known, and who holds them.
    pub fn tenants(&self) -> Vec<(String, Option<String>)> {
        let tenants = self.tenants.iter();
        tenants
            .map(|(uid, (holder, _))| (uid.clone(), holder.clone()))
            .collect()
    }

    /// Forgets processes that cannot act any more and hold nothing.
    pub fn prune(&mut self, now: Instant) {
        let held: BTreeSet<_> = self
            .tenants
            .values()
            .filter_map(|(holder, _)| holder.as_ref())
            .collect();
        let duration = self.duration;
        self.signs.retain(|process, sign| {
            held.contains(process) || now.saturating_duration_since(*sign) < duration
        });
    }
}

/// What to do about the Lease of a tenant that is to be served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Write it: nobody holds it, or nobody who may still act. Also where it names this very process: others who
    /// took that for dead, and are about to write, must find another version.
    Take,
    /// Wait: its holder may still act.
    Wait,
}

/// Decides it. `holder_may_act` must come from a Lease read after the tenant's.
pub fn claim(holder: Option<&str>, me: &str, holder_may_act: bool) -> Claim {
    match holder {
        Some(holder) if holder != me && holder_may_act && guard::stands(Guard::HolderIsAwaited) => {
            Claim::Wait
        }
        Some(_) | None => Claim::Take,
    }
}
