//! Says in the log when spans do not reach the collector.
//!
//! One line when it begins and one when it ends, however long it lasts and however much is lost: a
//! collector that is away is no concern of whoever the service works for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter that tells how it goes.
#[derive(Debug)]
pub(super) struct Telling<E> {
    inner: E,
    failing: AtomicBool,
}

impl<E> Telling<E> {
    /// `inner`, of which nothing has failed yet.
    pub(super) const fn new(inner: E) -> Self {
        Self {
            inner,
            failing: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let lost = batch.len();
        let result = self.inner.export(batch).await;
        let failed = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match (&result, failed) {
            (Err(error), false) => tracing::warn!(
                %error,
                lost,
                "spans do not reach the collector; this is not said again until they do"
            ),
            (Ok(()), true) => tracing::info!("spans reach the collector again"),
            (Err(_), true) | (Ok(()), false) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;
    use crate::testing::capture_logs;

    /// Works, or not.
    #[derive(Debug)]
    struct Collector(AtomicBool);

    impl SpanExporter for Collector {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            if self.0.load(Ordering::Relaxed) {
                return Ok(());
            }
            Err(OTelSdkError::InternalFailure("refused".to_owned()))
        }
    }

    #[tokio::test]
    async fn an_outage_is_told_once_and_so_is_its_end() {
        let (logs, _guard) = capture_logs();
        let exporter = Telling::new(Collector(AtomicBool::new(true)));
        for works in [true, false, false, false, true, true] {
            exporter.inner.0.store(works, Ordering::Relaxed);
            assert_eq!(exporter.export(Vec::new()).await.is_ok(), works);
        }
        let text = logs.text();
        assert_eq!(text.matches("do not reach").count(), 1, "{text}");
        assert_eq!(
            text.matches("reach the collector again").count(),
            1,
            "{text}"
        );
        assert!(text.contains("refused"), "{text}");
    }
}
