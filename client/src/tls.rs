//! TLS towards the gateway and the host's API server: whom to trust, and who we are.
//!
//! Everything goes through rustls with aws-lc-rs, chosen here and not by the process, so that the
//! library works whatever other provider a program installed.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use secrecy::{ExposeSecret as _, SecretString};

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those signed by one of these CAs (PEM) and by no other.
    Roots(Vec<u8>),
    /// Those that the operating system trusts.
    System,
    /// Any. Only for a host API server whose kubeconfig says `insecure-skip-tls-verify`; never
    /// for the gateway.
    Anyone,
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    /// Chain, leaf first, PEM.
    pub chain: Vec<u8>,
    /// Private key, PEM.
    pub key: SecretString,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// What is wrong with the material.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA bundle holds no certificate, or one that is malformed.
    #[error("the CA bundle of the gateway is not PEM with at least one certificate")]
    Roots,
    /// The operating system has no trusted CAs.
    #[error("the system has no trusted certificates; name the CA's file")]
    NoSystemRoots,
    /// The client certificate is malformed.
    #[error("the client certificate is not PEM with at least one certificate")]
    Chain,
    /// The private key is malformed.
    #[error("the client key is not a PEM private key")]
    Key,
    /// Certificate and key do not fit, or are not usable.
    #[error("the client certificate cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// The configuration of a TLS client.
pub fn client_config(
    trust: &Trust,
    identity: Option<&Certificate>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Unusable)?;
    let builder = match trust {
        Trust::Roots(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyone(provider))),
    };
    let mut config = match identity {
        Some(certificate) => {
            let (chain, key) = parse_identity(certificate)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(Error::Unusable)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.ok().ok_or(Error::Roots)?;
        store.add(certificate).ok().ok_or(Error::Roots)?;
    }
    if store.is_empty() {
        return Err(Error::Roots);
    }
    Ok(store)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    // Certificates that cannot be read or parsed are skipped, as every TLS library does.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(Error::NoSystemRoots);
    }
    Ok(store)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parse_identity(certificate: &Certificate) -> Result<Identity, Error> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate.chain)
        .collect::<Result<_, _>>()
        .ok()
        .ok_or(Error::Chain)?;
    if chain.is_empty() {
        return Err(Error::Chain);
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.expose_secret().as_bytes())
        .ok()
        .ok_or(Error::Key)?;
    Ok((chain, key))
}

/// What `insecure-skip-tls-verify: true` asks for: any certificate, but still a real handshake.
#[derive(Debug)]
struct AcceptAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        let trust = Trust::Roots(b"not pem".to_vec());
        assert!(matches!(
            client_config(&trust, None, &[]),
            Err(Error::Roots)
        ));
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let certificate = Certificate {
            chain: b"chain".to_vec(),
            key: SecretString::from("hush"),
        };
        assert!(!format!("{certificate:?}").contains("hush"));
    }
}
