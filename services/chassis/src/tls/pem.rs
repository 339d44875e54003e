//! Certificates and keys out of PEM, checked before anything uses them.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A PEM bundle that cannot be used. Nothing of a key is ever part of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not PEM, or is cut off.
    #[error("the bundle is not PEM: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// No certificate stands in it.
    #[error("the bundle holds no certificate")]
    NoCertificate,
    /// No private key stands in it.
    #[error("the bundle holds no private key")]
    NoKey,
    /// The key belongs to another certificate, or is of a kind that is not supported.
    #[error("the private key cannot be used with the certificate")]
    Key(#[source] rustls::Error),
    /// A certificate of the bundle is not one.
    #[error("a certificate of the bundle cannot be used: {reason}")]
    Certificate {
        /// What is wrong.
        reason: String,
    },
}

/// A certificate chain and its private key. Cheap to clone; never shows the key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads a chain, leaf first, and the key of its leaf; refuses a key of another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable_key(&error))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(Error::Key)?;
        Ok(Self { key: Arc::new(key) })
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// When the leaf expires, in seconds of the Unix epoch; `None` if that cannot be read.
    pub fn not_after(&self) -> Option<i64> {
        let (_, leaf) = x509_parser::parse_x509_certificate(self.key.cert.first()?).ok()?;
        Some(leaf.validity().not_after.timestamp())
    }

    /// The form in which rustls signs with it.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.key.cert.len())
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}

/// Authorities that are trusted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Roots {
    certificates: Arc<[CertificateDer<'static>]>,
    pub(super) servers: Arc<dyn ServerCertVerifier>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

impl Roots {
    /// Reads one or more authorities. All must be readable: a bundle of which a part is silently left
    /// out is an outage that shows at the next rotation.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, Error> {
        let certificates = certificates(bundle)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(unusable)?;
        }
        let store = Arc::new(store);
        let provider = Arc::new(default_provider());
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&store), Arc::clone(&provider))
                .build()
                .map_err(unusable)?;
        let clients = WebPkiClientVerifier::builder_with_provider(store, provider)
            .build()
            .map_err(unusable)?;
        Ok(Self {
            certificates: certificates.into(),
            servers,
            clients,
        })
    }

    /// The authorities in the order of the bundle.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

/// Keeps the text of the error back: it may quote the input, which is a key.
fn unreadable_key(error: &pem::Error) -> Error {
    if matches!(error, pem::Error::NoItemsFound) {
        return Error::NoKey;
    }
    Error::Malformed {
        reason: "the private key cannot be read".to_owned(),
    }
}

fn unusable(error: impl fmt::Display) -> Error {
    Error::Certificate {
        reason: error.to_string(),
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Malformed {
            reason: error.to_string(),
        })?;
    if certificates.is_empty() {
        Err(Error::NoCertificate)
    } else {
        Ok(certificates)
    }
}
