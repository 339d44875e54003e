//! What the gateway counts. No label names a tenant or a user: their number has no bound.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use vcluster_chassis::metrics::{CALL_SECONDS, Registry};

/// Metrics of the gateway, `connect_*`. Clones are the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    sent: Family<RouteLabels, Counter>,
    received: Family<RouteLabels, Counter>,
    under_way: Family<ClassLabels, Gauge>,
    connections: Gauge,
    turned_away: Family<TurnedAwayLabels, Counter>,
    dials: Family<DialLabels, Counter>,
    client_ca: Family<BundleLabels, Counter>,
}

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum To {
    /// Virtual API servers.
    Cluster,
    /// The control service.
    Control,
    /// The sync service.
    Sync,
    /// The gateway itself.
    Connect,
    /// Nowhere.
    Nowhere,
}

/// How requests stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Class {
    /// They end by themselves.
    Short,
    /// They stay: watches, followed logs, whatever a pod does behind a proxy path.
    Long,
    /// They became streams of bytes.
    Upgrade,
}

/// What became of an attempt to connect to a server behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Dial {
    /// There is a connection.
    Connected,
    /// There is none.
    Failed,
}

/// What became of a new bundle of authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Bundle {
    /// It is used.
    Loaded,
    /// It is not; the old one is.
    Broken,
}

/// Why a connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum TurnedAway {
    /// Its source has too many.
    Source,
    /// Its handshake failed.
    Handshake,
    /// Its handshake took too long.
    HandshakeTimeout,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    to: To,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    to: To,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    to: To,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: Class,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialLabels {
    result: Dial,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BundleLabels {
    result: Bundle,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnedAwayLabels {
    reason: TurnedAway,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            refusals: Family::default(),
            sent: Family::default(),
            received: Family::default(),
            under_way: Family::default(),
            connections: Gauge::default(),
            turned_away: Family::default(),
            dials: Family::default(),
            client_ca: Family::default(),
        }
    }
}

impl Metrics {
    /// Adds the families to the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let part = registry.sub_registry("connect");
        part.register(
            "requests",
            "Requests that ended, by class of status code",
            this.requests.clone(),
        );
        part.register(
            "response_head_seconds",
            "Time from a request's head to the head of its answer",
            this.seconds.clone(),
        );
        part.register(
            "refusals",
            "Requests that the gateway refused, by reason",
            this.refusals.clone(),
        );
        part.register("sent_bytes", "Bytes of answers", this.sent.clone());
        part.register("received_bytes", "Bytes of requests", this.received.clone());
        part.register(
            "requests_under_way",
            "Requests that have not ended",
            this.under_way.clone(),
        );
        part.register(
            "connections",
            "Open connections of clients",
            this.connections.clone(),
        );
        part.register(
            "connections_turned_away",
            "Connections of clients that were not served",
            this.turned_away.clone(),
        );
        part.register(
            "upstream_dials",
            "Connections opened to other servers",
            this.dials.clone(),
        );
        part.register(
            "client_ca_reloads",
            "New versions of the host's client CA that were loaded, or broken and not used",
            this.client_ca.clone(),
        );
        this
    }

    pub(crate) fn head(&self, to: To, after: Duration) {
        self.seconds
            .get_or_create(&RouteLabels { to })
            .observe(after.as_secs_f64());
    }

    pub(crate) fn ended(&self, to: To, code: u16, received: u64, sent: u64) {
        self.requests
            .get_or_create(&RequestLabels {
                to,
                code: code_class(code),
            })
            .inc();
        self.received
            .get_or_create(&RouteLabels { to })
            .inc_by(received);
        self.sent.get_or_create(&RouteLabels { to }).inc_by(sent);
    }

    pub(crate) fn refused(&self, to: To, reason: &'static str) {
        self.refusals
            .get_or_create(&RefusalLabels { to, reason })
            .inc();
    }

    /// Counts a request until the value is dropped.
    pub(crate) fn under_way(&self, class: Class) -> Counted {
        let gauge = self.under_way.get_or_create(&ClassLabels { class }).clone();
        gauge.inc();
        Counted(gauge)
    }

    /// Counts a connection until the value is dropped.
    pub(crate) fn connection(&self) -> Counted {
        self.connections.inc();
        Counted(self.connections.clone())
    }

    pub(crate) fn turned_away(&self, reason: TurnedAway) {
        self.turned_away
            .get_or_create(&TurnedAwayLabels { reason })
            .inc();
    }

    pub(crate) fn dialed(&self, result: Dial) {
        self.dials.get_or_create(&DialLabels { result }).inc();
    }

    pub(crate) fn client_ca(&self, result: Bundle) {
        self.client_ca.get_or_create(&BundleLabels { result }).inc();
    }
}

/// One in a gauge.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const fn code_class(code: u16) -> &'static str {
    match code {
        0 => "none",
        1..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}
