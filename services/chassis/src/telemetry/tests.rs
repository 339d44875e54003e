//! Traces end to end: out to a collector, or through a process that has none.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::body::Body;

use super::*;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector that hands over what it is sent: path and body.
async fn collector() -> (String, mpsc::Receiver<(String, Bytes)>) {
    let (sender, received) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = tower::service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            sender.send((path, body)).await.unwrap();
            Ok::<_, Infallible>(tonic::Status::ok("").into_http::<Body>())
        }
    });
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(
            tower::ServiceBuilder::new()
                .map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new))
                .service(service),
        );
        let executor = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(stream);
        drop(
            hyper::server::conn::http2::Builder::new(executor)
                .serve_connection(io, service)
                .await,
        );
    });
    (endpoint, received)
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector_when_the_guard_goes_and_tasks_do_not() {
    let (endpoint, mut received) = collector().await;
    let provider = provider(&endpoint, "control", "1.2.3").unwrap();
    let subscriber = tracing_subscriber::registry().with(traces(Some(&provider), "control"));
    tracing::subscriber::with_default(subscriber, || {
        let task = tracing::info_span!(drain::TASK_SPAN);
        let _task = task.enter();
        drop(tracing::info_span!("reconcile_demo"));
        drop(tracing::debug_span!("detail_demo"));
    });
    let guard = Guard {
        provider: Some(provider),
    };
    tokio::task::spawn_blocking(move || guard.shutdown())
        .await
        .unwrap();
    let (path, body) = received.recv().await.unwrap();
    assert_eq!(
        path,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    );
    // A span's name is field 5 of its message, of wire type 2: an asterisk and the length.
    for (text, expected) in [
        ("control", true),
        ("1.2.3", true),
        ("reconcile_demo", true),
        ("detail_demo", false),
        ("*\u{4}task", false),
    ] {
        assert_eq!(contains(&body, text), expected, "{text}");
    }
}

#[test]
fn without_a_collector_context_passes_on_even_where_nothing_is_logged() {
    let lines = lines(LogFormat::Json).with_filter(EnvFilter::new("error"));
    let subscriber = tracing_subscriber::registry()
        .with(traces(None, "control"))
        .with(lines);
    tracing::subscriber::with_default(subscriber, || {
        let incoming = HeaderMap::from_iter([(
            http::HeaderName::from_static("traceparent"),
            CALLER.parse().unwrap(),
        )]);
        let span = tracing::info_span!("request");
        propagation::set_parent(&span, &incoming);
        let mut outgoing = HeaderMap::new();
        span.in_scope(|| propagation::inject(&mut outgoing));
        assert_eq!(outgoing["traceparent"], CALLER);
    });
}

#[test]
fn flags_that_cannot_work_are_refused() {
    let filter = TelemetryArgs {
        log_filter: "a=b=c".to_owned(),
        ..TelemetryArgs::default()
    };
    assert!(matches!(init(&filter, "x", "0"), Err(Error::Filter { .. })));
    let endpoint = Some("https://collector:4317".to_owned());
    let scheme = TelemetryArgs {
        otlp_endpoint: endpoint,
        ..TelemetryArgs::default()
    };
    assert!(matches!(init(&scheme, "x", "0"), Err(Error::Scheme { .. })));
}

#[test]
fn answers_that_kube_s_client_cannot_read_are_not_logged() {
    let logs = crate::testing::Logs::default();
    let layer = tracing_subscriber::fmt::layer().with_writer(logs.clone());
    let filter = EnvFilter::new("trace").and(filter_fn(holds_no_answer));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(target: "kube_client::client", "a whole answer");
        tracing::error!(target: "kube_client::client", "an error");
        tracing::warn!("anything else");
    });
    let text = logs.text();
    assert!(!text.contains("a whole answer"), "{text}");
    assert!(
        text.contains("an error") && text.contains("anything else"),
        "{text}"
    );
}
