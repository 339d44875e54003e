//! W3C trace context from one header map to the next.
//!
//! With an OTLP exporter a span of ours stands between the caller's and the callee's. Without one, the
//! caller's own context is kept beside the span and handed on as it came, so a trace is never cut by a
//! process that does not export.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// Writes the context of the current span into `headers`, replacing what stands there; writes nothing
/// where there is no trace.
pub fn inject(headers: &mut HeaderMap) {
    let context = current();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Writer(headers));
    }
}

/// Reads the caller's context; an empty one if the headers carry none or a malformed one.
pub fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Reader(headers))
}

/// Makes the caller's span the parent of `span`. To be called before the span is entered.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    let context = extract(headers);
    if !context.span().span_context().is_valid() {
        return;
    }
    // Fails where no exporter's layer is installed; then the context is only passed on.
    if span.set_parent(context.clone()).is_err() {
        keep(span, context);
    }
}

/// The caller's context as it came, kept in a span of a process that does not export.
struct Kept(Context);

/// Keeps spans alive for their context where no exporter wants them: a layer that does nothing, so that
/// spans down to its filter exist even if the log filter drops them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassOn;

impl<S: tracing::Subscriber> Layer<S> for PassOn {}

fn keep(span: &Span, context: Context) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(store) = dispatch.downcast_ref::<Registry>()
            && let Some(span) = store.span(id)
        {
            span.extensions_mut().replace(Kept(context));
        }
    });
}

fn current() -> Context {
    let exported = Span::current().context();
    if exported.span().span_context().is_valid() {
        return exported;
    }
    kept().unwrap_or_default()
}

/// Finds what the nearest enclosing span keeps.
fn kept() -> Option<Context> {
    Span::current()
        .with_subscriber(|(id, dispatch)| {
            let store = dispatch.downcast_ref::<Registry>()?;
            let mut scope = store.span(id)?.scope();
            scope.find_map(|span| span.extensions().get::<Kept>().map(|kept| kept.0.clone()))
        })
        .flatten()
}

struct Reader<'a>(&'a HeaderMap);

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Writer<'a>(&'a mut HeaderMap);

impl Injector for Writer<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(key.as_bytes()),
            HeaderValue::try_from(value),
        ) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(parent: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static("traceparent"),
            parent.parse().unwrap(),
        )])
    }

    #[tokio::test]
    async fn without_an_exporter_the_callers_context_is_passed_on_as_it_came() {
        let subscriber = tracing_subscriber::registry().with(PassOn);
        let _guard = tracing::subscriber::set_default(subscriber);
        let span = tracing::info_span!("request");
        set_parent(&span, &headers(CALLER));
        let work = async { tracing::info_span!("inner").in_scope(injected) }.instrument(span);
        assert_eq!(work.await.get("traceparent").unwrap(), CALLER);
    }

    fn injected() -> HeaderMap {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        headers
    }

    #[test]
    fn with_an_exporter_our_span_stands_between() {
        use opentelemetry::trace::TracerProvider as _;
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let span = tracing::info_span!("request");
        set_parent(&span, &headers(CALLER));
        let onward = span.in_scope(injected);
        let onward = onward.get("traceparent").unwrap().to_str().unwrap();
        assert_eq!(onward[..35], CALLER[..35], "the trace is the caller's");
        assert_ne!(onward[36..52], CALLER[36..52], "the parent is our span");
    }

    #[test]
    fn malformed_context_is_dropped() {
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(PassOn));
        let span = tracing::info_span!("request");
        set_parent(&span, &headers("00-zz-zz-01"));
        assert!(span.in_scope(injected).is_empty());
    }
}
