//! One identity for every handshake, the newest of the moment.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Identity, Live};

/// Answers every handshake with the same identity.
#[derive(Debug)]
pub(super) struct Single {
    identity: Live<Identity>,
}

impl Single {
    pub(super) fn new(identity: Live<Identity>) -> Self {
        Self { identity }
    }
}

impl ResolvesServerCert for Single {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.identity.current().certified_key())
    }
}

impl ResolvesClientCert for Single {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.identity.current().certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
