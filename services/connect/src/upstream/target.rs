//! Another server that the gateway speaks to, and a TLS connection to it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vcluster_chassis::tls::{self, Identity, Live, Roots};

use super::Error;
use crate::socket;

/// How long TCP and TLS may take together.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a server is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    port: u16,
    name: ServerName<'static>,
    authority: String,
    h2: Arc<ClientConfig>,
    h1: Arc<ClientConfig>,
}

/// Which protocol a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Many requests at once.
    Http2,
    /// One upgrade.
    Http1,
}

impl Target {
    /// Describes a server whose certificate bears its host name or address, and who trusts `identity`.
    pub fn new(
        host: &str,
        port: u16,
        roots: &Live<Roots>,
        identity: &Live<Identity>,
    ) -> Result<Self, rustls_pki_types::InvalidDnsNameError> {
        let name = ServerName::try_from(host.to_owned())?;
        let config =
            |alpn: &[u8]| tls::client_config(roots.clone(), Some(identity.clone()), &[alpn]);
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            authority,
            h2: config(tls::ALPN_H2),
            h1: config(tls::ALPN_HTTP1),
        })
    }

    /// Host and port, as a request to it names them.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection that speaks `protocol`.
    pub async fn dial(&self, protocol: Protocol) -> Result<TlsStream<TcpStream>, Error> {
        let (config, alpn) = match protocol {
            Protocol::Http2 => (&self.h2, tls::ALPN_H2),
            Protocol::Http1 => (&self.h1, tls::ALPN_HTTP1),
        };
        let connect = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port))
                .await
                .map_err(Error::Connect)?;
            socket::tune(&tcp);
            TlsConnector::from(Arc::clone(config))
                .connect(self.name.clone(), tcp)
                .await
                .map_err(broken)
        };
        let stream = tokio::time::timeout(CONNECT, connect)
            .await
            .map_err(|_elapsed| Error::ConnectTimeout)??;
        match stream.get_ref().1.alpn_protocol() {
            Some(chosen) if chosen == alpn => Ok(stream),
            // A server without ALPN speaks HTTP/1.1 (RFC 7301, 3.2).
            None if protocol == Protocol::Http1 => Ok(stream),
            Some(_) | None => Err(Error::Protocol),
        }
    }
}

/// Why there is no TLS session: one side refuses the other, or the connection broke, as of a server that is just starting
/// or ending.
fn broken(error: std::io::Error) -> Error {
    let of_tls = error
        .get_ref()
        .and_then(|source| source.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(_) => Error::Tls(error),
        None => Error::Connect(error),
    }
}
