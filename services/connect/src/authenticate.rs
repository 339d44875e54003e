//! Who calls: by client certificate of the host cluster, by a credential of ours, or by a token of the host.
//!
//! In Kubernetes' order: a good client certificate decides; otherwise the bearer token. A token that says it is
//! one of ours is verified here and never shown to anybody; every other one is reviewed by the host cluster.
//! Without either the caller is refused and told what to send: nothing is anonymous.

use std::sync::Arc;

use http::header::{self, HeaderMap};
use jiff::Timestamp;
use secrecy::SecretString;
use vcluster_chassis::access::{self, TokenReviewer};
use vcluster_chassis::clock::Clock;
use vcluster_chassis::identity::Identity;
use vcluster_chassis::tls::Live;

use crate::client_ca::ClientCa;
use crate::credential::Credentials;
use crate::peer::{Peer, Verdict};
use crate::refusal::{Kind, Refusal};
use crate::route::ClusterKey;

const WHAT_TO_SEND: &str = "send a client certificate of the host cluster, or `Authorization: Bearer` with a \
                            token of the host cluster or a credential of `vcluster connect`";

/// What a request shows to say who its caller is.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The connection, with the certificate.
    pub peer: Arc<Peer>,
    /// The bearer token.
    pub bearer: Bearer,
}

/// The bearer token of a request.
#[derive(Debug, Clone)]
pub enum Bearer {
    /// There is none.
    Absent,
    /// There is one.
    Token(SecretString),
    /// There is something else.
    Malformed(&'static str),
}

/// A known caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is on the host.
    pub identity: Identity,
    /// How that is known.
    pub by: By,
}

/// How a caller is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// By a client certificate.
    Certificate,
    /// By a token that the host cluster reviewed.
    Token,
    /// By a credential of ours.
    Credential {
        /// The only virtual cluster that it is good for.
        cluster: ClusterKey,
        /// Its id.
        id: String,
        /// When it ends.
        expires_at: Timestamp,
    },
}

impl By {
    /// One word for logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Credential { .. } => "credential",
        }
    }
}

/// Tells who calls.
#[derive(Debug, Clone)]
pub struct Authenticator {
    authority: Live<ClientCa>,
    reviewer: TokenReviewer,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
}

impl Presented {
    /// Reads what a request shows.
    pub fn read(peer: &Arc<Peer>, headers: &HeaderMap) -> Self {
        Self {
            peer: Arc::clone(peer),
            bearer: bearer(headers),
        }
    }
}

impl Authenticator {
    /// Makes one over the host's authority and reviewer, and our own credentials.
    pub fn new(
        authority: Live<ClientCa>,
        reviewer: TokenReviewer,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            authority,
            reviewer,
            credentials,
            clock,
        }
    }

    /// Tells who calls, or refuses.
    pub async fn authenticate(&self, presented: &Presented) -> Result<Caller, Refusal> {
        let verdict = presented
            .peer
            .certificate(&self.authority.current(), self.clock.now());
        let bad_certificate = match verdict {
            Verdict::Good(identity) => {
                return Ok(Caller {
                    identity: identity.authenticated(),
                    by: By::Certificate,
                });
            }
            Verdict::Bad(reason) => Some(reason),
            Verdict::Absent => None,
        };
        match &presented.bearer {
            Bearer::Token(token) => self.by_token(token).await,
            Bearer::Malformed(reason) => Err(unauthenticated(reason)),
            Bearer::Absent => Err(unauthenticated(bad_certificate.unwrap_or("no credentials"))),
        }
    }

    async fn by_token(&self, token: &SecretString) -> Result<Caller, Refusal> {
        if Credentials::claims_to_be_ours(token) {
            let verified = self.credentials.verify(token).await;
            let credential = verified.map_err(|error| unauthenticated(&error.to_string()))?;
            return Ok(Caller {
                identity: credential.identity.clone(),
                by: By::Credential {
                    cluster: credential.cluster.clone(),
                    id: credential.id.clone(),
                    expires_at: credential.expires_at,
                },
            });
        }
        match self.reviewer.review(token).await {
            Ok(identity) => Ok(Caller {
                identity,
                by: By::Token,
            }),
            Err(access::Error::Unauthenticated { .. }) => Err(unauthenticated(
                "the host cluster does not know the bearer token",
            )),
            Err(error) => Err(error.into()),
        }
    }
}

fn unauthenticated(reason: &str) -> Refusal {
    Refusal::new(Kind::Unauthenticated, format!("{reason}: {WHAT_TO_SEND}"))
}

/// Takes the token of the one `Authorization` header: the word `Bearer`, one space, one word.
fn bearer(headers: &HeaderMap) -> Bearer {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let Some(line) = lines.next() else {
        return Bearer::Absent;
    };
    if lines.next().is_some() {
        return Bearer::Malformed("there are several Authorization headers");
    }
    let Some((scheme, token)) = line.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return Bearer::Malformed("the Authorization header is not `Bearer TOKEN`");
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Bearer::Malformed("the Authorization header is not `Bearer TOKEN`");
    }
    let token = token.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Bearer::Malformed("the bearer token is not one word");
    }
    if token.len() > access::MAX_TOKEN {
        return Bearer::Malformed("the bearer token is longer than 16 KiB");
    }
    Bearer::Token(SecretString::from(token))
}

#[cfg(test)]
mod tests;
