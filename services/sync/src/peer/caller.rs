//! From a verified certificate to a tenant.

use vcluster_chassis::identity::{self, CertificateError};
use vcluster_chassis::tls::PeerCertificates;
use vcluster_resources::TenantUri;
use vcluster_resources::tenant_uri::NotATenant;

use super::Caller;
use crate::reply::{Kind, Refusal};

/// A caller of which it is not known whose it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unnamed {
    /// It showed no certificate.
    #[error("no client certificate was shown")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error("the client certificate is malformed")]
    Malformed(#[from] CertificateError),
    /// It has no URI, or several.
    #[error("the client certificate bears {0} URIs instead of one")]
    Uris(usize),
    /// The URI is not a tenant's.
    #[error("the URI of the client certificate {0}")]
    Uri(#[from] NotATenant),
}

impl Unnamed {
    /// What it is told.
    pub(super) fn refusal(&self) -> Refusal {
        let message = format!(
            "only the API servers of virtual clusters are served here, which show the certificate that control made \
             for them: {self}. Bearer tokens are not accepted: ask the API server of the virtual cluster instead"
        );
        Refusal::new(Kind::Forbidden, message)
    }
}

/// Reads who the other end of a connection is, whose certificate the handshake has verified.
pub(super) fn read(peer: &PeerCertificates) -> Result<Caller, Unnamed> {
    let leaf = peer.leaf().ok_or(Unnamed::NoCertificate)?;
    let uris = identity::uris(leaf)?;
    let [uri] = uris.as_slice() else {
        return Err(Unnamed::Uris(uris.len()));
    };
    Ok(Caller {
        tenant: uri.parse::<TenantUri>()?,
        address: peer.remote_addr(),
    })
}

#[cfg(test)]
mod tests {
    use vcluster_chassis::testing::Authority;

    use super::*;

    fn named(uris: &[&str]) -> Result<String, Unnamed> {
        let authority = Authority::new("tenants");
        let issued = authority.client_of("vcluster", uris);
        let chain = issued.identity().chain().to_vec();
        let caller = read(&PeerCertificates::new(None, chain));
        caller.map(|caller| caller.tenant.to_string())
    }

    #[test]
    fn the_one_uri_names_the_tenant() {
        let uri = "vcluster://team-a/demo/0b7a";
        assert_eq!(named(&[uri]), Ok(uri.to_owned()));
    }

    #[test]
    fn no_uri_several_and_others_name_nobody() {
        let uri = "vcluster://team-a/demo/0b7a";
        assert_eq!(named(&[]), Err(Unnamed::Uris(0)));
        assert_eq!(named(&[uri, uri]), Err(Unnamed::Uris(2)));
        assert_eq!(
            named(&[uri, "https://team-b.example"]),
            Err(Unnamed::Uris(2))
        );
        assert_eq!(
            named(&["https://team-a/demo/0b7a"]),
            Err(Unnamed::Uri(NotATenant))
        );
        assert_eq!(
            read(&PeerCertificates::default()),
            Err(Unnamed::NoCertificate)
        );
    }
}
