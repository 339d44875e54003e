//! Which replica of sync serves which tenant, and that never two do.
//!
//! Each replica holds a Lease of its own and follows those of the others. To whom a tenant belongs every replica
//! computes for itself ([`rank`]). What keeps two from serving one tenant is a Lease per tenant, which is written only
//! when the tenant changes hands: who serves it holds it, and another takes it only when it is free, or when
//! its holder cannot act any more ([`leases`]). A replica that cannot renew its own Lease stops before the others
//! may conclude that; one that ends frees its Lease first and then each tenant's, so that the others begin at once. One
//! that is started again in the same pod takes what its dead predecessor held at once.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use vcluster_chassis::chance;
use vcluster_chassis::lease::is_predecessor;

use crate::server::Server;

use leases::{Claim, Leases, REPLICA, Record, TENANT, claim};

mod follow;
pub mod leases;
pub mod rank;
#[cfg(test)]
mod tests;

/// How long one request about a Lease may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// How soon a Lease is tried for again that cannot be had.
const AGAIN: Duration = Duration::from_millis(500);

/// The replicas, as this one sees them.
pub struct Replicas {
    shared: Option<Shared>,
}

struct Shared {
    leases: Api<Lease>,
    /// The same for a watch, which holds a connection of its own.
    watched: Api<Lease>,
    /// This process as its own Lease names it.
    me: String,
    table: Mutex<Table>,
    /// Tells that there are other replicas now. Wakes those who wait for it in the order in which they came.
    members: Notify,
    /// Tells that some tenant's Lease has another holder.
    holders: Notify,
}

struct Table {
    known: Leases,
    candidates: BTreeSet<String>,
    complete: bool,
    listed: BTreeSet<String>,
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas")
            .field("me", &self.shared.as_ref().map(|shared| &shared.me))
            .finish_non_exhaustive()
    }
}

/// Name of the Lease of the replica in that pod.
pub fn lease(pod: &str) -> String {
    format!("{REPLICA}{pod}")
}

/// How a replica calls itself: its pod, and where the others reach it.
pub fn holder(pod: &str, address: Option<SocketAddr>) -> String {
    address.map_or_else(|| pod.to_owned(), |address| format!("{pod}@{address}"))
}

/// The pod of a process, and its address if it says one. `POD[@ADDRESS][_UID]_RANDOM`.
fn parts(process: &str) -> (&str, Option<SocketAddr>) {
    // Neither a pod's name nor an address has one.
    let named = process.split_once('_').map_or(process, |(named, _)| named);
    match named.split_once('@') {
        Some((pod, address)) => (pod, address.parse().ok()),
        None => (named, None),
    }
}

impl Replicas {
    /// One process that runs alone: every tenant is its own.
    pub const fn alone() -> Self {
        Self { shared: None }
    }

    /// This process, by the name with which it holds its own Lease; those of others hold for `duration`.
    pub fn new(host: &Server, namespace: &str, me: &str, duration: Duration) -> Self {
        Self {
            shared: Some(Shared {
                leases: Api::namespaced(host.request.clone(), namespace),
                watched: Api::namespaced(host.watch.clone(), namespace),
                me: me.to_owned(),
                table: Mutex::new(Table {
                    known: Leases::new(duration),
                    candidates: BTreeSet::new(),
                    complete: false,
                    listed: BTreeSet::new(),
                }),
                members: Notify::new(),
                holders: Notify::new(),
            }),
        }
    }

    /// Waits until the tenant, for which nothing is done here, is to be served by this process and by no other. `told`
    /// is called with who serves it meanwhile.
    pub async fn take(&self, uid: &str, told: impl Fn(&str)) {
        let Some(shared) = &self.shared else {
            return;
        };
        loop {
            // What changes from here on is not missed.
            let (members, holders) = (shared.members.notified(), shared.holders.notified());
            if let Some(other) = shared.elsewhere(uid) {
                told(&other);
                if shared.is_mine(uid) {
                    // It could not be freed when it was let go; this process lives, so nobody else may take it.
                    self.release(uid).await;
                    tokio::time::sleep(AGAIN).await;
                } else {
                    members.await;
                }
                continue;
            }
            match tokio::time::timeout(DEADLINE * 3, shared.attempt(uid)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => told("another replica of sync, which lets it go"),
                Ok(Err(error)) => tracing::warn!(uid, %error, "lease of a tenant cannot be had"),
                Err(_elapsed) => tracing::warn!(uid, "lease of a tenant was not had in time"),
            }
            let pause = tokio::time::sleep(shared.patience(uid));
            tokio::select! {
                biased;
                () = members => {}
                () = shared.holder_changed(uid, holders) => {}
                () = pause => {}
            }
        }
    }

    /// Waits until the tenant is not to be served by this process any more.
    pub async fn lost(&self, uid: &str) {
        let Some(shared) = &self.shared else {
            return std::future::pending().await;
        };
        loop {
            let (members, holders) = (shared.members.notified(), shared.holders.notified());
            if shared.elsewhere(uid).is_some() || shared.is_taken(uid) {
                return;
            }
            tokio::select! {
                biased;
                () = members => {}
                () = shared.holder_changed(uid, holders) => {}
            }
        }
    }

    /// Lets another process have a tenant that this one has served and does not any more.
    pub async fn release(&self, uid: &str) {
        self.put_back(uid, false).await;
    }

    /// The same of a tenant that is gone.
    pub async fn forget(&self, uid: &str) {
        self.put_back(uid, true).await;
    }

    async fn put_back(&self, uid: &str, is_gone: bool) {
        let Some(shared) = &self.shared else {
            return;
        };
        let left = if is_gone {
            "lease of a tenant that is gone is removed later"
        } else {
            "a tenant is taken by others when this process has lost its own lease"
        };
        match tokio::time::timeout(DEADLINE, shared.put_back(uid, is_gone)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(uid, %error, "{left}"),
            Err(_elapsed) => tracing::warn!(uid, "{left}"),
        }
    }

    /// The address of the replica that serves a tenant, if that is another one and says where it is.
    pub fn address(&self, uid: &str) -> Option<SocketAddr> {
        let shared = self.shared.as_ref()?;
        let table = shared.table();
        let holder = table
            .known
            .holder(uid)
            .filter(|holder| *holder != shared.me)?;
        parts(holder).1
    }

    /// The addresses of the other replicas.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let Some(shared) = &self.shared else {
            return Vec::new();
        };
        let table = shared.table();
        let others = table.candidates.iter().filter(|other| **other != shared.me);
        others.filter_map(|other| parts(other).1).collect()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to serve the tenant, if not this process.
    fn elsewhere(&self, uid: &str) -> Option<String> {
        let table = self.table();
        if !table.complete {
            return Some(
                "not known yet: the Leases of sync's replicas are being listed".to_owned(),
            );
        }
        // By pod: a process that is started again gets its tenants back, and nobody else's move.
        let pods = table.candidates.iter().map(|process| parts(process).0);
        match rank::owner(uid, pods) {
            Some(owner) if owner == parts(&self.me).0 => None,
            Some(owner) => Some(format!("the replica {owner} of sync")),
            None => Some("not known yet: no replica of sync holds its Lease".to_owned()),
        }
    }

    /// Whether it is this process, or one that ended before this one began.
    fn is_own(&self, process: &str) -> bool {
        process == self.me || is_predecessor(process, &self.me)
    }

    /// Whether this process holds the tenant.
    fn is_mine(&self, uid: &str) -> bool {
        self.table().known.holder(uid) == Some(self.me.as_str())
    }

    /// Waits until the tenant's Lease has another holder than now, as far as is heard; `heard` tells of the next change.
    async fn holder_changed(&self, uid: &str, mut heard: Notified<'_>) {
        let holder = || self.table().known.holder(uid).map(str::to_owned);
        let before = holder();
        loop {
            heard.await;
            heard = self.holders.notified();
            if holder() != before {
                return;
            }
        }
    }

    /// How long the tenant's Lease need not be tried for, unless something is heard of it: whoever holds it may act until
    /// then. Drawn, so that the tenants of one holder are not all tried for at once.
    fn patience(&self, uid: &str) -> Duration {
        let now = Instant::now();
        let mut table = self.table();
        let holder = table.known.holder(uid).map(str::to_owned);
        let others = holder.filter(|holder| !self.is_own(holder));
        let left = others.map(|holder| table.known.time_left(&holder, now));
        drop(table);
        left.unwrap_or_default() + AGAIN.mul_f64(1.0 + chance::draw())
    }

    /// Whether another process holds the tenant.
    fn is_taken(&self, uid: &str) -> bool {
        let table = self.table();
        table
            .known
            .holder(uid)
            .is_some_and(|holder| holder != self.me)
    }

    /// One try to have the Lease of a tenant; tells whether it is held now.
    async fn attempt(&self, uid: &str) -> Result<bool, kube::Error> {
        let name = format!("{TENANT}{uid}");
        let found = self.leases.get_opt(&name).await?;
        let read = found.as_ref().map(record);
        if read.is_some() {
            // The watch may tell of it later.
            self.table().known.see(&name, read.as_ref(), Instant::now());
        }
        let holder = read.and_then(|read| read.holder);
        let may_act = match &holder {
            Some(holder) if !self.is_own(holder) => self.may_act(holder).await?,
            Some(_) | None => false,
        };
        match claim(holder.as_deref(), &self.me, may_act) {
            Claim::Wait => Ok(false),
            Claim::Take => match self.write(&name, found).await {
                Ok(written) => {
                    tracing::info!(uid, before = holder, "a tenant is taken");
                    let now = Instant::now();
                    self.table().known.see(&name, Some(&record(&written)), now);
                    Ok(true)
                }
                // Somebody else was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Whether a process may still act: its Lease is read, because a watch may tell of a renewal late.
    async fn may_act(&self, process: &str) -> Result<bool, kube::Error> {
        let name = lease(parts(process).0);
        let found = self.leases.get_opt(&name).await?;
        let found = found.as_ref().map(record);
        let now = Instant::now();
        let mut table = self.table();
        table.known.see(&name, found.as_ref(), now);
        Ok(table.known.may_act(process, now))
    }

    async fn write(&self, name: &str, found: Option<Lease>) -> Result<Lease, kube::Error> {
        let params = PostParams::default();
        if let Some(mut lease) = found {
            // The version of what was read: if anybody wrote since, this conflicts.
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(self.me.clone());
            // A write that changes nothing makes no version, and then whoever read the earlier one could still write.
            spec.lease_transitions = Some(
                spec.lease_transitions
                    .unwrap_or(0)
                    .checked_add(1)
                    .unwrap_or(0),
            );
            return self.leases.replace(name, &params, &lease).await;
        }
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                ..LeaseSpec::default()
            }),
        };
        self.leases.create(&params, &lease).await
    }

    async fn put_back(&self, uid: &str, is_gone: bool) -> Result<(), kube::Error> {
        let name = format!("{TENANT}{uid}");
        let Some(mut lease) = self.leases.get_opt(&name).await? else {
            return Ok(());
        };
        if record(&lease).holder.as_deref() != Some(self.me.as_str()) {
            return Ok(());
        }
        if is_gone {
            let preconditions = Preconditions {
                uid: lease.uid(),
                resource_version: lease.resource_version(),
            };
            let params = DeleteParams::default().preconditions(preconditions);
            self.leases.delete(&name, &params).await?;
            self.table().known.see(&name, None, Instant::now());
        } else {
            // client-go's way: an empty holder is what makes a lease free.
            lease.spec.get_or_insert_default().holder_identity = Some(String::new());
            let free = self
                .leases
                .replace(&name, &PostParams::default(), &lease)
                .await?;
            self.table()
                .known
                .see(&name, Some(&record(&free)), Instant::now());
        }
        Ok(())
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.clone());
    Record {
        holder: holder.filter(|holder| !holder.is_empty()),
        renewal: spec
            .and_then(|spec| spec.renew_time.as_ref())
            .map(|time| time.0.to_string()),
        version: lease
            .resource_version()
            .and_then(|version| version.parse().ok())
            .unwrap_or_default(),
    }
}
