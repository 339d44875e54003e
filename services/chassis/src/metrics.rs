//! Metrics in one explicit registry.
//!
//! The composition root makes the [`Registry`], hands sub-registries down while it builds the parts,
//! and gives the finished registry to the admin port. There is no global, so a test can make its own
//! and read it as text. The names of the chassis' own metrics:
//!
//! | name | from |
//! | --- | --- |
//! | `build_info` | here |
//! | `process_*` | [`process`] |
//! | `grpc_server_*` | [`crate::grpc`] |
//! | `tls_*` | [`crate::tls`] |
//! | `access_answers` | [`crate::access`] |

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry;

pub mod process;

/// Content type of [`Registry::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the process.
#[derive(Debug)]
pub struct Registry {
    inner: registry::Registry,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    service: &'static str,
    version: &'static str,
}

impl Registry {
    /// Makes a registry that holds `build_info` and the metrics of the process.
    pub fn new(service: &'static str, version: &'static str) -> Self {
        let mut inner = registry::Registry::default();
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { service, version }).set(1);
        inner.register(
            "build_info",
            "Service and version of this process; always 1",
            build,
        );
        inner.register_collector(Box::new(process::Collector));
        Self { inner }
    }

    /// Gives the part of the registry whose names begin with `prefix` and an underscore.
    pub fn sub_registry(&mut self, prefix: &str) -> &mut registry::Registry {
        self.inner.sub_registry_with_prefix(prefix)
    }

    /// Gives the registry without a prefix, for metrics whose full names are a convention.
    pub fn root(&mut self) -> &mut registry::Registry {
        &mut self.inner
    }

    /// Writes every metric in the OpenMetrics text format; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.inner).is_err() {
            // Only a collector can fail; the scrape then shows what came before it and no EOF.
            tracing::error!("a metric could not be encoded");
            text.push_str("# a metric could not be encoded\n");
        }
        text
    }
}

/// Buckets in seconds for calls between services: from 1 ms, which is a cached answer, to 60 s, which is
/// the longest deadline by default; half a decade apart, because percentiles need no more.
pub const CALL_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_scrape_shows_build_process_and_sub_registries() {
        let mut registry = Registry::new("control", "1.2.3");
        let made: Counter = Counter::default();
        registry
            .sub_registry("control")
            .register("clusters_made", "Made", made.clone());
        made.inc();
        let text = registry.encode();
        assert!(
            text.contains(r#"build_info{service="control",version="1.2.3"} 1"#),
            "{text}"
        );
        assert!(text.contains("control_clusters_made_total 1"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
