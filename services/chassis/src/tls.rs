//! TLS whose certificates may change while it runs.
//!
//! An [`Identity`] (chain and key) and [`Roots`] (trusted authorities) come from PEM, out of files that
//! a [`Reloader`] follows or out of Secrets that a caller follows. Both are handed on as [`Live`] values: a
//! configuration built once uses the newest ones at every handshake. [`accept`] turns a listener into
//! verified streams, for tonic and hyper alike.
//!
//! Nothing here switches verification off but [`ClientAuth::Unverified`], which leaves it to the listener; keys are
//! never shown.

use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerConfig};

mod accept;
mod live;
mod metrics;
mod pem;
mod reload;
mod resolve;
mod stream;
mod verify;

pub use accept::{AcceptOptions, Incoming, accept};
pub use live::{Live, Publisher};
pub use metrics::Metrics;
pub use pem::{Error, Identity, Roots};
pub use reload::{LoadError, Reloader};
pub use stream::{PeerCertificates, Stream};
pub use verify::VerifyError;

/// ALPN protocol of HTTP/2.
pub const ALPN_H2: &[u8] = b"h2";
/// ALPN protocol of HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Whether clients show certificates.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may; one that is shown must be signed by these authorities.
    Optional(Live<Roots>),
    /// They must, signed by these authorities.
    Required(Live<Roots>),
    /// They must, signed by anybody: it is proved that they hold the key and nothing else. For a listener that can say
    /// only after reading the certificate which authority must vouch for it, and asks that one
    /// ([`Roots::verify_client`]) before it believes a word.
    Unverified,
}

/// Builds the configuration of a listener that has one identity.
pub fn server_config(
    identity: impl Into<Live<Identity>>,
    client_auth: ClientAuth,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    server_config_with(
        Arc::new(resolve::Single::new(identity.into())),
        client_auth,
        alpn,
    )
}

/// Builds the configuration of a listener that picks its certificate itself, for instance by SNI.
pub fn server_config_with(
    resolver: Arc<dyn ResolvesServerCert>,
    client_auth: ClientAuth,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    crate::crypto::install();
    let builder = ServerConfig::builder();
    let (builder, authenticates) = match client_auth {
        ClientAuth::None => (builder.with_no_client_auth(), false),
        ClientAuth::Optional(roots) => (
            builder.with_client_cert_verifier(verify::Clients::optional(roots)),
            true,
        ),
        ClientAuth::Required(roots) => (
            builder.with_client_cert_verifier(verify::Clients::required(roots)),
            true,
        ),
        ClientAuth::Unverified => (
            builder.with_client_cert_verifier(Arc::new(verify::Holders::new())),
            true,
        ),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = protocols(alpn);
    if authenticates {
        // A resumed session keeps the certificate of the first handshake without verifying it again:
        // it would outlive its own expiry and the removal of its authority.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Arc::new(config)
}

/// Builds the configuration of a client that trusts `roots` only.
pub fn client_config(
    roots: impl Into<Live<Roots>>,
    identity: Option<Live<Identity>>,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    crate::crypto::install();
    let builder = ClientConfig::builder()
        // Not dangerous here: the verifier is rustls' own over roots that may change.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify::Servers::new(roots.into())));
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(resolve::Single::new(identity)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(alpn);
    // A resumed session would skip roots that have changed since.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn protocols(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

#[cfg(test)]
mod tests;
