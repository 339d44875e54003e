//! The way to another service: lazily connected, kept alive, traced.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::transport::{self, Endpoint};
use tower::Service;

use crate::telemetry::propagation;

/// Deadlines of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOptions {
    /// For connection and TLS handshake.
    pub connect_timeout: Duration,
    /// From a request to the head of its response; `grpc-timeout` may be shorter.
    pub response_timeout: Duration,
    /// How often the other side is asked whether it is there, in use or idle; a silent one is given up
    /// after as long again.
    pub keep_alive: Duration,
    /// Name that the certificate must bear, if not the host of the URI.
    pub server_name: Option<String>,
    /// What the other side logs of us.
    pub user_agent: Option<String>,
}

impl Default for ChannelOptions {
    /// 5 s, 60 s and 10 s; the URI's own name.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(10),
            server_name: None,
            user_agent: None,
        }
    }
}

/// The URI leads nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is neither `https` with TLS nor `http` without.
    #[error("{uri} needs https with, or http without, a TLS configuration")]
    Scheme {
        /// The URI.
        uri: Uri,
    },
    /// Its host cannot be the name in a certificate.
    #[error("{name:?} is not a server name")]
    ServerName {
        /// The name.
        name: String,
    },
    /// It has no host.
    #[error("{uri} has no host")]
    Host {
        /// The URI.
        uri: Uri,
    },
    /// tonic refuses it.
    #[error("the channel cannot be made")]
    Endpoint(#[from] transport::Error),
}

/// A channel that carries the trace of the current span to the other side. Cheap to clone; generated
/// clients take it as it is.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: transport::Channel,
}

/// Makes a channel that connects when first used, and again whenever the connection is lost.
///
/// With `tls` (see [`crate::tls::client_config`], ALPN `h2`) the URI is `https`, without it `http`.
pub fn channel(
    uri: Uri,
    tls: Option<Arc<ClientConfig>>,
    options: &ChannelOptions,
) -> Result<Channel, Error> {
    let expected = if tls.is_some() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    if uri.scheme() != Some(&expected) {
        return Err(Error::Scheme { uri });
    }
    let authority = uri
        .authority()
        .cloned()
        .ok_or_else(|| Error::Host { uri: uri.clone() })?;
    let dialer = Dialer {
        tls: tls
            .map(|tls| tunnel(&tls, &authority, options))
            .transpose()?,
        authority,
    };
    // tonic refuses an https endpoint whose TLS is not its own. The connector ignores the scheme of
    // the endpoint; requests bear the true one as their origin.
    let plain = http_twin(&uri)?;
    let endpoint = Endpoint::from(plain)
        .origin(uri)
        .connect_timeout(options.connect_timeout)
        .timeout(options.response_timeout)
        .http2_keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(options.keep_alive)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20);
    let endpoint = match &options.user_agent {
        Some(agent) => endpoint.user_agent(agent.as_str())?,
        None => endpoint,
    };
    let connector = tower::service_fn(move |_: Uri| dialer.clone().dial());
    Ok(Channel {
        inner: endpoint.connect_with_connector_lazy(connector),
    })
}

fn http_twin(uri: &Uri) -> Result<Uri, Error> {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    Uri::from_parts(parts).map_err(|_error| Error::Host { uri: uri.clone() })
}

fn tunnel(
    tls: &ClientConfig,
    authority: &Authority,
    options: &ChannelOptions,
) -> Result<(TlsConnector, ServerName<'static>), Error> {
    let name = options
        .server_name
        .as_deref()
        .unwrap_or_else(|| bare_host(authority));
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|_error| Error::ServerName {
            name: name.to_owned(),
        })?;
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![crate::tls::ALPN_H2.to_vec()];
    Ok((TlsConnector::from(Arc::new(tls)), server_name))
}

/// The host without the brackets of an IPv6 address.
fn bare_host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[derive(Clone)]
struct Dialer {
    authority: Authority,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dialer {
    /// One connection; the endpoint bounds its time.
    async fn dial(self) -> io::Result<TokioIo<Connection>> {
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let port = self.authority.port_u16().unwrap_or(default_port);
        let stream = TcpStream::connect((bare_host(&self.authority), port)).await?;
        stream.set_nodelay(true)?;
        let connection = match self.tls {
            Some((tls, name)) => Box::pin(Either::Right(tls.connect(name, stream).await?)),
            None => Box::pin(Either::Left(stream)),
        };
        Ok(TokioIo::new(connection))
    }
}

type Either = tokio_util::either::Either<TcpStream, TlsStream<TcpStream>>;
type Connection = std::pin::Pin<Box<Either>>;

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = <transport::Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        Service::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        propagation::inject(request.headers_mut());
        Service::call(&mut self.inner, request)
    }
}
