//! One virtual cluster while it is served: its clients, its objects, its limits.
//!
//! Everything that belongs to a tenant hangs on this value and on its token: when the token is cancelled and
//! the last handle dropped, its tasks, maps, timers and connections are gone.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_resources::CreationTrace;
use vcluster_translate::Context;
use vcluster_translate::kind::{Inside, Need, Translation};

use crate::bill::Bill;
use crate::bodies::Room;
use crate::brake::Brake;
use crate::bucket::Bucket;
use crate::config::Limits;
use crate::gate::{Gate, Sharing};
use crate::guard::{self, Guard};
use crate::hash::HashMap;
use crate::hold::Holds;
use crate::limit::Bounds;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::object::{Key, Kind, Side};
use crate::queue::{Lane, Ticket};
use crate::server::Server;
use crate::state::State;
use crate::sync::{Refusals, Tokens};
use crate::work::Work;

use links::Links;
use notes::Notes;
pub use notes::{About, Subject};
use store::{Loss, Memory};

mod environment;
pub mod follow;
pub mod ingest;
mod links;
mod notes;
mod passage;
mod right;
pub mod store;

/// Which lists must be complete before anything is done for a tenant.
pub fn lists() -> impl Iterator<Item = (Side, Kind)> {
    Kind::all().flat_map(|kind| {
        let inside = match kind.description().inside {
            Inside::Everything | Inside::Managed | Inside::Without(..) => {
                Some((Side::Virtual, kind))
            }
            Inside::Nothing => None,
        };
        let outside = kind.is_translated().then_some((Side::Host, kind));
        inside.into_iter().chain(outside)
    })
}

/// One stay of a VirtualCluster: the same name made again has another UID and is another tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id {
    /// UID of the VirtualCluster.
    pub uid: String,
    /// Host namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Questions about single objects that a tenant's users may ask per second.
const QUESTIONS: u32 = 10;

/// What a tenant has cost so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Writes to the host.
    pub host_writes: AtomicI64,
    /// Writes to the virtual cluster.
    pub virtual_writes: AtomicI64,
}

/// The clients of a tenant.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Its virtual API server, as its administrator.
    pub virtual_: Server,
    /// The host, as the tenant's own ServiceAccount: every write goes by this one.
    pub host: HostClient,
}

/// A client of the host that acts as the tenant's own ServiceAccount.
#[derive(Clone)]
pub struct HostClient(pub Client);

impl fmt::Debug for HostClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostClient").finish()
    }
}

/// A virtual cluster that is served.
#[derive(Debug)]
pub struct Tenant {
    /// Which one.
    pub id: Id,
    /// What translations need to know of it.
    pub context: Context,
    /// Its place in the queue.
    pub ticket: Ticket,
    /// Its clients.
    pub clients: Clients,
    /// Whether its API server can be reached.
    pub link: Link,
    /// The way to its API server.
    pub gate: Arc<Gate>,
    /// The way to the host, which all tenants share.
    pub host_gate: Arc<Gate>,
    /// Its share of what all tenants share.
    pub weight: u32,
    /// Allowance of writes to the host.
    pub host_writes: Bucket,
    /// Allowance of writes to the virtual cluster.
    pub virtual_writes: Bucket,
    /// Allowance of the host's events that are shown inside.
    pub events: Bucket,
    /// Allowance of events by which sync itself says something: the host's may be many, and must not take their place.
    pub tellings: Bucket,
    /// Allowance of questions about single objects, each of which costs requests.
    pub questions: Bucket,
    /// When all its objects were last looked at because somebody asked for it.
    pub resynced: Mutex<Option<Instant>>,
    /// What it has cost.
    pub tally: Tally,
    /// The same in CPU time, requests and bytes.
    pub bill: Arc<Bill>,
    /// What is counted over all tenants.
    pub metrics: Metrics,
    /// Pods that the host refused.
    pub refusals: Refusals,
    /// Why keys are not settled.
    pub holds: Holds,
    /// What its servers took of late.
    pub brake: Brake,
    /// Token Secrets on the host.
    pub tokens: Tokens,
    /// Ends its tasks.
    pub token: CancellationToken,
    /// The trace in which the VirtualCluster was created, if it was handed on.
    pub creation: Option<CreationTrace>,
    pub(crate) work: Arc<Work>,
    state: Mutex<State>,
    labels: Mutex<HashMap<Arc<str>, Map<String, Value>>>,
    environment: tokio::sync::Mutex<bool>,
    links: Links,
    in_work: watch::Sender<usize>,
    /// What the host remembers of its store, or is to remember, once that is recognized.
    memory: Mutex<Memory>,
    /// Whether its store is trusted without being known.
    accepts_store: AtomicBool,
    store_wavered: AtomicBool,
    vouched: AtomicBool,
    /// Host objects that are kept although its store lacks them.
    pub(crate) kept: Mutex<BTreeSet<Key>>,
    store_lost: AtomicBool,
    loss: Mutex<Option<Loss>>,
    sought_hidden: AtomicBool,
    ready: AtomicBool,
    changed: Notify,
    notes: Notes,
}

/// Work on a key of the tenant, until dropped.
#[derive(Debug)]
pub struct Working<'a>(&'a Tenant);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.in_work.send_modify(|count| *count -= 1);
    }
}

/// What a tenant is made of.
#[derive(Debug)]
pub struct Parts {
    /// Which one.
    pub id: Id,
    /// What translations need to know of it.
    pub context: Context,
    /// Its clients.
    pub clients: Clients,
    /// Its limits.
    pub limits: Limits,
    /// The trace in which the VirtualCluster was created.
    pub creation: Option<CreationTrace>,
    /// What it costs.
    pub bill: Arc<Bill>,
    /// The queue.
    pub work: Arc<Work>,
    /// Room for its fresh objects.
    pub room: Room,
    /// The way to the host.
    pub gate: Arc<Gate>,
    /// What is counted.
    pub metrics: Metrics,
    /// Ends its tasks.
    pub token: CancellationToken,
}

impl Tenant {
    /// Takes a tenant up: it has a place in the queue, and does nothing before its lists are complete.
    pub fn new(parts: Parts) -> Self {
        let limits = parts.limits;
        let writes = || Bucket::new(limits.writes_per_second, limits.writes_burst);
        // Reads on behalf of its users go the same way, and must not wait for those of its keys alone.
        let bounds = Bounds {
            floor: 2,
            ceiling: limits.queue.in_flight,
        };
        let events = || Bucket::new(limits.events_per_second, limits.events_per_second * 5);
        Self {
            ticket: parts.work.admit(limits.queue),
            id: parts.id,
            context: parts.context,
            clients: parts.clients,
            link: Link::default(),
            gate: Arc::new(Gate::new(bounds, Sharing::One)),
            host_gate: parts.gate,
            weight: limits.queue.weight,
            host_writes: writes(),
            virtual_writes: writes(),
            events: events(),
            tellings: events(),
            questions: Bucket::new(QUESTIONS, QUESTIONS * 2),
            resynced: Mutex::default(),
            tally: Tally::default(),
            bill: parts.bill,
            metrics: parts.metrics,
            refusals: Refusals::default(),
            holds: Holds::default(),
            brake: Brake::default(),
            tokens: Tokens::default(),
            token: parts.token,
            creation: parts.creation,
            work: parts.work,
            state: Mutex::new(State::new(limits.object_bytes, parts.room)),
            labels: Mutex::default(),
            environment: tokio::sync::Mutex::new(false),
            links: Links::default(),
            in_work: watch::Sender::new(0),
            memory: Mutex::default(),
            accepts_store: AtomicBool::new(false),
            store_wavered: AtomicBool::new(false),
            vouched: AtomicBool::new(true),
            kept: Mutex::default(),
            store_lost: AtomicBool::new(false),
            loss: Mutex::default(),
            sought_hidden: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            changed: Notify::new(),
            notes: Notes::new(),
        }
    }

    /// Its objects. Never held across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Labels of a virtual namespace.
    pub fn namespace_labels(&self, namespace: &str) -> Map<String, Value> {
        self.labels().get(namespace).cloned().unwrap_or_default()
    }

    /// Whether every list has been complete once, so that its keys are worked on.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether it may be worked on at this moment.
    pub fn is_active(&self) -> bool {
        self.is_ready()
            && guard::passes(Guard::Frozen, self.link.is_up())
            && guard::passes(Guard::LossIsFinal, !self.has_lost_its_store())
            && !self.token.is_cancelled()
    }

    /// Whether everything on the host was looked for that bears our annotations and no label.
    pub fn has_sought_hidden(&self) -> bool {
        self.sought_hidden.load(Ordering::Acquire)
    }

    /// Says that it was.
    pub fn set_sought_hidden(&self) {
        self.sought_hidden.store(true, Ordering::Release);
    }

    /// Says that one of its keys is in work.
    pub fn working(&self) -> Working<'_> {
        self.in_work.send_modify(|count| *count += 1);
        Working(self)
    }

    /// Waits until none of its keys is in work.
    pub async fn at_rest(&self) {
        // Fails only when the tenant is gone.
        drop(self.in_work.subscribe().wait_for(|count| *count == 0).await);
    }

    /// Has a key looked at.
    pub fn add(&self, key: Key, lane: Lane) {
        if self.is_ready() {
            self.work.add(self.ticket, key, lane);
        }
        // Until then nothing is worked on, and `begin` adds everything that is known.
    }

    /// Has every key looked at of which it is not known that nothing is left to do: first those of which one side is
    /// missing, because there something is.
    pub fn add_all(&self, lane: Lane) {
        let state = self.state();
        let unsettled = |key: &&Key| needs_looks(&state, key) && !state.is_settled(key);
        let mut keys: Vec<_> = state.all_keys().filter(unsettled).cloned().collect();
        keys.sort_by_key(|key| !(key.kind.is_translated() && state.is_on_one_side(key)));
        drop(state);
        // A token Secret may be all that is left of a pod, or be missing.
        keys.extend(self.tokens.due().into_iter().map(|name| Key {
            kind: Kind::Pod,
            name,
        }));
        for key in keys {
            self.add(key, lane);
        }
    }

    /// Waits until something about lists or reach may have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Says that something about lists or reach may have changed.
    pub fn notify(&self) {
        self.changed.notify_one();
    }

    /// Whether a kind is synced for it.
    pub fn follows(&self, kind: Kind) -> bool {
        let custom = kind.custom();
        custom.is_none_or(|custom| self.context.custom.get(custom).is_some())
    }

    /// Lists that are not complete.
    pub fn unlisted(&self) -> Vec<(Side, Kind)> {
        let state = self.state();
        lists()
            .filter(|(side, kind)| !state.is_listed(*side, *kind))
            .collect()
    }

    /// Begins to work if every list is complete.
    fn begin_if_listed(&self) {
        let is_listed = guard::passes(Guard::CompleteLists, self.unlisted().is_empty());
        if !self.is_ready() && is_listed {
            self.ready.store(true, Ordering::Release);
            tracing::info!(tenant = %self.id, "every list is complete: work begins");
            self.add_all(Lane::List);
        }
        self.notify();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn labels(&self) -> MutexGuard<'_, HashMap<Arc<str>, Map<String, Value>>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.work.remove(self.ticket);
    }
}

/// Whether a key can need work at all: most configmaps and secrets are used by nothing.
pub(crate) fn needs_looks(state: &State, key: &Key) -> bool {
    let description = key.kind.description();
    match (&description.translation, description.need) {
        (Translation::ToHost(_), Need::Used) => {
            state.references.is_used(key) || state.entry(key).host.seen.is_some()
        }
        (Translation::ToHost(_), Need::Always) | (Translation::FromHost(_), _) => true,
        (Translation::Bespoke(_), _) => {
            key.kind.is_translated() || key.kind.is_mirrored() || key.kind.is_shown()
        }
        (Translation::ReadOnly, _) => false,
    }
}
