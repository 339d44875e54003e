//! From a listener to handshaken streams.
//!
//! Handshakes run beside one another, at most so many, each with a deadline: a client that connects and
//! says nothing costs one slot for five seconds and nobody else anything. When all slots are taken,
//! connections wait in the kernel's backlog. When the shutdown begins, the listener closes and handshakes
//! that are not over are broken off.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::server::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

use super::metrics::Handshake;
use super::{Metrics, Stream};
use crate::drain::Shutdown;

/// Pause after a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptOptions {
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many handshakes may run at once.
    pub max_handshakes: usize,
    /// How many finished handshakes may wait to be taken.
    pub backlog: usize,
}

impl Default for AcceptOptions {
    /// 5 s, 256 at once, 64 waiting.
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            max_handshakes: 256,
            backlog: 64,
        }
    }
}

/// The handshaken connections of a listener; ends when the shutdown has begun.
#[derive(Debug)]
pub struct Incoming {
    streams: mpsc::Receiver<Stream>,
}

impl Incoming {
    /// The next connection; `None` once the listener is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

impl futures::Stream for Incoming {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.streams.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}

/// Accepts connections in tracked tasks until the shutdown begins or the stream is dropped.
pub fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    options: AcceptOptions,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Incoming {
    let (sender, streams) = mpsc::channel(options.backlog.max(1));
    let handshakes = Handshakes {
        acceptor: TlsAcceptor::from(config),
        timeout: options.handshake_timeout,
        slots: Arc::new(Semaphore::new(options.max_handshakes.max(1))),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
        sender,
    };
    let token = shutdown.token();
    shutdown.spawn("accept", async move {
        token.run_until_cancelled(handshakes.run(listener)).await;
    });
    Incoming { streams }
}

#[derive(Clone)]
struct Handshakes {
    acceptor: TlsAcceptor,
    timeout: Duration,
    slots: Arc<Semaphore>,
    metrics: Metrics,
    shutdown: Shutdown,
    sender: mpsc::Sender<Stream>,
}

impl Handshakes {
    async fn run(self, listener: TcpListener) {
        while let Some(slot) = self.slot().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.sender.closed() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let handshake = self.clone().handshake(stream, address, slot);
                    let begun = self.shutdown.token();
                    self.shutdown.spawn_contained("handshake", async move {
                        begun.run_until_cancelled(handshake).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits for a free slot; `None` once nobody takes connections any more.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            slot = Arc::clone(&self.slots).acquire_owned() => slot.ok(),
            () = self.sender.closed() => None,
        }
    }

    /// Holds its slot until the connection is taken, so that a slow taker slows the listener.
    async fn handshake(self, stream: TcpStream, address: SocketAddr, _slot: OwnedSemaphorePermit) {
        // Small writes are whole frames; waiting for more of them only adds latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %address, "cannot set TCP_NODELAY");
        }
        let (result, stream) =
            match tokio::time::timeout(self.timeout, self.acceptor.accept(stream)).await {
                Ok(Ok(stream)) => (Handshake::Completed, Some(stream)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, %address, "handshake failed");
                    (Handshake::Failed, None)
                }
                Err(_elapsed) => {
                    tracing::debug!(%address, "handshake took too long");
                    (Handshake::TimedOut, None)
                }
            };
        self.metrics.handshake(result);
        if let Some(stream) = stream {
            // Refused only when nobody takes connections any more: the peer sees it closed.
            drop(self.sender.send(Stream::new(stream, Some(address))).await);
        }
    }
}
