//! Clients of API servers over HTTP/2 pools: one pool for watches, one for everything else.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Uri};
use kube::client::middleware::BaseUriLayer;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::ServiceBuilder;
use vcluster_chassis::tls::{self, Identity, Live, Roots};

use crate::bill::{Counting, Traffic};
use crate::pool::{Connect, Io, Limits, Pool};
use crate::tenant_token::{Bearer, TenantToken};

/// What API servers log of us.
pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("vcluster-sync/", env!("CARGO_PKG_VERSION")));

/// Bytes of an answer that is read as a whole: a page of a list, mostly; those of large objects are shorter.
const ANSWER: usize = 32 << 20;

/// Watches: a thousand tenants with three watches each need thirty connections of a hundred streams.
const WATCHES: Limits = Limits {
    connections: 64,
    connect: Duration::from_secs(5),
    response: Duration::from_secs(30),
    answer: Some(ANSWER),
};
/// Requests to the host, of all tenants.
const HOST_REQUESTS: Limits = Limits {
    connections: 8,
    connect: Duration::from_secs(5),
    response: Duration::from_secs(30),
    answer: Some(ANSWER),
};
/// Requests to one virtual API server.
const VIRTUAL_REQUESTS: Limits = Limits {
    connections: 2,
    connect: Duration::from_secs(5),
    response: Duration::from_secs(15),
    answer: Some(ANSWER),
};

/// Logs that are passed on to virtual API servers: each holds a stream for as long as it is followed. Room for four
/// hundred tenants with their fill.
const STREAMS: Limits = Limits {
    connections: 256,
    connect: Duration::from_secs(5),
    // A container that says nothing has no answer to be seen yet; the kubelet ends streams that idle so long.
    response: Duration::from_hours(4),
    answer: None,
};
/// How long connecting for an upgrade may take.
const DIAL: Duration = Duration::from_secs(5);

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not `https://HOST[:PORT]`.
    #[error("the address {0:?} of an API server is not https://HOST[:PORT]")]
    Address(String),
    /// kube refuses the configuration.
    #[error("the Kubernetes client cannot be built")]
    Client(#[from] Box<kube::Error>),
}

/// Clients of one API server as one user.
#[derive(Clone)]
pub struct Server {
    /// For lists and watches.
    pub watch: Client,
    /// For everything else.
    pub request: Client,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// A virtual API server, as the user of the certificate; follows certificates that are replaced.
    pub fn virtual_cluster(
        address: &Uri,
        roots: Live<Roots>,
        identity: Live<Identity>,
        traffic: &Arc<Traffic>,
    ) -> Result<Self, Error> {
        let tls = tls::client_config(roots, Some(identity), &[tls::ALPN_H2]);
        let connect = Tls::new(address, None, tls)?;
        let client = |limits| {
            let service = ServiceBuilder::new()
                .layer(BaseUriLayer::new(address.clone()))
                .map_request(with_agent)
                .layer(Counting(Arc::clone(traffic)))
                .service(Pool::new(connect.clone(), limits));
            Client::new(service, "default")
        };
        Ok(Self {
            watch: client(WATCHES),
            request: client(VIRTUAL_REQUESTS),
        })
    }
}

/// The host's API server.
pub struct Host {
    /// As sync itself.
    pub own: Server,
    anonymous: Pool,
    streams: Pool,
    upgrades: Tls,
    address: Uri,
    /// What requests go through instead of the network.
    #[cfg(test)]
    pub(crate) simulated: Option<crate::simulation::Network>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Makes the clients of the cluster that the configuration names.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let address = config.cluster_url.clone();
        let own = Tls::of(config)?;
        let client = |limits| {
            let service = ServiceBuilder::new()
                .layer(config.base_uri_layer())
                .option_layer(config.auth_layer().map_err(Box::new)?)
                .layer(config.extra_headers_layer().map_err(Box::new)?)
                .map_request(with_agent)
                .map_err(tower::BoxError::from)
                .service(Pool::new(own.clone(), limits));
            Ok::<_, Error>(ClientBuilder::new(service, "default").build())
        };
        let own = Server {
            watch: client(WATCHES)?,
            request: client(HOST_REQUESTS)?,
        };
        // Tenants bring a token each; a client certificate of ours would outrank it.
        let mut nobody = config.clone();
        nobody.auth_info = kube::config::AuthInfo::default();
        let nobody = Tls::of(&nobody)?;
        Ok(Self {
            own,
            anonymous: Pool::new(nobody.clone(), HOST_REQUESTS),
            streams: Pool::new(nobody.clone(), STREAMS),
            upgrades: nobody.over_http1(),
            address,
            #[cfg(test)]
            simulated: None,
        })
    }

    /// Clients of a virtual API server of this host, as the user of the certificate.
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, reason = "in a simulation it says where they are")
    )]
    pub fn virtual_cluster(
        &self,
        address: &Uri,
        roots: Live<Roots>,
        identity: Live<Identity>,
        traffic: &Arc<Traffic>,
    ) -> Result<Server, Error> {
        #[cfg(test)]
        if let Some(network) = &self.simulated {
            return Ok(network.virtual_cluster(address));
        }
        Server::virtual_cluster(address, roots, identity, traffic)
    }

    /// A client that acts as the tenant's own ServiceAccount; connections are shared, and what passes is counted.
    pub fn tenant(&self, token: Arc<TenantToken>, traffic: &Arc<Traffic>) -> Client {
        #[cfg(test)]
        if let Some(network) = &self.simulated {
            return network.tenant(token);
        }
        self.bearing(&self.anonymous, token, traffic)
    }

    /// The same, for answers that stay: they do not take the streams of other requests.
    pub fn tenant_streams(&self, token: Arc<TenantToken>) -> Client {
        self.bearing(&self.streams, token, &Arc::default())
    }

    fn bearing(&self, pool: &Pool, token: Arc<TenantToken>, traffic: &Arc<Traffic>) -> Client {
        let service = ServiceBuilder::new()
            .layer(BaseUriLayer::new(self.address.clone()))
            .map_request(with_agent)
            .layer(Counting(Arc::clone(traffic)))
            .service(Bearer::new(pool.clone(), token));
        Client::new(service, "default")
    }

    /// A connection of its own in HTTP/1.1, which alone can be upgraded; nobody's until a request brings a token.
    pub async fn dial(&self) -> io::Result<Box<dyn Io>> {
        tokio::time::timeout(DIAL, self.upgrades.connect())
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Where it is, for `Host`.
    pub fn authority(&self) -> &str {
        self.address
            .authority()
            .map_or("", http::uri::Authority::as_str)
    }
}

fn with_agent(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(USER_AGENT, AGENT);
    request
}

/// Connects with TLS and one protocol only, by default HTTP/2.
#[derive(Clone)]
struct Tls {
    host: Arc<str>,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    protocol: &'static [u8],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

impl Tls {
    fn new(address: &Uri, name: Option<&str>, config: Arc<ClientConfig>) -> Result<Self, Error> {
        let wrong = || Error::Address(address.to_string());
        if address.scheme() != Some(&http::uri::Scheme::HTTPS) {
            return Err(wrong());
        }
        let host = address.host().ok_or_else(wrong)?;
        // An IPv6 address stands in brackets in a URL only.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name =
            ServerName::try_from(name.unwrap_or(host).to_owned()).map_err(|_error| wrong())?;
        Ok(Self {
            host: Arc::from(host),
            port: address.port_u16().unwrap_or(443),
            name,
            config,
            protocol: tls::ALPN_H2,
        })
    }

    fn over_http1(mut self) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![tls::ALPN_HTTP1.to_vec()];
        self.config = Arc::new(config);
        self.protocol = tls::ALPN_HTTP1;
        self
    }

    fn of(config: &Config) -> Result<Self, Error> {
        let mut tls = config.rustls_client_config().map_err(Box::new)?;
        tls.alpn_protocols = vec![tls::ALPN_H2.to_vec()];
        Self::new(
            &config.cluster_url,
            config.tls_server_name.as_deref(),
            Arc::new(tls),
        )
    }
}

impl Connect for Tls {
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let this = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((&*this.host, this.port)).await?;
            stream.set_nodelay(true)?;
            let stream = TlsConnector::from(this.config)
                .connect(this.name, stream)
                .await?;
            if stream.get_ref().1.alpn_protocol() != Some(this.protocol) {
                return Err(io::Error::other(format!(
                    "the server does not speak {}",
                    String::from_utf8_lossy(this.protocol)
                )));
            }
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
