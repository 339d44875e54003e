//! The other end of a connection: its address, the name it asked for, and the certificate it showed.
//!
//! A certificate is shown in the handshake, where only possession of its key is proven, and judged here:
//! so a client with a bad one gets an answer that says so, not a broken connection. A verdict is kept for a
//! minute at most and never beyond a change of the authority, so that expiry and removal of an authority
//! also end connections that were opened before.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;
use vcluster_chassis::identity::{self, Identity};

use crate::client_ca::ClientCa;
use vcluster_chassis::idle::Requests;

/// How long a verdict about a certificate is kept.
const VERDICT: Duration = Duration::from_mins(1);

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The name that it asked for by SNI.
    pub server_name: Option<String>,
    /// Its requests.
    pub requests: Requests,
    chain: Vec<CertificateDer<'static>>,
    verdict: Mutex<Option<Kept>>,
}

/// What a client certificate is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// None was shown.
    Absent,
    /// It says who the client is.
    Good(Identity),
    /// It proves nothing.
    Bad(&'static str),
}

#[derive(Debug, Clone)]
struct Kept {
    generation: u64,
    until: Instant,
    verdict: Verdict,
}

impl Peer {
    /// Makes a peer of what the handshake told.
    pub fn new(
        address: IpAddr,
        server_name: Option<String>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self {
            address,
            server_name,
            requests: Requests::default(),
            chain,
            verdict: Mutex::new(None),
        }
    }

    /// Judges the certificate under the authority of this moment.
    pub fn certificate(&self, authority: &ClientCa, now: Timestamp) -> Verdict {
        if self.chain.is_empty() {
            return Verdict::Absent;
        }
        let mut kept = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref()
            && kept.generation == authority.generation
            && Instant::now() < kept.until
        {
            return kept.verdict.clone();
        }
        let verdict = judge(&self.chain, authority, now);
        *kept = Some(Kept {
            generation: authority.generation,
            until: Instant::now() + VERDICT,
            verdict: verdict.clone(),
        });
        verdict
    }
}

fn judge(chain: &[CertificateDer<'static>], authority: &ClientCa, now: Timestamp) -> Verdict {
    let Some(roots) = &authority.roots else {
        return Verdict::Bad("the host cluster's client CA is not known here");
    };
    if roots.verify_client(chain, now).is_err() {
        return Verdict::Bad(
            "the client certificate is not one of the host cluster's client CA, or its time is over",
        );
    }
    match chain.first().map(identity::certificate) {
        Some(Ok(identity)) => Verdict::Good(identity),
        Some(Err(_)) | None => Verdict::Bad("the client certificate names no user"),
    }
}

#[cfg(test)]
mod tests {
    use vcluster_chassis::testing::Authority;

    use super::*;

    fn peer(issued: &vcluster_chassis::testing::Issued) -> Peer {
        let chain = issued.identity().chain().to_vec();
        Peer::new("192.0.2.1".parse().unwrap(), None, chain)
    }

    fn trusting(authority: &Authority, generation: u64) -> ClientCa {
        ClientCa {
            generation,
            roots: Some(authority.roots()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_does_not_outlive_its_authority() {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let peer = peer(&old.client("jane", &["devs"]));
        let now = Timestamp::now();
        let jane = Verdict::Good(Identity::user("jane").group("devs"));
        assert_eq!(peer.certificate(&trusting(&old, 1), now), jane);
        assert!(matches!(
            peer.certificate(&trusting(&new, 2), now),
            Verdict::Bad(_)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_expires_on_an_open_connection_is_noticed_within_a_minute() {
        let authority = Authority::new("host");
        let peer = peer(&authority.client("jane", &[]));
        let ca = trusting(&authority, 1);
        assert!(matches!(
            peer.certificate(&ca, Timestamp::now()),
            Verdict::Good(_)
        ));
        tokio::time::advance(VERDICT).await;
        let far: Timestamp = "9000-01-01T00:00:00Z".parse().unwrap();
        assert!(matches!(peer.certificate(&ca, far), Verdict::Bad(_)));
    }

    #[test]
    fn a_server_certificate_and_an_unknown_authority_are_bad() {
        let authority = Authority::new("host");
        let server = peer(&authority.server(&["example.org"]));
        assert!(matches!(
            server.certificate(&trusting(&authority, 1), Timestamp::now()),
            Verdict::Bad(_)
        ));
        let jane = peer(&authority.client("jane", &[]));
        assert!(matches!(
            jane.certificate(&ClientCa::default(), Timestamp::now()),
            Verdict::Bad(_)
        ));
    }

    #[test]
    fn who_shows_none_has_none() {
        let peer = Peer::new("192.0.2.1".parse().unwrap(), None, Vec::new());
        assert_eq!(
            peer.certificate(&ClientCa::default(), Timestamp::now()),
            Verdict::Absent
        );
    }
}
