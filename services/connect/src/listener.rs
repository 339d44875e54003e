//! The public port: from a socket to requests.
//!
//! A connection has until its deadlines for the handshake and for the head of its first request, and each source
//! may have so many. Client certificates are asked for, never required, and judged per request (see
//! [`crate::peer`]). No session is resumed, so no certificate outlives the handshake that showed it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vcluster_chassis::drain::Shutdown;

use crate::gateway::Gateway;
use crate::metrics::TurnedAway;
use crate::peer::Peer;
use crate::socket;

mod connection;
mod sources;
mod tls;

pub use tls::config;

use sources::Sources;

/// Pause after a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel.
    pub connections: usize,
    /// Connections of one source at once; further ones are closed.
    pub per_source: usize,
    /// How long the TLS handshake may take.
    pub handshake: Duration,
    /// How long the head of a request may take.
    pub header: Duration,
    /// How long a connection may be open without a request.
    pub idle: Duration,
    /// Requests of one connection at once, in HTTP/2.
    pub streams: u32,
}

/// Accepts connections in tracked tasks until the shutdown begins, then lets each end its requests.
pub fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: Limits,
    gateway: Arc<Gateway>,
    shutdown: &Shutdown,
) {
    let token = shutdown.token();
    let accept = Accept {
        acceptor: TlsAcceptor::from(config),
        limits,
        slots: Arc::new(Semaphore::new(limits.connections)),
        sources: Sources::new(limits.per_source),
        gateway,
        shutdown: shutdown.clone(),
    };
    shutdown.spawn("listener", async move {
        token.run_until_cancelled(accept.run(listener)).await;
    });
}

#[derive(Clone)]
struct Accept {
    acceptor: TlsAcceptor,
    limits: Limits,
    slots: Arc<Semaphore>,
    sources: Sources,
    gateway: Arc<Gateway>,
    shutdown: Shutdown,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        while let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(entered) = self.sources.enter(address.ip()) else {
                self.gateway.metrics.turned_away(TurnedAway::Source);
                continue;
            };
            let this = self.clone();
            self.shutdown.spawn_contained("connection", async move {
                this.connection(stream, address).await;
                drop((slot, entered));
            });
        }
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr) {
        let metrics = &self.gateway.metrics;
        let _counted = metrics.connection();
        socket::tune(&stream);
        let handshake = self.acceptor.accept(stream);
        match tokio::time::timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => self.handshaken(stream, address).await,
            Ok(Err(error)) => {
                metrics.turned_away(TurnedAway::Handshake);
                log_failed(&error, address);
            }
            Err(_elapsed) => metrics.turned_away(TurnedAway::HandshakeTimeout),
        }
    }

    async fn handshaken(&self, stream: TlsStream<TcpStream>, address: SocketAddr) {
        let session = stream.get_ref().1;
        let chain = session.peer_certificates().unwrap_or_default();
        let chain = chain
            .iter()
            .cloned()
            .map(rustls_pki_types::CertificateDer::into_owned)
            .collect();
        let peer = Peer::new(
            address.ip(),
            session.server_name().map(ToOwned::to_owned),
            chain,
        );
        let h2 = session.alpn_protocol() == Some(vcluster_chassis::tls::ALPN_H2);
        let serving = connection::Serving {
            gateway: Arc::clone(&self.gateway),
            peer: Arc::new(peer),
            limits: self.limits,
            begun: self.shutdown.token(),
        };
        if h2 {
            Box::pin(serving.http2(stream)).await;
        } else {
            Box::pin(serving.http1(stream)).await;
        }
    }
}

fn log_failed(error: &io::Error, address: SocketAddr) {
    tracing::debug!(%error, %address, "a handshake failed");
}
