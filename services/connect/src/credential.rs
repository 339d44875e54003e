//! The gateway's own short-lived credentials: ES256 JWTs, each good for one virtual cluster.
//!
//! A credential says who the caller is on the host; what it may do is asked of the host again at every use,
//! so a right that was taken away is gone within seconds. Claims are checked by type as well as by value: a
//! claim of a wrong JSON type is a refusal, never a check that is skipped. The library's own time checks are
//! off, because they read the machine's clock; ours take a [`Clock`].
//!
//! Verified credentials are remembered by SHA-256 until they expire, as verifying costs several times what
//! the rest of a request does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use vcluster_chassis::clock::Clock;
use vcluster_chassis::identity::Identity;

use crate::route::ClusterKey;

mod claims;
mod keys;

pub use keys::{KeyError, Keys};

use claims::Claims;

/// The longest credential that is looked at.
const MAX_TOKEN: usize = 16 << 10;
/// Verified credentials that are remembered.
const REMEMBERED: u64 = 10_000;

/// Why a credential is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not one of ours: malformed, signed by another key, or with claims that are not ours.
    #[error("the credential was not issued by this gateway, or is damaged")]
    Forged,
    /// Its time is over.
    #[error("the credential has expired")]
    Expired,
    /// Its time has not come.
    #[error("the credential is not valid yet: compare the clocks")]
    Early,
}

/// What a good credential says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who the caller is on the host.
    pub identity: Identity,
    /// The only virtual cluster that it is good for.
    pub cluster: ClusterKey,
    /// Its id, for the audit.
    pub id: String,
    /// When it ends.
    pub expires_at: Timestamp,
    not_before: Timestamp,
}

/// A credential that was just issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token.
    pub token: SecretString,
    /// Its id, for the audit.
    pub id: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A credential that cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The caller has more groups or attributes than a header can carry.
    #[error("the caller's groups and attributes do not fit into a credential")]
    TooLarge,
    /// The key does not sign.
    #[error("the signing key cannot be used")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// Issues and verifies credentials. Cheap to clone; clones share what is remembered.
#[derive(Clone)]
pub struct Credentials {
    keys: Keys,
    clock: Arc<dyn Clock>,
    verified: Cache<[u8; 32], Arc<Credential>>,
}

impl Credentials {
    /// Makes an issuer of these keys.
    pub fn new(keys: Keys, clock: Arc<dyn Clock>) -> Self {
        let verified = Cache::builder()
            .max_capacity(REMEMBERED)
            // Keys that were replaced are forgotten no later than this.
            .time_to_live(Duration::from_mins(1))
            .build();
        Self {
            keys,
            clock,
            verified,
        }
    }

    /// Whether a token says that it is one of ours; it proves nothing.
    pub fn claims_to_be_ours(token: &SecretString) -> bool {
        jsonwebtoken::decode_header(token.expose_secret())
            .is_ok_and(|header| header.typ.as_deref() == Some(claims::TYPE))
            // A header that the library does not read (`alg: none`) may still say that it is ours.
            || claims::header_says_ours(token.expose_secret())
    }

    /// Issues a credential that lets `identity` into `cluster` for `lifetime`.
    pub fn issue(
        &self,
        identity: &Identity,
        cluster: &ClusterKey,
        lifetime: Duration,
    ) -> Result<Issued, IssueError> {
        let now = self.clock.now();
        let claims = Claims::new(identity, cluster, now, lifetime);
        let token = self
            .keys
            .current()
            .sign(&claims)
            .map_err(IssueError::Signing)?;
        if token.len() > MAX_TOKEN {
            return Err(IssueError::TooLarge);
        }
        let expires_at = Timestamp::from_second(claims.exp).unwrap_or(now);
        Ok(Issued {
            token: token.into(),
            id: claims.jti,
            expires_at,
        })
    }

    /// Tells what a token says, if it is one of ours and its time is now.
    pub async fn verify(&self, token: &SecretString) -> Result<Arc<Credential>, Error> {
        let text = token.expose_secret();
        if text.len() > MAX_TOKEN {
            return Err(Error::Forged);
        }
        let key: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let credential = if let Some(known) = self.verified.get(&key).await {
            known
        } else {
            let credential = Arc::new(self.keys.verify(text)?.into_credential()?);
            self.verified.insert(key, Arc::clone(&credential)).await;
            credential
        };
        // Not remembered with the rest: time goes on.
        let now = self.clock.now();
        if now >= credential.expires_at {
            Err(Error::Expired)
        } else if now < credential.not_before {
            Err(Error::Early)
        } else {
            Ok(credential)
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
