//! Connections of a gRPC server: HTTP/2 with limits, an age, and a polite end.
//!
//! Not tonic's own loop, because that one neither tracks its tasks nor says GOAWAY at an age that has a
//! grace period.

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::server::Connected;
use tower::ServiceExt;

use super::{Options, Stack, preface};
use crate::drain::Shutdown;

/// Pause after an error of the listener, lest a lasting one becomes a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// How long a client has to say that it speaks HTTP/2.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a silent client has to answer a PING.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Heads may carry a token of 16 KiB, or an identity with hundreds of groups.
const MAX_HEADER_LIST: u32 = 64 << 10;
/// Flow-control windows: a stalled stream must not hold up the others of its connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Resets by the client that are not yet handled; more is the rapid-reset attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 64;

/// Serves each connection in a task of its own until the shutdown begins or there are no more.
pub(super) async fn connections<I, IO>(
    incoming: I,
    stack: Stack,
    options: Options,
    shutdown: Shutdown,
) where
    I: Stream<Item = io::Result<IO>> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let begun = shutdown.token();
    let mut incoming = pin!(incoming);
    while let Some(Some(connection)) = begun.run_until_cancelled(incoming.next()).await {
        match connection {
            Ok(io) => {
                let served = serve(io, stack.clone(), options, begun.clone());
                shutdown.spawn_contained("grpc connection", served);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

async fn serve<IO>(io: IO, stack: Stack, options: Options, begun: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let info = io.connect_info();
    let service = stack.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        request.map(Body::new)
    });
    let heard = tokio::time::timeout(PREFACE_TIMEOUT, preface::hear(io));
    let io = match begun.run_until_cancelled(heard).await {
        Some(Ok(Ok(io))) => TokioIo::new(io),
        Some(Ok(Err(error))) => {
            tracing::debug!(%error, "connection ended before it began");
            return;
        }
        Some(Err(_elapsed)) => {
            tracing::debug!("connection said nothing");
            return;
        }
        None => return,
    };
    let connection = builder(options).serve_connection(io, TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = age(options.max_connection_age) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut connection => served,
                () = end_of_grace(options.max_connection_age_grace) => Ok(()),
            }
        }
        () = begun.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

fn builder(options: Options) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// Waits for the age, give or take a tenth, so that connections made together do not end together.
async fn age(max: Option<Duration>) {
    match max {
        Some(max) => {
            let jitter = rand::rng().random_range(0.9..=1.1);
            tokio::time::sleep(max.mul_f64(jitter)).await;
        }
        None => std::future::pending().await,
    }
}

async fn end_of_grace(grace: Option<Duration>) {
    match grace {
        Some(grace) => tokio::time::sleep(grace).await,
        None => std::future::pending().await,
    }
}
