//! What all tenants share: the queue, the host and its own objects, and the workers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use vcluster_chassis::clock::Clock;
use vcluster_chassis::retry::Policy;
use vcluster_chassis::telemetry::propagation;
use vcluster_translate::class;
use vcluster_translate::custom::{Custom, Identity};
use vcluster_translate::kind::{Outside, Translation};
use vcluster_translate::{mirror, persistent_volume};

use crate::bodies::{FRESH, Room};
use crate::capacities::Capacities;
use crate::config::Engine as Config;
use crate::custom::definitions::Definitions;
use crate::custom::watches::Watches;
use crate::gate::{Gate, Sharing};
use crate::hash::{HashMap, HashSet};
use crate::hold::Hold;
use crate::limit::Bounds;
use crate::metrics::{Found, Metrics, Outcome};
use crate::object::{Key, Kind};
use crate::queue::{After, Lane, Taken, Ticket};
use crate::replicas::Replicas;
use crate::server::Host;
use crate::sync::{self, Next};
use crate::tenant::{Id, Tenant};
use crate::work::Work;

mod arrivals;
mod destinations;
mod standing;
#[cfg(test)]
mod tests;

pub use arrivals::{Arrivals, Coming};
pub use standing::Standing;

/// Delays of a key that fails.
const RETRY: Policy = Policy {
    base: Duration::from_millis(250),
    factor: 2.0,
    cap: Duration::from_mins(1),
};

/// Requests to the host that may be under way at once however late it answers.
const HOST_REQUESTS: usize = 2;

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
    /// Which tenants are this replica's.
    pub replicas: Replicas,
    /// CustomResourceDefinitions of the host.
    pub definitions: Definitions,
    /// Watches of custom kinds.
    pub watches: Watches,
    /// How much room the host's storage has left.
    pub capacities: Capacities,
    custom: Mutex<Vec<Custom>>,
    tenants: Mutex<Tenants>,
    /// The host's own objects, of kinds that are shown inside.
    mirrored: Mutex<Mirrored>,
    /// Addresses of the host's API servers, once they are known.
    api_servers: Mutex<Option<BTreeSet<IpAddr>>>,
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

/// Objects by kind and name.
type Mirrored = HashMap<(Kind, Arc<str>), Arc<Value>>;

/// Kinds that are followed on the host for all tenants at once.
#[derive(Debug, Default)]
struct Followed {
    listed: HashSet<Kind>,
    unserved: HashSet<Kind>,
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
            kubelet_host,
            replicas: Replicas::alone(),
            definitions: Definitions::default(),
            watches: Watches::default(),
            capacities: Capacities::default(),
            custom: Mutex::default(),
            tenants: Mutex::default(),
            mirrored: Mutex::default(),
            api_servers: Mutex::default(),
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
        let standing = self.standing();
        self.config.selector.is_none()
            && standing.is_complete()
            && !standing.ids().iter().any(is_known)
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

    /// Forgets what was known of the host's own objects of a kind.
    pub fn forget_mirrored(&self, kind: Kind) {
        self.set_listed(kind, false);
        self.all_mirrored().retain(|(found, _), _| *found != kind);
    }

    /// An object of the host's own.
    pub fn mirrored(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.all_mirrored().get(&(kind, Arc::from(name))).cloned()
    }

    /// How a tenant stands to a class of the host.
    pub fn class_standing(&self, tenant: &Tenant, class: Kind, name: &str) -> class::Standing {
        let is_shown = |found: &Value| match &class.description().translation {
            Translation::FromHost(rules) => mirror::is_shown(class, rules, found, &tenant.context),
            Translation::ToHost(_) | Translation::Bespoke(_) | Translation::ReadOnly => false,
        };
        match self.mirrored(class, name) {
            None => class::Standing::Absent,
            Some(found) if is_shown(&found) => class::Standing::Shown,
            Some(_) => class::Standing::Hidden,
        }
    }

    /// A host node.
    pub fn node(&self, name: &str) -> Option<Arc<Value>> {
        self.mirrored(Kind::Node, name)
    }

    /// Names of the host's own objects of a kind.
    pub fn mirrored_names(&self, kind: Kind) -> Vec<Arc<str>> {
        let all = self.all_mirrored();
        let of_kind = all.keys().filter(|(found, _)| *found == kind);
        of_kind.map(|(_, name)| Arc::clone(name)).collect()
    }

    /// Takes note of an object of the host's own, or of its end, and has every tenant look at it.
    pub fn set_mirrored(&self, kind: Kind, name: &str, object: Option<Value>, lane: Lane) {
        let place = (kind, Arc::from(name));
        let key = Key::new(kind, "", name);
        let all = self.all();
        let concerned: Vec<_> = all
            .into_iter()
            .filter(|tenant| concerns(tenant, &key, object.as_ref()))
            .collect();
        let now = object.map(Arc::new);
        let before = match &now {
            Some(object) => self.all_mirrored().insert(place, Arc::clone(object)),
            None => self.all_mirrored().remove(&place),
        };
        if kind == Kind::Node {
            self.node_changed(before.as_deref(), now.as_deref());
        }
        for tenant in concerned {
            tenant.add(key.clone(), lane);
        }
    }

    /// Has a tenant look at every object of the host's own that concerns it.
    pub fn show_all(&self, tenant: &Tenant, lane: Lane) {
        let keys: Vec<_> = self
            .all_mirrored()
            .iter()
            .map(|((kind, name), object)| (Key::new(*kind, "", name), Arc::clone(object)))
            .collect();
        for (key, object) in keys {
            if concerns(tenant, &key, Some(&object)) {
                tenant.add(key, lane);
            }
        }
    }

    /// Whether the host's objects of a kind are all known.
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.all_followed().listed.contains(&kind)
    }

    /// Says whether the host's objects of a kind are all known.
    pub fn set_listed(&self, kind: Kind, listed: bool) {
        let mut followed = self.all_followed();
        if listed {
            followed.listed.insert(kind);
            followed.unserved.remove(&kind);
        } else {
            followed.listed.remove(&kind);
        }
        drop(followed);
        self.listed.notify_waiters();
    }

    /// Says that the host does not serve a kind; tells whether that is news.
    pub fn set_unserved(&self, kind: Kind) -> bool {
        let is_news = self.all_followed().unserved.insert(kind);
        self.listed.notify_waiters();
        is_news
    }

    /// Waits until every kind that is followed on the host for all tenants has been listed, or is not served.
    pub async fn followed(&self) {
        loop {
            let changed = self.listed.notified();
            {
                let followed = self.all_followed();
                let mut shared = Kind::all().filter(|kind| is_shared(*kind));
                let known =
                    |kind| followed.listed.contains(&kind) || followed.unserved.contains(&kind);
                if shared.all(known) {
                    return;
                }
            }
            changed.await;
        }
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
        self.capacities.forget();
        *self.api_servers() = None;
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
                let delay = after.unwrap_or_default() + RETRY.delay(taken.failures);
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

    fn all_followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mirrored(&self) -> MutexGuard<'_, Mirrored> {
        self.mirrored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked() -> Hold {
    let message = "sync itself failed at it, which its log tells more of; please report it";
    Hold::Failed {
        message: message.to_owned(),
    }
}

/// Whether a tenant must look at an object of the host's own. Each volume concerns one tenant at most: the one whose
/// claim has it, and who was shown it until now.
fn concerns(tenant: &Tenant, key: &Key, object: Option<&Value>) -> bool {
    if !tenant.follows(key.kind) {
        return false;
    }
    if key.kind != Kind::PersistentVolume {
        return true;
    }
    let claim = object.and_then(persistent_volume::claim_ref);
    claim.is_some_and(|(namespace, _, _)| namespace == tenant.id.namespace)
        || !tenant.state().entry(key).is_gone()
}

/// Whether a kind is followed on the host for all tenants at once.
fn is_shared(kind: Kind) -> bool {
    match kind.description().outside {
        Outside::Translated | Outside::Everything { .. } => true,
        Outside::Scanned | Outside::Shown | Outside::Nothing => false,
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
