//! Every metric of sync, by name. No label names a tenant: series must not grow with tenants; details come
//! by gRPC.
//!
//! | name | what |
//! | --- | --- |
//! | `sync_keys` | keys worked on, by kind and outcome |
//! | `sync_queue_seconds` | from an event to the end of its work |
//! | `sync_work_seconds` | work on one key |
//! | `sync_queued`, `sync_in_flight`, `sync_retrying` | the queue |
//! | `sync_tenants` | tenants by state |
//! | `sync_host_limit`, `sync_host_requests`, `sync_host_waiting` | requests to the host: how many may be, are under way, and wait |
//! | `sync_gate_seconds` | what requests waited for their turn, by side |
//! | `sync_throttled` | writes that waited for their tenant's allowance, by side |
//! | `sync_throttled_tenants` | tenants whose writes have waited for a while |
//! | `sync_breaker_opened` | times that an API server was left alone because it failed, by side |
//! | `sync_breakers_open` | API servers that are left alone at the moment, by side |
//! | `sync_writes` | requests that wrote, by side |
//! | `sync_events` | host events, by what became of them |
//! | `sync_scan` | what scans found |
//! | `sync_watch_failures` | watches that failed and were tried again, by what they follow |
//! | `sync_peer_connections` | open connections of virtual API servers, by port |
//! | `sync_peer_turned_away` | connections of virtual API servers that were one too many, by port |
//! | `sync_unserved` | kinds that were asked for and are not served, by side |
//! | `sync_not_kept` | changes that a server takes and does not keep, by kind and side |
//! | `sync_webhook_reviews` | Services that virtual API servers asked about, by what they were told |
//! | `sync_kubelet_requests` | requests to the kubelet API that have ended, by verb and code |
//! | `sync_kubelet_streams` | logs and streams of pods that are open, by verb |
//! | `sync_kubelet_bytes` | bytes of them, by direction |

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use vcluster_chassis::metrics::CALL_SECONDS;
use vcluster_translate::Custom;

use passage::Passage;

use crate::kubelet::Verb;
use crate::object::{Kind, Side};

mod passage;

/// How work on a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It is as it should be, or waits for others.
    Settled,
    /// It failed and is tried again.
    Retried,
    /// It panicked.
    Panicked,
}

/// What became of a host event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Told {
    /// It was shown inside.
    Shown,
    /// It was not: the tenant had too many, what it is about is not there inside, or it could not be written.
    Dropped,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Found {
    /// A host object that differs from what was known.
    Drift,
    /// A host object that was not known.
    Orphan,
    /// A host object that should be there and is not.
    Missing,
    /// An object that was missing from a list and is there.
    False,
    /// A key that a scan had looked at needed a change.
    Fixed,
}

/// What a virtual API server was told that asked about a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Reviewed {
    /// It may be stored.
    Allowed,
    /// It may not.
    Denied,
    /// The question was not understood.
    Malformed,
    /// The tenant, or all together, had too many under way.
    TooMany,
}

/// What a watch follows for all tenants at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Objects on the host.
    Host(Kind),
    /// VirtualClusters.
    VirtualClusters,
}

/// A port for virtual API servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Port {
    /// The kubelet API.
    Kubelet,
    /// The admission webhooks.
    Webhook,
    /// Metrics of pods and nodes.
    ResourceMetrics,
}

impl Port {
    /// Its name in logs and tasks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Webhook => "webhook",
            Self::ResourceMetrics => "resource-metrics",
        }
    }
}

/// State of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum State {
    /// Its lists are not complete.
    Starting,
    /// It is served.
    Synced,
    /// It cannot be reached.
    Frozen,
    /// It is being removed.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worked {
    kind: &'static str,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSide {
    side: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTold {
    outcome: Told,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFound {
    found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWatched {
    watched: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    side: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPort {
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReview {
    outcome: Reviewed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerb {
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    verb: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDirection {
    direction: &'static str,
}

/// Something that is under way, counted until dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics. Clones count into the same series.
#[derive(Debug, Clone)]
pub struct Metrics {
    keys: Family<Worked, Counter>,
    queue_seconds: Histogram,
    work_seconds: Histogram,
    queued: Gauge,
    in_flight: Gauge,
    retrying: Gauge,
    tenants: Family<OfState, Gauge>,
    passage: Passage,
    writes: Family<OfSide, Counter>,
    events: Family<OfTold, Counter>,
    scan: Family<OfFound, Counter>,
    watch_failures: Family<OfWatched, Counter>,
    peer_connections: Family<OfPort, Gauge>,
    peer_turned_away: Family<OfPort, Counter>,
    unserved: Family<OfKind, Counter>,
    not_kept: Family<OfKind, Counter>,
    webhook_reviews: Family<OfReview, Counter>,
    kubelet_requests: Family<OfRequest, Counter>,
    kubelet_streams: Family<OfVerb, Gauge>,
    kubelet_bytes: Family<OfDirection, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            keys: Family::default(),
            queue_seconds: Histogram::new(CALL_SECONDS),
            work_seconds: Histogram::new(CALL_SECONDS),
            queued: Gauge::default(),
            in_flight: Gauge::default(),
            retrying: Gauge::default(),
            tenants: Family::default(),
            passage: Passage::default(),
            writes: Family::default(),
            events: Family::default(),
            scan: Family::default(),
            watch_failures: Family::default(),
            peer_connections: Family::default(),
            peer_turned_away: Family::default(),
            unserved: Family::default(),
            not_kept: Family::default(),
            webhook_reviews: Family::default(),
            kubelet_requests: Family::default(),
            kubelet_streams: Family::default(),
            kubelet_bytes: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes them and puts them into a registry, whose prefix is `sync`.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register("keys", "Keys worked on", this.keys.clone());
        registry.register(
            "queue_seconds",
            "From an event to the end of its work",
            this.queue_seconds.clone(),
        );
        registry.register("work_seconds", "Work on one key", this.work_seconds.clone());
        registry.register("queued", "Keys that wait", this.queued.clone());
        registry.register("in_flight", "Keys in work", this.in_flight.clone());
        registry.register(
            "retrying",
            "Keys that failed and wait",
            this.retrying.clone(),
        );
        registry.register("tenants", "Tenants by state", this.tenants.clone());
        registry.register("writes", "Requests that wrote", this.writes.clone());
        registry.register("events", "Host events", this.events.clone());
        registry.register("scan", "What scans found", this.scan.clone());
        registry.register(
            "watch_failures",
            "Watches that failed and were tried again",
            this.watch_failures.clone(),
        );
        registry.register(
            "peer_connections",
            "Open connections of virtual API servers",
            this.peer_connections.clone(),
        );
        registry.register(
            "peer_turned_away",
            "Connections of virtual API servers that were one too many",
            this.peer_turned_away.clone(),
        );
        registry.register(
            "unserved",
            "Kinds that were asked for and are not served",
            this.unserved.clone(),
        );
        registry.register(
            "not_kept",
            "Changes that a server takes and does not keep",
            this.not_kept.clone(),
        );
        registry.register(
            "webhook_reviews",
            "Services that virtual API servers asked about",
            this.webhook_reviews.clone(),
        );
        this.passage.register(registry);
        this.register_kubelet(registry);
        this
    }

    fn register_kubelet(&self, registry: &mut Registry) {
        registry.register(
            "kubelet_requests",
            "Requests to the kubelet API that have ended",
            self.kubelet_requests.clone(),
        );
        registry.register(
            "kubelet_streams",
            "Logs and streams of pods that are open",
            self.kubelet_streams.clone(),
        );
        registry.register(
            "kubelet_bytes",
            "Bytes of logs and streams",
            self.kubelet_bytes.clone(),
        );
    }

    /// Counts work on a key.
    pub fn worked(&self, kind: Kind, outcome: Outcome, since: Instant, begun: Instant) {
        let kind = kind.as_str();
        self.keys.get_or_create(&Worked { kind, outcome }).inc();
        self.queue_seconds.observe(since.elapsed().as_secs_f64());
        self.work_seconds.observe(begun.elapsed().as_secs_f64());
    }

    /// Shows the queue.
    pub fn queue(&self, depth: crate::queue::Depth) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.queued.set(number(depth.queued));
        self.in_flight.set(number(depth.in_flight));
        self.retrying.set(number(depth.retrying));
    }

    /// Shows how many tenants are in a state.
    pub fn tenants(&self, state: State, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.tenants.get_or_create(&OfState { state }).set(count);
    }

    /// Counts a request that wrote.
    pub fn wrote(&self, side: Side) {
        let side = name_of(side);
        self.writes.get_or_create(&OfSide { side }).inc();
    }

    /// Counts that a kind was asked for and is not served.
    pub fn unserved(&self, side: Side, kind: Kind) {
        let (side, kind) = (name_of(side), kind.as_str());
        self.unserved.get_or_create(&OfKind { side, kind }).inc();
    }

    /// Counts that a change was not written again which a server took and did not keep.
    pub fn not_kept(&self, side: Side, kind: Kind) {
        let (side, kind) = (name_of(side), kind.as_str());
        self.not_kept.get_or_create(&OfKind { side, kind }).inc();
    }

    /// Counts a host event.
    pub fn event(&self, outcome: Told) {
        self.events.get_or_create(&OfTold { outcome }).inc();
    }

    /// Counts a watch that failed.
    pub fn watch_failed(&self, watched: Watched) {
        let watched = match watched {
            Watched::Host(kind) => kind
                .custom()
                .map_or_else(|| kind.plural(), Custom::definition),
            Watched::VirtualClusters => "virtualclusters",
        };
        let watched = &OfWatched { watched };
        self.watch_failures.get_or_create(watched).inc();
    }

    /// Counts what a scan found.
    pub fn found(&self, found: Found) {
        self.scan.get_or_create(&OfFound { found }).inc();
    }

    /// Counts a connection of a virtual API server until the guard is dropped.
    pub fn peer_connection(&self, port: Port) -> Counted {
        Counted::new(
            self.peer_connections
                .get_or_create(&OfPort { port })
                .clone(),
        )
    }

    /// Counts a connection of a virtual API server that was one too many.
    pub fn peer_turned_away(&self, port: Port) {
        self.peer_turned_away.get_or_create(&OfPort { port }).inc();
    }

    /// Counts a question about a Service.
    pub fn reviewed(&self, outcome: Reviewed) {
        self.webhook_reviews
            .get_or_create(&OfReview { outcome })
            .inc();
    }

    /// Counts a log or stream of a pod until the guard is dropped.
    pub fn kubelet_stream(&self, verb: Verb) -> Counted {
        let verb = verb.as_str();
        let gauge = self.kubelet_streams.get_or_create(&OfVerb { verb });
        Counted::new(gauge.clone())
    }

    /// Counts a request to the kubelet API that has ended.
    pub fn kubelet_ended(&self, verb: Option<&'static str>, code: u16, received: u64, sent: u64) {
        let verb = verb.unwrap_or("other");
        self.kubelet_requests
            .get_or_create(&OfRequest { verb, code })
            .inc();
        for (direction, bytes) in [("received", received), ("sent", sent)] {
            self.kubelet_bytes
                .get_or_create(&OfDirection { direction })
                .inc_by(bytes);
        }
    }
}

fn name_of(side: Side) -> &'static str {
    match side {
        Side::Virtual => "virtual",
        Side::Host => "host",
    }
}
