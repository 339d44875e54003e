//! One span per call, under the caller's.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::methods::split;
use super::outcome::{self, Outcome};
use super::{REQUEST_ID, record};
use crate::telemetry::propagation;

/// Runs each call in a span that has the W3C parent of its headers. Neither headers nor messages are
/// ever recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Trace<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = span(&request);
        propagation::set_parent(&span, request.headers());
        let ending = Ending {
            span: span.clone(),
            begun: Instant::now(),
            code: Code::Cancelled,
        };
        let response = span.in_scope(|| self.inner.call(request));
        let response = async move { Ok(outcome::follow(response.await?, ending)) };
        Box::pin(response.instrument(span))
    }
}

fn span(request: &Request<Body>) -> Span {
    let (service, method) = split(request.uri().path());
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok());
    // Fields as in OpenTelemetry's conventions for RPC.
    tracing::info_span!(
        "grpc",
        otel.name = format_args!("{service}/{method}"),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        request.id = id,
    )
}

/// Says in span and log how the call ended.
struct Ending {
    span: Span,
    begun: Instant,
    code: Code,
}

impl Outcome for Ending {
    fn ended(&mut self, code: Code) {
        self.code = code;
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.span
            .record("rpc.grpc.status_code", i32::from(self.code));
        if is_fault(self.code) {
            self.span.record("otel.status_code", "ERROR");
        }
        let (code, elapsed) = (record::name(self.code), self.begun.elapsed());
        self.span
            .in_scope(|| tracing::debug!(code, ?elapsed, "call ended"));
    }
}

/// Whether the server is to blame, by OpenTelemetry's table for servers.
const fn is_fault(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::ServiceExt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::testing::capture_logs;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[tokio::test]
    async fn a_handler_passes_its_callers_trace_on() {
        let registry = tracing_subscriber::registry().with(propagation::PassOn);
        let _guard = tracing::subscriber::set_default(registry);
        let handler = tower::service_fn(async |_: Request<Body>| {
            let mut response = Response::new(Body::empty());
            propagation::inject(response.headers_mut());
            Ok::<_, Infallible>(response)
        });
        let request = Request::builder()
            .header("traceparent", CALLER)
            .body(Body::empty())
            .unwrap();
        let response = TraceLayer.layer(handler).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["traceparent"], CALLER);
    }

    #[tokio::test]
    async fn the_span_tells_method_id_and_code_but_no_header() {
        let (logs, _guard) = capture_logs();
        let handler = tower::service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(tonic::Status::not_found("no").into_http())
        });
        let request = Request::builder()
            .uri("/a.B/C")
            .header(REQUEST_ID, "id-1")
            .header("authorization", "Bearer secret")
            .body(Body::empty())
            .unwrap();
        TraceLayer.layer(handler).oneshot(request).await.unwrap();
        let text = logs.text();
        for part in [
            "otel.name=a.B/C",
            "request.id=\"id-1\"",
            "code=\"NotFound\"",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}
