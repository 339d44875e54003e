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
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::args::{LogFormat, TelemetryArgs};

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
    let provider = args
        .otlp_endpoint
        .as_deref()
        .map(|endpoint| provider(endpoint, service, version))
        .transpose()?;
    // Spans are exported, or their context passed on, down to `info`, whatever the log filter says.
    let traces = match &provider {
        Some(provider) => tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            .with_filter(LevelFilter::INFO)
            .boxed(),
        None => propagation::PassOn.with_filter(LevelFilter::INFO).boxed(),
    };
    tracing_subscriber::registry()
        .with(traces)
        .with(lines(args.log_format).with_filter(filter))
        .try_init()?;
    Ok(Guard { provider })
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
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    }
}

fn provider(
    endpoint: &str,
    service: &'static str,
    version: &'static str,
) -> Result<SdkTracerProvider, Error> {
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
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// The registry under every layer; propagation keeps the caller's context in its spans.
pub(crate) type SpanStore = Registry;
