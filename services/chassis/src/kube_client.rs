//! Clients of Kubernetes API servers, with deadlines and without hidden retries.
//!
//! kube retries 429, 503 and 504 by itself, for minutes. That is off here: our reconcilers requeue
//! with their own back-off and must see the error, and a request for a user has a deadline.
//!
//! Each request has until [`Timeouts::response`] for the head of its answer, and as long again whenever
//! the body falls silent, but for watches and followed logs.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, InvalidHeaderValue, USER_AGENT};
use http::{Request, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls::client::ClientConfig;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;

use crate::args::KubeArgs;

mod silence;

use silence::SilenceLayer;

/// Deadlines of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For connection and TLS handshake.
    pub connect: Duration,
    /// From sending a request to the head of its answer, and for silence within the body.
    pub response: Duration,
    /// For silence while writing.
    pub write: Duration,
}

impl Default for Timeouts {
    /// 5 s, 30 s and 30 s. The API server's own limit for a request is 60 s; one that has not answered
    /// after half of it is better asked again.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(30),
            write: Duration::from_secs(30),
        }
    }
}

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kubeconfig cannot be read or lacks something.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] KubeconfigError),
    /// No kubeconfig was given, and this is not a pod with a service account.
    #[error("neither --kubeconfig nor a pod's service account is there")]
    InCluster(#[from] kube::config::InClusterError),
    /// The configuration makes no client.
    #[error("the Kubernetes client cannot be built")]
    Client(#[source] Box<kube::Error>),
    /// The user agent is not a header value.
    #[error("the user agent cannot be a header")]
    UserAgent(#[from] InvalidHeaderValue),
    /// The server name is neither a DNS name nor an address.
    #[error("the server name is malformed")]
    ServerName(#[from] InvalidDnsNameError),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

/// Makes a client of the cluster that the flags name: a kubeconfig, or else the pod's own account.
pub async fn connect(args: &KubeArgs, user_agent: &str) -> Result<Client, Error> {
    connect_with(args, user_agent, Timeouts::default()).await
}

/// Does what [`connect`] does, with other deadlines.
pub async fn connect_with(
    args: &KubeArgs,
    user_agent: &str,
    timeouts: Timeouts,
) -> Result<Client, Error> {
    crate::crypto::install();
    let config = configure(config(args).await?, user_agent, timeouts)?;
    let response = TimeoutLayer::new(timeouts.response);
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&response)
        .with_layer(&SilenceLayer(timeouts.response))
        .build())
}

/// Reads the configuration that the flags name, as kube understands it.
pub async fn config(args: &KubeArgs) -> Result<Config, Error> {
    let Some(path) = &args.kubeconfig else {
        return Ok(Config::incluster()?);
    };
    let options = KubeConfigOptions {
        context: args.kube_context.clone(),
        ..KubeConfigOptions::default()
    };
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

fn configure(mut config: Config, user_agent: &str, timeouts: Timeouts) -> Result<Config, Error> {
    config.default_retry = false;
    config.connect_timeout = Some(timeouts.connect);
    config.write_timeout = Some(timeouts.write);
    config.read_timeout = None;
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_str(user_agent)?));
    Ok(config)
}

/// Where an API server is and how it is spoken to, for [`from_tls`].
#[derive(Debug, Clone)]
pub struct Target {
    /// Scheme, host or address, and port.
    pub url: Uri,
    /// Name that the certificate must bear, if not the host of the URL.
    pub server_name: Option<String>,
    /// Roots and client certificate; see [`crate::tls::client_config`]. Its ALPN is set here.
    pub tls: Arc<ClientConfig>,
    /// What the API server logs of us.
    pub user_agent: String,
    /// Deadlines.
    pub timeouts: Timeouts,
}

impl Target {
    /// Makes a target with default deadlines and the URL's own name.
    pub fn new(url: Uri, tls: Arc<ClientConfig>, user_agent: impl Into<String>) -> Self {
        Self {
            url,
            server_name: None,
            tls,
            user_agent: user_agent.into(),
            timeouts: Timeouts::default(),
        }
    }

    /// Sets the name that the certificate must bear.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// Makes a client of an API server that is known by address and certificates. It connects when first
/// used, speaks HTTP/1.1 over a pool, and follows certificates that are replaced.
pub fn from_tls(target: Target) -> Result<Client, Error> {
    let Target {
        url,
        server_name,
        tls,
        user_agent,
        timeouts,
    } = target;
    let config = configure(Config::new(url), &user_agent, timeouts)?;
    let mut connector = TimeoutConnector::new(https(&tls, server_name, timeouts)?);
    connector.set_connect_timeout(Some(timeouts.connect));
    connector.set_write_timeout(Some(timeouts.write));
    let transport: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(SilenceLayer(timeouts.response))
        .layer(TimeoutLayer::new(timeouts.response))
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .map_request(|request: Request<Body>| request)
        .service(transport);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

fn https(
    tls: &ClientConfig,
    server_name: Option<String>,
    timeouts: Timeouts,
) -> Result<HttpsConnector<HttpConnector>, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(timeouts.connect));
    let mut tls = tls.clone();
    // The builder sets ALPN itself and refuses a configuration that has one.
    tls.alpn_protocols.clear();
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only();
    let builder = match server_name {
        Some(name) => {
            let name = ServerName::try_from(name)?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => builder,
    };
    Ok(builder.enable_http1().wrap_connector(http))
}

#[cfg(test)]
mod tests;
