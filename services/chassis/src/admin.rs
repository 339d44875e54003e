//! The admin port: `/livez`, `/readyz` and `/metrics` in plain HTTP/1.
//!
//! It answers from the moment it serves until the drain is over, so that a draining process can still
//! be seen. It changes nothing: whoever reaches it can read metrics and the names of gates, no more.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::args::AdminArgs;
use crate::drain::Shutdown;
use crate::health::{GateState, Health, Report};
use crate::metrics::{self, Registry};

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last: for one request and its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Probes and scrapers are a handful; more connections than this are an accident or an attack.
const MAX_CONNECTIONS: usize = 64;
/// Pause after a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("admin port cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound admin port that does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Debug, Clone)]
struct Seen {
    registry: Arc<Registry>,
    health: Health,
}

impl AdminServer {
    /// Binds the port.
    pub async fn bind(args: &AdminArgs) -> Result<Self, BindError> {
        let failed = |source| BindError {
            address: args.admin_listen,
            source,
        };
        let listener = TcpListener::bind(args.admin_listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The bound address; tells the port when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves in the background until the drain of `shutdown` is over.
    pub fn serve(self, registry: Arc<Registry>, health: Health, shutdown: &Shutdown) {
        let router = router(Seen { registry, health });
        let finished = shutdown.finished();
        // Not tracked: the drain waits for tracked tasks, and this one waits for the drain.
        let serve = async move {
            tokio::select! {
                () = accept(self.listener, router) => {}
                () = finished.cancelled() => {}
            }
        };
        tokio::spawn(serve.instrument(tracing::info_span!("admin")));
    }
}

#[expect(clippy::infinite_loop, reason = "ends by being dropped")]
async fn accept(listener: TcpListener, router: Router) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, router).await;
            drop(permit);
        });
    }
}

/// Serves one request: a connection that were kept would only hold a place that a probe may need.
async fn connection<IO>(io: IO, router: Router)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection ended"),
        Err(_elapsed) => tracing::debug!("admin connection took too long"),
    }
}

fn router(seen: Seen) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(seen)
}

async fn livez(State(seen): State<Seen>) -> (StatusCode, &'static str) {
    if seen.health.is_live() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "a vital task panicked\n")
    }
}

async fn readyz(State(seen): State<Seen>) -> (StatusCode, String) {
    let report = seen.health.report();
    let status = if report.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, render(&report))
}

async fn metrics(State(seen): State<Seen>) -> Response {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        seen.registry.encode(),
    )
        .into_response()
}

/// Writes the report in the form of Kubernetes' `/readyz?verbose`.
fn render(report: &Report) -> String {
    let mut text = String::new();
    for (name, state) in &report.gates {
        let written = match state {
            GateState::Open => writeln!(text, "[+]{name} ok"),
            GateState::Closed(reason) => writeln!(text, "[-]{name} failed: {reason}"),
        };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    if report.draining {
        text.push_str("[-]shutdown failed: draining\n");
    }
    text.push_str(if report.is_ready() {
        "readyz check passed\n"
    } else {
        "readyz check failed\n"
    });
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn serve() -> (SocketAddr, Health, Shutdown) {
        let shutdown = Shutdown::new();
        let health = Health::new(&shutdown);
        let args = AdminArgs {
            admin_listen: "127.0.0.1:0".parse().unwrap(),
        };
        let server = AdminServer::bind(&args).await.unwrap();
        let address = server.local_addr();
        server.serve(
            Arc::new(Registry::new("test", "0")),
            health.clone(),
            &shutdown,
        );
        (address, health, shutdown)
    }

    #[tokio::test]
    async fn readyz_lists_the_gates_and_says_which_is_closed() {
        let (address, health, _shutdown) = serve().await;
        health.gate("store").open();
        let gate = health.gate("host-api");
        gate.close("cannot list virtualclusters");
        let answer = fetch(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("[-]host-api failed: cannot list virtualclusters\n[+]store ok\n"));
        gate.open();
        let answer = fetch(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("readyz check passed\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_draining_process_is_alive_and_not_ready() {
        let (address, _health, shutdown) = serve().await;
        shutdown.begin("test");
        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let answer = fetch(address, "/readyz").await;
        assert!(
            answer.contains("[-]shutdown failed: draining\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn metrics_are_served_as_openmetrics() {
        let (address, _health, _shutdown) = serve().await;
        let answer = fetch(address, "/metrics").await;
        assert!(answer.contains(metrics::CONTENT_TYPE), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_is_for_one_request() {
        let (address, _health, _shutdown) = serve().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let shutdown = Shutdown::new();
        let seen = Seen {
            registry: Arc::new(Registry::new("test", "0")),
            health: Health::new(&shutdown),
        };
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        connection(near, router(seen)).await;
        drop(far);
    }
}
