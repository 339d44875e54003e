//! What TLS counts: handshakes, reloads, and when certificates expire.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Registry;

/// Counters of listeners and reloaders. Made once per process, cloned to each of them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    handshakes: Family<HandshakeLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    not_after: Family<BundleLabels, Gauge>,
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Handshake {
    Completed,
    Failed,
    TimedOut,
}

/// How an attempt to read changed files ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Reload {
    Loaded,
    Kept,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    result: Handshake,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    bundle: String,
    result: Reload,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BundleLabels {
    bundle: String,
}

impl Metrics {
    /// Adds the families to the registry as `tls_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let tls = registry.sub_registry("tls");
        tls.register(
            "handshakes",
            "Handshakes of incoming connections",
            this.handshakes.clone(),
        );
        tls.register(
            "reloads",
            "Changed bundles that were loaded, or found broken while the old one was kept",
            this.reloads.clone(),
        );
        tls.register(
            "certificate_not_after_timestamp_seconds",
            "When the certificate in use expires",
            this.not_after.clone(),
        );
        this
    }

    pub(super) fn handshake(&self, result: Handshake) {
        self.handshakes
            .get_or_create(&HandshakeLabels { result })
            .inc();
    }

    pub(super) fn reload(&self, bundle: &str, result: Reload) {
        self.reloads
            .get_or_create(&ReloadLabels {
                bundle: bundle.to_owned(),
                result,
            })
            .inc();
    }

    pub(super) fn expires(&self, bundle: &str, not_after: i64) {
        self.not_after
            .get_or_create(&BundleLabels {
                bundle: bundle.to_owned(),
            })
            .set(not_after);
    }
}
