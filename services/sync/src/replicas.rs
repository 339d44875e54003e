//! Which replica of sync serves which tenant, and that never two do.
//!
//! Each replica holds a Lease of its own and follows those of the others. To whom a tenant belongs every replica
//! computes for itself ([`rank`]). What keeps two from serving one tenant is a Lease per tenant, which is written only
//! when the tenant changes hands: who serves it holds it, and another takes it only when it is free, or when
//! its holder cannot act any more ([`leases`]). A replica that cannot renew its own Lease stops before the others
//! may conclude that; one that ends frees its Lease first and then each tenant's, so that the others begin at once.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::retry::Policy;

use leases::{Claim, Leases, REPLICA, Record, TENANT, claim};

pub mod leases;
pub mod rank;
#[cfg(test)]
mod tests;

/// How long one request about a Lease may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// How often it is looked whether a Lease has run out.
const TICK: Duration = Duration::from_millis(500);
/// How long a Lease of a replica is kept of which nothing is heard: its pod is gone.
const KEPT: Duration = Duration::from_hours(1);
/// How soon a Lease is tried for again that cannot be had.
const AGAIN: Duration = Duration::from_millis(500);

/// The replicas, as this one sees them.
pub struct Replicas {
    shared: Option<Shared>,
}

struct Shared {
    leases: Api<Lease>,
    /// This process as its own Lease names it.
    me: String,
    table: Mutex<Table>,
    /// Wakes those who wait for it, in the order in which they came.
    changed: Notify,
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

/// The pod of a process, and its address if it says one. `POD[@ADDRESS]_RANDOM`.
fn parts(process: &str) -> (&str, Option<SocketAddr>) {
    let named = process.rsplit_once('_').map_or(process, |(named, _)| named);
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
    pub fn new(client: Client, namespace: &str, me: &str, duration: Duration) -> Self {
        Self {
            shared: Some(Shared {
                leases: Api::namespaced(client, namespace),
                me: me.to_owned(),
                table: Mutex::new(Table {
                    known: Leases::new(duration),
                    candidates: BTreeSet::new(),
                    complete: false,
                    listed: BTreeSet::new(),
                }),
                changed: Notify::new(),
            }),
        }
    }

    /// Follows the Leases until the token is cancelled.
    pub async fn follow(&self, token: &CancellationToken) {
        let Some(shared) = &self.shared else {
            return token.cancelled().await;
        };
        // What was known in an earlier term may be old.
        shared.table().complete = false;
        let mut events = watcher(shared.leases.clone(), watcher::Config::default()).boxed();
        let mut ticks = tokio::time::interval(TICK);
        let mut sweeps = tokio::time::interval(KEPT);
        let retry = Policy {
            cap: Duration::from_secs(2),
            ..Policy::default()
        };
        let mut failures = 0;
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                _ = ticks.tick() => shared.tick(),
                _ = sweeps.tick() => shared.sweep().await,
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        failures = 0;
                        shared.take(event);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%error, "leases of replicas cannot be followed");
                        tokio::time::sleep(retry.delay(failures)).await;
                        failures += 1;
                    }
                    None => return,
                },
            }
        }
    }

    /// Waits until the tenant, for which nothing is done here, is to be served by this process and by no other. `told` is called with who serves it
    /// meanwhile.
    pub async fn take(&self, uid: &str, told: impl Fn(&str)) {
        let Some(shared) = &self.shared else {
            return;
        };
        loop {
            // What changes from here on is not missed.
            let changed = shared.changed.notified();
            if let Some(other) = shared.elsewhere(uid) {
                told(&other);
                if shared.is_mine(uid) {
                    // It could not be freed when it was let go; this process lives, so nobody else may take it.
                    self.release(uid).await;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                changed.await;
                continue;
            }
            match tokio::time::timeout(DEADLINE * 3, shared.attempt(uid)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => told("another replica of sync, which lets it go"),
                Ok(Err(error)) => tracing::warn!(uid, %error, "lease of a tenant cannot be had"),
                Err(_elapsed) => tracing::warn!(uid, "lease of a tenant was not had in time"),
            }
            let pause = tokio::time::sleep(AGAIN);
            tokio::select! {
                biased;
                () = changed => {}
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
            // What changes from here on is not missed.
            let changed = shared.changed.notified();
            if shared.elsewhere(uid).is_some() || shared.is_taken(uid) {
                return;
            }
            changed.await;
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
        match tokio::time::timeout(DEADLINE, shared.put_back(uid, is_gone)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(uid, %error, "lease of a tenant is left to run out"),
            Err(_elapsed) => tracing::warn!(uid, "lease of a tenant is left to run out"),
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

    fn take(&self, event: Event<Lease>) {
        let now = Instant::now();
        let mut table = self.table();
        let mut is_news = false;
        match event {
            Event::Init => table.listed.clear(),
            Event::InitApply(lease) => {
                table.listed.insert(lease.name_any());
                is_news = table
                    .known
                    .see(&lease.name_any(), Some(&record(&lease)), now);
            }
            Event::Apply(lease) => {
                is_news = table
                    .known
                    .see(&lease.name_any(), Some(&record(&lease)), now);
            }
            Event::Delete(lease) => is_news = table.known.see(&lease.name_any(), None, now),
            Event::InitDone => {
                let listed = std::mem::take(&mut table.listed);
                for name in table.known.names() {
                    if !listed.contains(&name) {
                        table.known.see(&name, None, now);
                    }
                }
                table.complete = true;
                is_news = true;
            }
        }
        drop(table);
        if is_news {
            self.look(now, true);
        }
    }

    fn tick(&self) {
        let now = Instant::now();
        self.table().known.prune(now);
        self.look(now, false);
    }

    /// Removes the Leases of replicas that are long gone. Best effort: others do the same.
    async fn sweep(&self) {
        let stale = self.table().known.stale(KEPT, Instant::now());
        for name in stale {
            match tokio::time::timeout(DEADLINE, self.remove(&name)).await {
                Ok(Ok(())) => tracing::info!(name, "lease of a replica that is gone is removed"),
                Ok(Err(error)) => tracing::debug!(name, %error, "lease is removed later"),
                Err(_elapsed) => return,
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(name).await? else {
            return Ok(());
        };
        let preconditions = Preconditions {
            uid: lease.uid(),
            resource_version: lease.resource_version(),
        };
        let params = DeleteParams::default().preconditions(preconditions);
        self.leases.delete(name, &params).await?;
        Ok(())
    }

    /// Thinks over who there is; wakes who waits if that has changed, or `is_news`.
    fn look(&self, now: Instant, is_news: bool) {
        let mut table = self.table();
        let candidates = table.known.candidates(now);
        let has_changed = table.candidates != candidates;
        if has_changed {
            tracing::info!(replicas = candidates.len(), "replicas have changed");
            table.candidates = candidates;
        }
        drop(table);
        if has_changed || is_news {
            self.changed.notify_waiters();
        }
    }

    /// Who is to serve the tenant, if not this process.
    fn elsewhere(&self, uid: &str) -> Option<String> {
        let table = self.table();
        if !table.complete {
            return Some(
                "not known yet: the Leases of sync's replicas are being listed".to_owned(),
            );
        }
        let owner = rank::owner(uid, table.candidates.iter().map(String::as_str));
        match owner {
            Some(owner) if owner == self.me => None,
            Some(owner) => Some(format!("the replica {} of sync", parts(owner).0)),
            None => Some("not known yet: no replica of sync holds its Lease".to_owned()),
        }
    }

    /// Whether this process holds the tenant.
    fn is_mine(&self, uid: &str) -> bool {
        self.table().known.holder(uid) == Some(self.me.as_str())
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
        let holder = found.as_ref().and_then(|lease| record(lease).holder);
        let may_act = match &holder {
            Some(holder) if *holder != self.me => self.may_act(holder).await?,
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
            lease.spec.get_or_insert_default().holder_identity = Some(self.me.clone());
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
