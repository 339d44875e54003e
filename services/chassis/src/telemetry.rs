//! Logs and traces of the process.
//!
//! Logs go to stderr, as text or as JSON. Spans go out by OTLP when an endpoint is given, and the
//! [`Guard`] flushes the last of them. Without an endpoint nothing is collected, yet the W3C context of a
//! caller is still passed on: see [`propagation`].

use std::io::{self, IsTerminal};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::args::{LogFormat, TelemetryArgs};
use crate::drain;

mod export;
pub mod propagation;

/// How long the last spans may take to leave at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is not a list of directives.
    #[error("log filter {filter:?} is malformed")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP endpoint is not plain HTTP/2; collectors stand in the same cluster.
    #[error("otlp endpoint {endpoint:?} does not begin with http://")]
    Scheme {
        /// The endpoint as given.
        endpoint: String,
    },
    /// The OTLP endpoint cannot be used.
    #[error("otlp endpoint {endpoint:?} cannot be used")]
    Endpoint {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The process has a subscriber already.
    #[error("telemetry was set up before")]
    Installed(#[from] TryInitError),
}

/// Holds the exporter; flushes it when dropped or shut down.
#[must_use = "dropping the guard ends the export of spans"]
#[derive(Debug)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is left and ends the export, within 3 s.
    pub fn shutdown(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "last spans could not be sent");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Installs the subscriber of the process. To be called once, inside the tokio runtime.
pub fn init(
    args: &TelemetryArgs,
    service: &'static str,
    version: &'static str,
) -> Result<Guard, Error> {
    let filter = EnvFilter::try_new(&args.log_filter).map_err(|source| Error::Filter {
        filter: args.log_filter.clone(),
        source,
    })?;
    let lines = lines(args.log_format).with_filter(filter.and(filter_fn(holds_no_answer)));
    let provider = args
        .otlp_endpoint
        .as_deref()
        .map(|endpoint| provider(endpoint, service, version))
        .transpose()?;
    tracing_subscriber::registry()
        .with(traces(provider.as_ref(), service))
        .with(lines)
        .try_init()?;
    Ok(Guard { provider })
}

/// Exports spans, or passes their context on, down to `info`, whatever the log filter says.
fn traces(provider: Option<&SdkTracerProvider>, service: &'static str) -> BoxedLayer<Registry> {
    match provider {
        Some(provider) => tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            // Which of tokio's threads it was says nothing.
            .with_threads(false)
            .with_filter(filter_fn(is_exported).with_max_level_hint(LevelFilter::INFO))
            .boxed(),
        None => propagation::PassOn.with_filter(LevelFilter::INFO).boxed(),
    }
}

/// Spans of tasks are for the log alone: they last as long as the process, and each request or pass
/// within would hang in one endless trace.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && metadata.name() != drain::TASK_SPAN
}

/// kube's client logs whole answers that it cannot read, and they may hold Secrets: whatever the filter says, nothing
/// of it below an error.
fn holds_no_answer(metadata: &Metadata<'_>) -> bool {
    let is_kube = metadata.target().starts_with("kube_client::client");
    metadata.is_span() || !is_kube || *metadata.level() == Level::ERROR
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

fn lines<S>(format: LogFormat) -> BoxedLayer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let terminal = io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(terminal);
    match (format, terminal) {
        (LogFormat::Text, _) | (LogFormat::Auto, true) => layer.boxed(),
        (LogFormat::Json, _) | (LogFormat::Auto, false) => layer
            .json()
            .flatten_event(true)
            // The list, as a request's id stands in an outer span.
            .with_current_span(false)
            .with_span_list(true)
            .boxed(),
    }
}

fn provider(
    endpoint: &str,
    service: &'static str,
    version: &'static str,
) -> Result<SdkTracerProvider, Error> {
    if !endpoint.starts_with("http://") {
        return Err(Error::Scheme {
            endpoint: endpoint.to_owned(),
        });
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Endpoint {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    let resource = Resource::builder_empty()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", version))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(export::Telling::new(exporter))
        .with_resource(resource)
        .build())
}

#[cfg(test)]
mod tests;
