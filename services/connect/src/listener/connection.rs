//! One connection of a client, in HTTP/1.1 or HTTP/2, with every limit spelled out.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::gateway::Gateway;
use crate::peer::Peer;
use crate::upstream::MAX_WINDOW;

/// Headers of one request: a token of 16 KiB and more than any client of Kubernetes sends.
const HEADERS: usize = 64 << 10;
/// Header lines of one request.
const LINES: usize = 256;
/// What one stream may send ahead.
const STREAM_WINDOW: u32 = 256 << 10;
/// Frames small enough for a keystroke to pass between them.
const FRAME: u32 = 32 << 10;
/// What one stream may hold unsent.
const SEND_BUFFER: usize = 256 << 10;
/// Streams that the client reset before they were looked at (CVE-2023-44487), and that it made us reset
/// (CVE-2025-8671), before the connection is closed.
const RESET_PENDING: usize = 20;
const RESET_LOCAL: usize = 256;
/// Silence after which a client is asked whether it is there. Kubernetes' own clients ask after 30 s.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);

/// What serving a connection takes.
pub(super) struct Serving {
    pub(super) gateway: Arc<Gateway>,
    pub(super) peer: Arc<Peer>,
    pub(super) limits: Limits,
    pub(super) begun: CancellationToken,
}

impl Serving {
    pub(super) async fn http1(self, stream: TlsStream<TcpStream>) {
        let service = service_fn(|request: Request<Incoming>| {
            let (gateway, peer) = (Arc::clone(&self.gateway), Arc::clone(&self.peer));
            async move { Ok::<_, Infallible>(gateway.handle(peer, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Counts from the end of the request before, so that it is the limit of idling as well.
            .header_read_timeout(self.limits.header)
            .max_headers(LINES)
            .max_header_size(HEADERS)
            .max_buf_size(HEADERS + (16 << 10))
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.begun.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
    }

    pub(super) async fn http2(self, stream: TlsStream<TcpStream>) {
        let service = service_fn(|request: Request<Incoming>| {
            let (gateway, peer) = (Arc::clone(&self.gateway), Arc::clone(&self.peer));
            async move { Ok::<_, Infallible>(gateway.handle(peer, request).await) }
        });
        let connection = self
            .http2_builder()
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.begun.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = self.peer.requests.idle(self.limits.header, self.limits.idle) => {
                connection.as_mut().graceful_shutdown();
                // It has no streams, so it ends at once; a client that does not let it is cut off.
                tokio::time::timeout(self.limits.header, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
    }

    fn http2_builder(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW)
            // Never the limit: with the protocol's default one stalled upload stops all others.
            .initial_connection_window_size(MAX_WINDOW)
            .max_frame_size(FRAME)
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(u32::try_from(HEADERS).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(RESET_PENDING)
            .max_local_error_reset_streams(RESET_LOCAL)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        builder
    }
}
