//! What all tenants share: the queue, the host and its own objects, and the workers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use vcluster_chassis::clock::Clock;
use vcluster_translate::custom::{Custom, Identity};

use crate::bodies::{FRESH, Room};
use crate::config::Engine as Config;
use crate::custom::definitions::Definitions;
use crate::custom::watches::Watches;
use crate::gate::{Gate, Sharing};
use crate::hash::HashMap;
use crate::limit::Bounds;
use crate::metrics::Metrics;
use crate::queue::Ticket;
use crate::replicas::Replicas;
use crate::server::Host;
use crate::tenant::{Id, Tenant};
use crate::work::Work;

mod arrivals;
mod destinations;
mod mirrored;
mod standing;
#[cfg(test)]
mod tests;
mod working;

pub use arrivals::{Arrivals, Coming};
use destinations::Network;
use mirrored::{Followed, Mirrored};
pub use standing::Standing;

/// Requests to the host that may be under way at once however late it answers.
const HOST_REQUESTS: usize = 2;

/// Tenants that are scanned at once: nobody waits for a scan, and each lists every kind on the host.
const SCANS: usize = 4;

/// Custom kinds that a process knows at most. They are never forgotten, so that metrics and memory stay bounded.
const CUSTOM: usize = 256;

/// What all tenants share.
#[derive(Debug)]
pub struct Engine {
    /// Limits.
    pub config: Config,
    /// The host's API server.
    pub host: Host,
    /// What waits to be done.
    pub work: Arc<Work>,
    /// Room for the fresh objects of all tenants.
    pub room: Room,
    /// The way to the host for the requests of all tenants.
    pub gate: Arc<Gate>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Host name of sync's Service, at which virtual API servers find the kubelet API of their nodes.
    pub kubelet_host: String,
    /// Rights to list a tenant for the first time.
    pub lists: Semaphore,
    /// Rights to scan a tenant.
    pub scans: Semaphore,
    /// Which tenants are this replica's.
    pub replicas: Replicas,
    /// CustomResourceDefinitions of the host.
    pub definitions: Definitions,
    /// Watches of custom kinds.
    pub watches: Watches,
    custom: Mutex<Vec<Custom>>,
    tenants: Mutex<Tenants>,
    /// The host's own objects, of kinds that are shown inside.
    mirrored: Mutex<Mirrored>,
    /// Addresses of the host's API servers, once they are known.
    api_servers: Mutex<Option<BTreeSet<IpAddr>>>,
    /// What the host's nodes tell of its network, until one of them changes.
    network: Mutex<Option<Network>>,
    followed: Mutex<Followed>,
    arrivals: Mutex<Arrivals>,
    /// Wakes those who wait for it, in the order in which they came.
    listed: Notify,
    standing: Mutex<Standing>,
    in_work: AtomicUsize,
    draining: AtomicUsize,
    supervised: watch::Sender<usize>,
}

/// A tenant whose objects are being removed, until dropped.
#[derive(Debug)]
pub struct Draining<'a>(&'a Engine);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.draining.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task that serves a virtual cluster, until dropped.
#[derive(Debug)]
pub struct Supervised(Arc<Engine>);

impl Drop for Supervised {
    fn drop(&mut self) {
        self.0.supervised.send_modify(|count| *count -= 1);
    }
}

#[derive(Debug, Default)]
struct Tenants {
    by_ticket: HashMap<Ticket, Arc<Tenant>>,
    by_namespace: HashMap<String, Vec<Ticket>>,
}

impl Engine {
    /// Makes it without tenants.
    pub fn new(
        config: Config,
        host: Host,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        kubelet_host: String,
    ) -> Self {
        let lists = Semaphore::new(config.max_concurrent_lists);
        let room = Room::new(config.fresh_objects);
        let bounds = Bounds {
            floor: HOST_REQUESTS,
            ceiling: config.host_requests,
        };
        let work = Work::new(config.workers);
        Self {
            config,
            host,
            work: Arc::new(work),
            room,
            gate: Arc::new(Gate::new(bounds, Sharing::All)),
            clock,
            metrics,
            lists,
            scans: Semaphore::new(SCANS),
            kubelet_host,
            replicas: Replicas::alone(),
            definitions: Definitions::default(),
            watches: Watches::default(),
            custom: Mutex::default(),
            tenants: Mutex::default(),
            mirrored: Mutex::default(),
            api_servers: Mutex::default(),
            network: Mutex::default(),
            followed: Mutex::default(),
            arrivals: Mutex::default(),
            listed: Notify::new(),
            standing: Mutex::default(),
            in_work: AtomicUsize::new(0),
            draining: AtomicUsize::new(0),
            supervised: watch::Sender::new(0),
        }
    }

    /// The same as one of these replicas.
    #[must_use]
    pub fn among(self, replicas: Replicas) -> Self {
        Self { replicas, ..self }
    }

    /// Adds a tenant: events and work find it from now on.
    pub fn enter(&self, tenant: &Arc<Tenant>) {
        let mut tenants = self.tenants();
        tenants.by_ticket.insert(tenant.ticket, Arc::clone(tenant));
        let namespace = tenants
            .by_namespace
            .entry(tenant.id.namespace.clone())
            .or_default();
        namespace.push(tenant.ticket);
    }

    /// Removes a tenant: nothing finds it any more.
    pub fn leave(&self, tenant: &Tenant) {
        let mut tenants = self.tenants();
        tenants.by_ticket.remove(&tenant.ticket);
        if let Some(namespace) = tenants.by_namespace.get_mut(&tenant.id.namespace) {
            namespace.retain(|ticket| *ticket != tenant.ticket);
            if namespace.is_empty() {
                tenants.by_namespace.remove(&tenant.id.namespace);
            }
        }
        drop(tenants);
        self.work.remove(tenant.ticket);
    }

    /// Takes note of a task that serves a virtual cluster, until what is returned is dropped.
    pub fn supervise(self: &Arc<Self>) -> Supervised {
        self.supervised.send_modify(|count| *count += 1);
        Supervised(Arc::clone(self))
    }

    /// Waits until nobody serves a virtual cluster any more, nor is letting one go.
    pub async fn emptied(&self) {
        let mut supervised = self.supervised.subscribe();
        // Fails only when the engine is gone.
        drop(supervised.wait_for(|count| *count == 0).await);
    }

    /// Whether it is certain that there is no virtual cluster of that UID any more.
    pub fn is_gone(&self, uid: &str) -> bool {
        // One that a selector leaves out is another process's.
        let is_known = |id: &Id| id.uid == uid;
        let is_out = {
            let standing = self.standing();
            standing.is_complete() && !standing.ids().iter().any(is_known)
        };
        self.config.selector.is_none()
            && is_out
            && !self.all().iter().any(|tenant| is_known(&tenant.id))
    }

    /// Every tenant, by host namespace and name.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let mut all: Vec<_> = self.tenants().by_ticket.values().cloned().collect();
        all.sort_by(|a, b| (&a.id.namespace, &a.id.name).cmp(&(&b.id.namespace, &b.id.name)));
        all
    }

    /// The tenants of a host namespace: one, or two while one replaces another.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Tenant>> {
        let tenants = self.tenants();
        let tickets = tenants.by_namespace.get(namespace).into_iter().flatten();
        tickets
            .filter_map(|ticket| tenants.by_ticket.get(ticket).cloned())
            .collect()
    }

    /// A tenant that is served.
    pub fn tenant(&self, namespace: &str, name: &str) -> Option<Arc<Tenant>> {
        self.in_namespace(namespace)
            .into_iter()
            .find(|tenant| tenant.id.name == name)
    }

    /// A tenant by its identity.
    pub fn by_id(&self, id: &Id) -> Option<Arc<Tenant>> {
        self.in_namespace(&id.namespace)
            .into_iter()
            .find(|tenant| tenant.id == *id)
    }

    /// The custom kind of that identity; nothing if there are too many.
    pub fn custom(&self, identity: &Identity) -> Option<Custom> {
        let mut known = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|kind| kind.identity() == identity);
        if let Some(found) = found {
            return Some(*found);
        }
        if known.len() >= CUSTOM {
            return None;
        }
        let new = Custom::leak(identity.clone());
        known.push(new);
        Some(new)
    }

    /// What is known of virtual clusters that are not worked for. Never held across an await.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tenants that are on their way into the engine.
    pub fn arrivals(&self) -> Arrivals {
        self.locked_arrivals().clone()
    }

    /// Forgets what was known of the host: a new term begins.
    pub fn reset(&self) {
        self.standing().set_complete(false);
        *self.all_followed() = Followed::default();
        *self.locked_arrivals() = Arrivals::default();
        self.all_mirrored().clear();
        *self.api_servers() = None;
        self.forget_network();
    }

    /// Has every tenant's objects that are fresh no more take less memory, until the token is cancelled.
    pub async fn settle_bodies(self: Arc<Self>, token: CancellationToken) {
        let mut moments = tokio::time::interval(FRESH / 4);
        moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while token.run_until_cancelled(moments.tick()).await.is_some() {
            for tenant in self.all() {
                tenant.state().bodies.settle(Instant::now());
            }
        }
    }

    /// Says that a tenant's objects are being removed.
    pub fn drains(&self) -> Draining<'_> {
        self.draining.fetch_add(1, Ordering::Relaxed);
        Draining(self)
    }

    /// Tenants whose objects are being removed.
    pub fn draining(&self) -> usize {
        self.draining.load(Ordering::Relaxed)
    }

    fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api_servers(&self) -> MutexGuard<'_, Option<BTreeSet<IpAddr>>> {
        self.api_servers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
