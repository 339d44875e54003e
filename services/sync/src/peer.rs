//! HTTPS for virtual API servers: the kubelet endpoint and the admission webhook stand on it.
//!
//! Promises:
//! - a request that reaches a [`Handler`] comes from a virtual API server, and its [`Caller`] says of which
//!   tenant: by the one URI in the client certificate, which the tenant authority has signed. Neither the Host
//!   header nor anything else of a request has a say;
//! - whoever shows no such certificate gets 403 with the reason;
//! - the tenant that opens too many connections keeps nobody else out;
//! - a connection takes new requests for an hour, so that its certificate is shown again; what is under way then, a
//!   followed log or an exec, goes on until it ends.
//!
//! It does not know whether the tenant still exists, nor what it may do: handlers ask.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::idle::Requests;
use vcluster_chassis::tls::{
    self, AcceptOptions, ClientAuth, Identity, Live, PeerCertificates, Reloader, Roots, Stream,
};
use vcluster_resources::TenantUri;

use crate::metrics::{Metrics, Port};
use crate::reply::{Body, Refusal};

mod caller;
mod connection;
mod open;
#[cfg(test)]
mod tests;

pub use caller::Unnamed;
use open::Open;

/// Connections of all callers at once, per port; further ones wait in the kernel.
const CONNECTIONS: usize = 4096;
/// Connections of one tenant at once, per port; further ones are closed. Every exec, attach and port-forward has one
/// of its own.
const PER_TENANT: usize = 256;
/// How often a missing file is looked for.
const MISSING: Duration = Duration::from_secs(5);

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The virtual cluster whose API server it is.
    pub tenant: TenantUri,
    /// Where it is.
    pub address: Option<SocketAddr>,
}

/// A connection's place among those of its tenant; also an extension of each request, to be kept by whoever goes on with
/// the connection after the request.
#[derive(Clone)]
pub struct Held {
    _place: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// Answers requests of virtual API servers.
pub trait Handler: Send + Sync + 'static {
    /// Answers one. Dropped when the client has gone.
    fn handle(
        self: Arc<Self>,
        caller: Arc<Caller>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>>;
}

/// Knows the authority by which each tenant's API server presents itself to aggregated API servers.
pub trait FrontProxies: Send + Sync + 'static {
    /// Verifies that the tenant's authority signed the certificates.
    fn vouch(
        self: Arc<Self>,
        tenant: TenantUri,
        certificates: PeerCertificates,
    ) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// Serves virtual API servers.
#[derive(Debug, Clone)]
pub struct Server {
    /// What it shows: sync's platform identity, which virtual API servers verify by the platform CA.
    pub identity: Live<Identity>,
    /// PEM file with the authority that signed the clients' certificates.
    pub authority: PathBuf,
    /// Follows the file.
    pub reloader: Reloader,
    /// Counts handshakes.
    pub tls: tls::Metrics,
    /// Counts connections.
    pub metrics: Metrics,
    /// The end.
    pub shutdown: Shutdown,
}

impl Server {
    /// Serves a port in tracked tasks, from the moment that the authority's file is there. Control makes it; one that
    /// is older than this feature does not, and everything else goes on without it.
    pub fn serve(&self, port: Port, listener: TcpListener, handler: Arc<dyn Handler>) {
        let this = self.clone();
        let token = self.shutdown.token();
        self.shutdown.spawn(port.as_str(), async move {
            let Some(roots) = token.run_until_cancelled(this.authority(port)).await else {
                return;
            };
            // Optional, so that whoever has none is told why instead of seeing a broken handshake.
            let clients = ClientAuth::Optional(roots);
            this.accept(port, listener, clients, None, handler).await;
        });
    }

    /// Serves a port to the aggregators of virtual API servers: each shows a certificate that its own tenant's
    /// front-proxy authority signed, and that names the tenant. A connection with another one is closed.
    pub fn serve_front_proxies(
        &self,
        port: Port,
        listener: TcpListener,
        proxies: Arc<dyn FrontProxies>,
        handler: Arc<dyn Handler>,
    ) {
        let this = self.clone();
        self.shutdown.spawn(port.as_str(), async move {
            let clients = ClientAuth::Unverified;
            this.accept(port, listener, clients, Some(proxies), handler)
                .await;
        });
    }

    async fn authority(&self, port: Port) -> Live<Roots> {
        let mut said = false;
        loop {
            match self.reloader.roots(&self.authority).await {
                Ok(roots) => return roots,
                Err(error) => {
                    if !said {
                        tracing::warn!(
                            port = port.as_str(),
                            file = %self.authority.display(),
                            error = crate::apply::with_causes(&error),
                            "virtual API servers are not served: the authority of their certificates is missing, \
                             which control makes"
                        );
                    }
                    said = true;
                    tokio::time::sleep(MISSING).await;
                }
            }
        }
    }

    /// Ends when the shutdown begins; connections are tracked by themselves.
    async fn accept(
        self,
        port: Port,
        listener: TcpListener,
        clients: ClientAuth,
        proxies: Option<Arc<dyn FrontProxies>>,
        handler: Arc<dyn Handler>,
    ) {
        let alpn = [tls::ALPN_H2, tls::ALPN_HTTP1];
        let config = tls::server_config(self.identity.clone(), clients, &alpn);
        let options = AcceptOptions::default();
        let mut incoming = tls::accept(listener, config, options, &self.tls, &self.shutdown);
        tracing::info!(port = port.as_str(), "serving virtual API servers");
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let open = Open::new(PER_TENANT);
        // Closed never: the semaphore is ours.
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let Some(stream) = incoming.next().await else {
                return;
            };
            let connection = Accepted {
                port,
                stream,
                slot,
                handler: Arc::clone(&handler),
            };
            match &proxies {
                None => self.enter(&open, connection),
                Some(proxies) => {
                    let (this, open, proxies) = (self.clone(), open.clone(), Arc::clone(proxies));
                    self.shutdown.spawn_contained("front proxy", async move {
                        if vouched(proxies, connection.stream.peer()).await {
                            this.enter(&open, connection);
                        }
                    });
                }
            }
        }
    }

    /// Serves a connection, unless its tenant has its fill.
    fn enter(&self, open: &Open, connection: Accepted) {
        let Accepted {
            port,
            stream,
            slot,
            handler,
        } = connection;
        let caller = caller::read(stream.peer());
        let tenant = caller.as_ref().ok().map(|caller| caller.tenant.clone());
        let Some(entered) = open.enter(tenant) else {
            self.metrics.peer_turned_away(port);
            tracing::debug!(
                port = port.as_str(),
                ?caller,
                "a connection too many was closed"
            );
            return;
        };
        let counted = self.metrics.peer_connection(port);
        let serving = connection::Serving {
            caller: caller.map(Arc::new),
            handler,
            begun: self.shutdown.token(),
            requests: Requests::default(),
            held: Held {
                _place: Arc::new((slot, entered, counted)),
            },
            told: Arc::default(),
        };
        self.shutdown
            .spawn_contained("virtual API server", serving.run(stream));
    }
}

/// A connection whose handshake is over.
struct Accepted {
    port: Port,
    stream: Stream,
    slot: OwnedSemaphorePermit,
    handler: Arc<dyn Handler>,
}

/// Whether the tenant that a certificate names vouches for it.
async fn vouched(proxies: Arc<dyn FrontProxies>, peer: &PeerCertificates) -> bool {
    let vouched = match caller::read(peer) {
        Ok(caller) => proxies.vouch(caller.tenant, peer.clone()).await,
        Err(unnamed) => Err(unnamed.refusal()),
    };
    if let Err(refusal) = &vouched {
        let (source, message) = (peer.remote_addr(), &refusal.message);
        tracing::info!(
            ?source,
            message,
            "a connection was closed: nobody vouches for its certificate"
        );
    }
    vouched.is_ok()
}
