//! What holds requests up: limits, allowances, breakers.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use vcluster_chassis::metrics::CALL_SECONDS;

use super::{Metrics, OfSide, name_of};
use crate::gate::View;
use crate::object::Side;

/// The metrics of that.
#[derive(Debug, Clone)]
pub(super) struct Passage {
    host_limit: Gauge,
    host_requests: Gauge,
    host_waiting: Gauge,
    gate_seconds: Family<OfSide, Histogram>,
    throttled: Family<OfSide, Counter>,
    throttled_tenants: Gauge,
    opened: Family<OfSide, Counter>,
    open: Family<OfSide, Gauge>,
}

impl Default for Passage {
    fn default() -> Self {
        Self {
            host_limit: Gauge::default(),
            host_requests: Gauge::default(),
            host_waiting: Gauge::default(),
            gate_seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            throttled: Family::default(),
            throttled_tenants: Gauge::default(),
            opened: Family::default(),
            open: Family::default(),
        }
    }
}

impl Passage {
    pub(super) fn register(&self, registry: &mut Registry) {
        let gauges = [
            (
                "host_limit",
                "Requests to the host that may be under way",
                &self.host_limit,
            ),
            (
                "host_requests",
                "Requests to the host under way",
                &self.host_requests,
            ),
            (
                "host_waiting",
                "Requests to the host that wait",
                &self.host_waiting,
            ),
            (
                "throttled_tenants",
                "Tenants whose writes have waited for their allowance for a while",
                &self.throttled_tenants,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "gate_seconds",
            "What requests waited for their turn",
            self.gate_seconds.clone(),
        );
        registry.register(
            "throttled",
            "Writes that waited for their tenant's allowance",
            self.throttled.clone(),
        );
        registry.register(
            "breaker_opened",
            "Times that an API server was left alone because it failed",
            self.opened.clone(),
        );
        registry.register(
            "breakers_open",
            "API servers that are left alone",
            self.open.clone(),
        );
    }
}

impl Metrics {
    /// Counts what a request waited for its turn.
    pub fn waited(&self, side: Side, begun: Instant) {
        let side = name_of(side);
        let waits = self.passage.gate_seconds.get_or_create(&OfSide { side });
        waits.observe(begun.elapsed().as_secs_f64());
    }

    /// Counts a write that waited for its tenant's allowance.
    pub fn throttled(&self, side: Side) {
        let side = name_of(side);
        self.passage.throttled.get_or_create(&OfSide { side }).inc();
    }

    /// Counts that a breaker opened.
    pub fn opened(&self, side: Side) {
        let side = name_of(side);
        self.passage.opened.get_or_create(&OfSide { side }).inc();
    }

    /// Shows the way to the host, and how many tenants are held up.
    pub fn passage(&self, host: View, open: usize, throttled: usize) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.passage.host_limit.set(number(host.limit));
        self.passage.host_requests.set(number(host.under_way));
        self.passage.host_waiting.set(number(host.waiting));
        self.passage.throttled_tenants.set(number(throttled));
        for (side, count) in [
            (Side::Virtual, open),
            (Side::Host, usize::from(host.openings > 0)),
        ] {
            let side = name_of(side);
            let gauge = self.passage.open.get_or_create(&OfSide { side });
            gauge.set(number(count));
        }
    }
}
