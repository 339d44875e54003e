//! The connection to the gateway: TCP, TLS and HTTP/2, made when the first call needs it.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::gateway::Address;

/// Name of HTTP/2 in TLS.
pub(crate) const H2: &[u8] = b"h2";
/// Longest time for TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life this often, so that a watch does not wait on
/// one that a middlebox has dropped.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);

/// A channel that connects, and connects again, by itself.
pub(crate) fn channel(address: &Address, tls: ClientConfig) -> Channel {
    let tls = Arc::new(tls);
    let target = address.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let tls = Arc::clone(&tls);
        let target = target.clone();
        async move { dial(&target, tls, CONNECT).await.map(TokioIo::new) }
    });
    endpoint(address).connect_with_connector_lazy(connector)
}

/// The endpoint names plain HTTP because the connector, not tonic, does TLS (it can then say what
/// failed, and reads the same trust as every other connection); the origin tells the peer https.
fn endpoint(address: &Address) -> Endpoint {
    let authority = address.to_string();
    let authority = authority.trim_start_matches("https://");
    let uri = |scheme: &str| {
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query("/")
            .build()
            .expect("an Address is made of a valid authority")
    };
    Endpoint::from(uri("http"))
        .origin(uri("https"))
        .user_agent(concat!("vcluster/", env!("CARGO_PKG_VERSION")))
        .expect("the version is ASCII")
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .keep_alive_while_idle(true)
}

/// A TLS connection on which the peer speaks the protocol that `tls` offers.
pub(crate) async fn dial(
    target: &Address,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(target.host().to_owned()).map_err(io::Error::other)?;
    dial_as(target, name, tls, limit).await
}

/// As [`dial`], to a peer whose certificate bears another name than its address.
pub(crate) async fn dial_as(
    target: &Address,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let offered = tls.alpn_protocols.clone();
    let connect = async {
        let tcp = TcpStream::connect((target.host(), target.port())).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(tls).connect(name, tcp).await
    };
    let stream = tokio::time::timeout(limit, connect)
        .await
        .map_err(|_elapsed| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    let chosen = stream.get_ref().1.alpn_protocol();
    if offered.iter().any(|o| o == H2) && chosen != Some(H2) {
        return Err(io::Error::other(
            "the peer does not speak HTTP/2; is this the address of a vcluster gateway?",
        ));
    }
    Ok(stream)
}
