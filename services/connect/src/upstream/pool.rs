//! HTTP/2 connections to one server, shared by every caller.
//!
//! A request goes to the connection with the fewest streams; a further connection is opened when each has its
//! fill. The connection window is at its maximum and the stream windows are the limit: with the
//! protocol's defaults one reader that stalls would hold back everybody on the connection.
//!
//! A request that was not sent is sent again on another connection, as is one that only reads and got no
//! answer; nothing else is ever sent twice.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;
use tracing::Instrument;

use super::Error;
use super::target::{Protocol, Target};
use crate::body::{self, Body};
use crate::metrics::{Dial, Metrics};

/// The largest window of HTTP/2.
pub(crate) const MAX_WINDOW: u32 = (1 << 31) - 1;
/// What one stream may send ahead of its reader.
const STREAM_WINDOW: u32 = 512 << 10;
/// Frames small enough for a keystroke to pass between them.
const FRAME: u32 = 32 << 10;
/// What one stream may hold unsent.
const SEND_BUFFER: usize = 256 << 10;
/// Header lists of answers.
const HEADER_LIST: u32 = 128 << 10;
/// Silence after which a server with open streams is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);
/// Streams of one connection; API servers allow 100 at least.
const STREAMS: usize = 90;
/// Attempts for a request that was not sent.
const ATTEMPTS: usize = 3;
/// How long a connection may stay without streams.
const IDLE: Duration = Duration::from_secs(90);

/// Connections to one server.
#[derive(Debug)]
pub struct Pool {
    target: Arc<Target>,
    most: usize,
    metrics: Metrics,
    connections: Mutex<Vec<Connection>>,
    /// Held by the one that dials; tells when dialing has last failed.
    dialing: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    streams: Arc<AtomicUsize>,
    used: Instant,
}

/// A stream's place on its connection; given back when dropped.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// Makes a pool of at most `most` connections; none is opened yet.
    pub fn new(target: Arc<Target>, most: usize, metrics: Metrics) -> Self {
        Self {
            target,
            most,
            metrics,
            connections: Mutex::new(Vec::new()),
            dialing: tokio::sync::Mutex::new(None),
        }
    }

    /// Sends a request and waits for the head of its answer, until `deadline`.
    pub async fn send(
        &self,
        request: Request<Body>,
        deadline: Duration,
    ) -> Result<Response<Answer>, Error> {
        tokio::time::timeout(deadline, self.attempts(request))
            .await
            .map_err(|_elapsed| Error::AnswerTimeout)?
    }

    async fn attempts(&self, mut request: Request<Body>) -> Result<Response<Answer>, Error> {
        let mut last = Error::Exhausted;
        for _ in 0..ATTEMPTS {
            let again = repeatable(&request);
            let (mut sender, slot) = self.stream().await?;
            if let Err(error) = sender.ready().await {
                // Closed between being picked and used.
                last = Error::Lost(error);
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok(response.map(|inner| Answer { inner, _slot: slot }));
                }
                Err(mut error) => {
                    let unsent = error.take_message().or(again);
                    last = Error::Lost(error.into_error());
                    match unsent {
                        Some(unsent) => request = unsent,
                        None => return Err(last),
                    }
                }
            }
        }
        Err(last)
    }

    /// A place for a stream: on an open connection, or on one that is opened for it.
    async fn stream(&self) -> Result<(SendRequest<Body>, Slot), Error> {
        if let Some(found) = self.pick(STREAMS) {
            return Ok(found);
        }
        let begun = Instant::now();
        let mut failed = self.dialing.lock().await;
        // Somebody else may have opened one meanwhile, or failed: who waited for a dial shares its end, or
        // a server that swallows connections would be dialed by one waiter after the other.
        if let Some(found) = self.pick(STREAMS) {
            return Ok(found);
        }
        if failed.is_some_and(|at| at >= begun) {
            return Err(Error::JustFailed);
        }
        if self.open().len() >= self.most {
            return Err(Error::Exhausted);
        }
        let result = self.connect().await;
        *failed = result.is_err().then(Instant::now);
        self.metrics.dialed(if result.is_ok() {
            Dial::Connected
        } else {
            Dial::Failed
        });
        let connection = result?;
        let found = (connection.sender.clone(), connection.take());
        self.open().push(connection);
        Ok(found)
    }

    fn pick(&self, below: usize) -> Option<(SendRequest<Body>, Slot)> {
        let mut connections = self.open();
        connections.retain(|connection| !connection.sender.is_closed());
        let best = connections
            .iter_mut()
            .min_by_key(|connection| connection.streams())?;
        if best.streams() >= below {
            return None;
        }
        best.used = Instant::now();
        Some((best.sender.clone(), best.take()))
    }

    /// Closes connections that nobody has used for a while.
    pub fn sweep(&self) {
        self.open().retain(|connection| {
            let idle = connection.streams() == 0 && connection.used.elapsed() > IDLE;
            !idle && !connection.sender.is_closed()
        });
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let stream = self.target.dial(Protocol::Http2).await?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(MAX_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(HEADER_LIST)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Error::Handshake)?;
        let drive = async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
        };
        // Not tracked by the drain: it lives exactly as long as the requests on it, which are.
        // Nor part of the request that happens to open it: that one's span would stay open as long.
        tokio::spawn(drive.instrument(tracing::debug_span!(parent: None, "upstream")));
        let streams = Arc::new(AtomicUsize::new(0));
        Ok(Connection {
            sender,
            streams,
            used: Instant::now(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Nothing in here is left half done by a panic.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn take(&self) -> Slot {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(&self.streams))
    }
}

/// The same request once more, if it only reads and has no body.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !reads || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(body::empty());
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    *again.version_mut() = request.version();
    Some(again)
}

/// The body of an answer; it holds its stream's place until it ends.
#[derive(Debug)]
pub struct Answer {
    inner: Incoming,
    _slot: Slot,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
