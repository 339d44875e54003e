//! One connection of a virtual API server, in HTTP/1.1 or HTTP/2, with every limit spelled out.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use vcluster_chassis::idle::Requests;
use vcluster_chassis::tls::{ALPN_H2, Stream};

use super::{Caller, Handler, Held, Unnamed};
use crate::reply::{self, Body};

/// Headers of one request; an admission review's or an exec's are far below.
const HEADERS: usize = 64 << 10;
/// Header lines of one request.
const LINES: usize = 128;
/// Longest part of a path that is logged.
const PATH: usize = 256;
/// How long the first request, and in HTTP/1.1 the head of each, may take.
const HEAD: Duration = Duration::from_secs(90);
/// How long a connection that had requests may be without.
const IDLE: Duration = Duration::from_mins(10);
/// How long a connection without requests may take to close when it is told to.
const GRACE: Duration = Duration::from_secs(5);
/// Requests of one connection at once, in HTTP/2: Go's client opens another connection beyond.
const STREAMS: u32 = 250;
/// What one stream may hold unsent: back-pressure reaches the host beyond it.
const SEND_BUFFER: usize = 256 << 10;
/// Silence after which a client is asked whether it is there.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);
/// How long a connection may take new requests: who shows a new one shows a valid certificate again.
const LIFETIME: Duration = Duration::from_hours(1);

/// What serving a connection takes.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) caller: Result<Arc<Caller>, Unnamed>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) begun: CancellationToken,
    pub(super) requests: Requests,
    /// Given up with the last of what goes on with the connection.
    pub(super) held: Held,
    /// Whether a refusal for want of a certificate was logged.
    pub(super) told: Arc<AtomicBool>,
}

impl Serving {
    /// Serves until the other end closes, or the connection's time is over and its requests are.
    pub(super) async fn run(self, stream: Stream) {
        let served = if stream.peer().alpn() == Some(ALPN_H2) {
            Box::pin(self.http2(stream)).await
        } else {
            Box::pin(self.http1(stream)).await
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection of a virtual API server ended");
        }
    }

    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let under_way = self.requests.begin();
        request.extensions_mut().insert(self.held);
        let response = match self.caller {
            Ok(caller) => self.handler.handle(caller, request).await,
            Err(unnamed) => {
                // Anybody can ask, as often as they like: once for each connection.
                if !self.told.swap(true, Ordering::Relaxed) {
                    let path = request.uri().path();
                    tracing::info!(
                        target: "audit",
                        event = "end",
                        method = %request.method(),
                        path = &path[..path.floor_char_boundary(PATH)],
                        code = 403,
                        reason = %unnamed,
                        "request ended"
                    );
                }
                unnamed.refusal().into_response()
            }
        };
        Ok(response.map(|body| reply::hold(body, under_way)))
    }

    async fn http1(self, stream: Stream) -> hyper::Result<()> {
        let serving = self.clone();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(LINES)
            .max_header_size(HEADERS)
            .max_buf_size(HEADERS + (16 << 10))
            // A client that has gone ends what it asked for.
            .half_close(false)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| serving.clone().answer(request)),
            )
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.over() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            served = connection => served,
            () = self.requests.idle(GRACE, GRACE) => Ok(()),
        }
    }

    async fn http2(self, stream: Stream) -> hyper::Result<()> {
        let serving = self.clone();
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEADERS).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| serving.clone().answer(request)),
            );
        let mut connection = pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.over() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            served = connection => served,
            () = self.requests.idle(GRACE, GRACE) => Ok(()),
        }
    }

    /// Waits until no new request is to be taken.
    async fn over(&self) {
        tokio::select! {
            () = self.begun.cancelled() => {}
            () = self.requests.idle(HEAD, IDLE) => {}
            () = tokio::time::sleep(LIFETIME) => {}
        }
    }
}
