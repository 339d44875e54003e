//! Metrics of control. Names and labels are here and nowhere else.
//!
//! | name | type | labels |
//! |---|---|---|
//! | `vcluster_control_reconciles` | counter | `result`: settled, refused, failed, dropped |
//! | `vcluster_control_reconcile_seconds` | histogram | |
//! | `vcluster_control_steps` | counter | `step`, `result`: done, failed |
//! | `vcluster_control_clusters` | gauge | `phase`; while this process leads |

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use vcluster_chassis::metrics::CALL_SECONDS;
use vcluster_resources::VirtualCluster;
use vcluster_resources::cluster::Phase;

/// Prefix of every name.
pub const PREFIX: &str = "vcluster_control";

/// How a reconciliation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do for now.
    Settled,
    /// Only people can help.
    Refused,
    /// It is tried again.
    Failed,
    /// It was cut off, because this process leads no more or ends.
    Dropped,
}

/// Counters of the reconcile loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    reconciles: Family<Reconcile, Counter>,
    seconds: Histogram,
    steps: Family<Step, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
    result: &'static str,
}

impl Metrics {
    /// Makes and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            reconciles: Family::default(),
            seconds: Histogram::new(CALL_SECONDS),
            steps: Family::default(),
        };
        registry.register(
            "reconciles",
            "Reconciliations by result",
            this.reconciles.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Duration of reconciliations in seconds",
            this.seconds.clone(),
        );
        registry.register(
            "steps",
            "Steps carried out, by kind and result",
            this.steps.clone(),
        );
        this
    }

    /// Times one reconciliation.
    pub fn reconcile(&self) -> Timer {
        Timer {
            metrics: self.clone(),
            begun: Instant::now(),
            outcome: Outcome::Dropped,
        }
    }

    /// Counts one step.
    pub fn step(&self, step: &'static str, done: bool) {
        let result = if done { "done" } else { "failed" };
        self.steps.get_or_create(&Step { step, result }).inc();
    }
}

/// Records a reconciliation when dropped, also when it is cut off.
#[derive(Debug)]
pub struct Timer {
    metrics: Metrics,
    begun: Instant,
    outcome: Outcome,
}

impl Timer {
    /// It ended so.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let result = match self.outcome {
            Outcome::Settled => "settled",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Dropped => "dropped",
        };
        self.metrics
            .reconciles
            .get_or_create(&Reconcile { result })
            .inc();
        self.metrics
            .seconds
            .observe(self.begun.elapsed().as_secs_f64());
    }
}

/// How many virtual clusters there are, by phase, counted when somebody asks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Population {
    store: Arc<Mutex<Option<Store<VirtualCluster>>>>,
}

impl Population {
    /// Makes and registers it.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register_collector(Box::new(this.clone()));
        this
    }

    /// Counts what is in that store from now on.
    pub fn follow(&self, store: Store<VirtualCluster>) {
        self.set(Some(store));
    }

    /// Counts nothing any more: the store is not kept up to date.
    pub fn forget(&self) {
        self.set(None);
    }

    fn set(&self, store: Option<Store<VirtualCluster>>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    fn count(&self) -> Vec<(&'static str, i64)> {
        let store = self
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(store) = store else {
            return Vec::new();
        };
        let mut counts = ["Pending", "Ready", "Degraded", "Deleting", "Failed"].map(|p| (p, 0));
        for cluster in store.state() {
            let phase = cluster.status.as_ref().and_then(|status| status.phase);
            let index = match phase {
                Some(Phase::Pending) | None => 0,
                Some(Phase::Ready) => 1,
                Some(Phase::Degraded) => 2,
                Some(Phase::Deleting) => 3,
                Some(Phase::Failed) => 4,
            };
            counts[index].1 += 1;
        }
        counts.into()
    }
}

impl fmt::Debug for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Population").finish_non_exhaustive()
    }
}

impl Collector for Population {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "clusters",
            "Virtual clusters by phase, as the leader sees them",
            None,
            MetricType::Gauge,
        )?;
        for (phase, count) in self.count() {
            let gauge = ConstGauge::new(count);
            gauge.encode(family.encode_family(&[("phase", phase)])?)?;
        }
        Ok(())
    }
}
