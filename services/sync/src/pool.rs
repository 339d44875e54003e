//! HTTP/2 connections to one API server, as many as its streams need.
//!
//! A watch holds its stream for minutes, and a server allows so many streams per connection
//! (kube-apiserver: 100 by default). One connection shared by all, as clients usually have it, is full after
//! that many watches, and every request behind them waits for ever. Here a request takes a stream of a
//! connection that has one to give, by the server's own SETTINGS_MAX_CONCURRENT_STREAMS, else a further
//! connection is opened, up to a limit; beyond that requests wait, with a deadline.
//!
//! Watches and other requests get a pool each, so that neither takes the other's streams. A connection
//! that is dead is found by HTTP/2 pings. It does not retry a request that may have reached the server.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use kube::client::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service;

mod capped;
mod connection;
mod lease;
mod slots;
#[cfg(test)]
mod tests;

pub use capped::Capped;
pub use lease::Leased;
use slots::Slots;

/// Limits of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// How long connecting, and waiting for a free stream, may take.
    pub connect: Duration,
    /// From a request to the head of its answer.
    pub response: Duration,
    /// Bytes of an answer, or of one line of a watch; nothing where answers are passed on and not kept.
    pub answer: Option<usize>,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be reached.
    #[error("cannot connect to the API server")]
    Connect(#[source] io::Error),
    /// No stream became free in time.
    #[error("no connection to the API server has a free stream")]
    Full,
    /// The connection broke while the request was under way.
    #[error("the connection to the API server broke")]
    Broken(#[source] hyper::Error),
    /// The server did not answer in time.
    #[error("the API server did not answer within {0:?}")]
    Late(Duration),
    /// The answer is larger than what is read.
    #[error("the answer of the API server is larger than {0} bytes")]
    TooLarge(usize),
}

/// The body of an answer.
pub type Answer = Capped<Leased<Incoming>>;

/// A byte stream to the server, after any handshake.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens a byte stream to the server.
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Opens one. The pool sets the deadline.
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// Connections to one API server. Clones are the same pool; the connections close with the last one.
#[derive(Clone)]
pub struct Pool {
    slots: Arc<Slots>,
    connect: Arc<dyn Connect>,
    limits: Limits,
}

impl Pool {
    /// Makes a pool that connects when first used.
    pub fn new(connect: impl Connect, limits: Limits) -> Self {
        Self {
            slots: Arc::new(Slots::new(limits.connections)),
            connect: Arc::new(connect),
            limits,
        }
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.slots.connections()
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Answer>, Error> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let mut request = request;
        // A connection may close between the choice and the use; the request has not left then.
        for _ in 0..3 {
            let (mut sender, lease) = self.lease().await?;
            let sent = tokio::time::timeout(self.limits.response, sender.try_send_request(request));
            match sent.await {
                Ok(Ok(response)) => {
                    let capped =
                        |body| Capped::new(Leased::new(body, lease), self.limits.answer, &query);
                    return Ok(response.map(capped));
                }
                Ok(Err(mut failed)) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Error::Broken(failed.into_error())),
                },
                Err(_elapsed) => return Err(Error::Late(self.limits.response)),
            }
        }
        Err(Error::Full)
    }

    async fn lease(&self) -> Result<(connection::Sender, lease::Lease), Error> {
        let deadline = tokio::time::Instant::now() + self.limits.connect;
        loop {
            let changed = self.slots.changed();
            match self.slots.choose() {
                slots::Choice::Use(sender, lease) => return Ok((sender, lease)),
                slots::Choice::Connect(opening) => {
                    let open = connection::open(&*self.connect, &self.slots);
                    let opened = tokio::time::timeout_at(deadline, open)
                        .await
                        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
                    opening.finish(opened).map_err(Error::Connect)?;
                }
                slots::Choice::Wait => {
                    if tokio::time::timeout_at(deadline, changed).await.is_err() {
                        return Err(Error::Full);
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connect", &self.connect)
            .field("limits", &self.limits)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Pool {
    type Response = Response<Answer>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    /// Always ready: waiting for a stream is part of the call, or a burst would be serialized.
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        debug_assert!(
            request.body().size_hint().upper().is_some(),
            "bodies are whole"
        );
        Box::pin(self.clone().send(request))
    }
}
