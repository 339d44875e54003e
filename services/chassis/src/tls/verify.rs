//! rustls' own verification, over roots that may change between two handshakes.
//!
//! The wrappers add nothing to the rules and take nothing away; they only ask the newest [`Roots`].

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Live, Roots};

/// A client certificate that these roots do not vouch for.
#[derive(Debug, thiserror::Error)]
#[error("the client certificate is not trusted")]
pub struct VerifyError(#[source] rustls::Error);

impl Roots {
    /// Verifies a client's chain, leaf first, at the given time. For listeners that accept several
    /// authorities and must know which one vouches for a client.
    pub fn verify_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: jiff::Timestamp,
    ) -> Result<(), VerifyError> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(VerifyError(rustls::Error::NoCertificatesPresented));
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        self.clients
            .verify_client_cert(leaf, intermediates, now)
            .map(drop)
            .map_err(VerifyError)
    }
}

/// Verifies servers, as a client.
#[derive(Debug)]
pub(super) struct Servers {
    roots: Live<Roots>,
}

impl Servers {
    pub(super) fn new(roots: Live<Roots>) -> Self {
        Self { roots }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.roots.current().servers;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .current()
            .servers
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .current()
            .servers
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.current().servers.supported_verify_schemes()
    }
}

/// Verifies clients, as a server.
#[derive(Debug)]
pub(super) struct Clients {
    roots: Live<Roots>,
    mandatory: bool,
}

impl Clients {
    pub(super) fn optional(roots: Live<Roots>) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Self {
            roots,
            mandatory: false,
        })
    }

    pub(super) fn required(roots: Live<Roots>) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Self {
            roots,
            mandatory: true,
        })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A borrowed list cannot follow roots that change. Without hints a client shows whatever
        // certificate it was given, which is what every client of ours does anyway.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.roots
            .current()
            .clients
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .current()
            .clients
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .current()
            .clients
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.current().clients.supported_verify_schemes()
    }
}

/// Verifies that clients hold the keys of the certificates that they show, whoever signed these.
#[derive(Debug)]
pub(super) struct Holders {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Holders {
    pub(super) fn new() -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for Holders {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
