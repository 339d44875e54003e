//! Whose token is this?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::Api;
use kube::api::PostParams;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::cache::{Answer, Answers, CacheConfig};
use super::metrics::{Metrics, Question};
use super::{Error, failed};
use crate::identity::Identity;

/// The longest token that is sent to the API server, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;

/// Authenticates bearer tokens by TokenReview. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct TokenReviewer {
    inner: Arc<Inner>,
    metrics: Metrics,
}

struct Inner {
    reviews: Api<TokenReview>,
    audiences: Vec<String>,
    answers: Answers<[u8; 32], Reviewed>,
}

#[derive(Debug, Clone)]
enum Reviewed {
    Known(Arc<Identity>),
    Refused(Arc<str>),
}

impl Answer for Reviewed {
    fn is_yes(&self) -> bool {
        match self {
            Self::Known(_) => true,
            Self::Refused(_) => false,
        }
    }
}

impl TokenReviewer {
    /// Makes a reviewer. With audiences, a token must be meant for one of them; without, for the API
    /// server itself.
    pub fn new(client: kube::Client, audiences: Vec<String>, cache: CacheConfig) -> Self {
        let inner = Inner {
            reviews: Api::all(client),
            audiences,
            answers: Answers::new(Question::Token, cache),
        };
        Self {
            inner: Arc::new(inner),
            metrics: Metrics::default(),
        }
    }

    /// Counts what is asked.
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = metrics.clone();
        self
    }

    /// Tells whose token it is.
    ///
    /// Blank tokens and those beyond [`MAX_TOKEN`] are refused without a call.
    pub async fn review(&self, token: &SecretString) -> Result<Identity, Error> {
        let text = token.expose_secret();
        if text.trim().is_empty() {
            return Err(refused("it is blank"));
        }
        if text.len() > MAX_TOKEN {
            return Err(refused("it is longer than 16 KiB"));
        }
        let key = Sha256::digest(text.as_bytes()).into();
        match self
            .inner
            .answers
            .get(&self.metrics, key, || self.ask(token).boxed())
            .await?
        {
            Reviewed::Known(identity) => Ok(Identity::clone(&identity)),
            Reviewed::Refused(reason) => Err(refused(&reason)),
        }
    }

    async fn ask(&self, token: &SecretString) -> Result<Reviewed, Error> {
        let audiences = &self.inner.audiences;
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: (!audiences.is_empty()).then(|| audiences.clone()),
                token: Some(token.expose_secret().to_owned()),
            },
            ..TokenReview::default()
        };
        let answer = self
            .inner
            .reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(failed)?;
        Ok(judge(answer.status.unwrap_or_default(), audiences))
    }
}

impl fmt::Debug for TokenReviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviewer")
            .field("audiences", &self.inner.audiences)
            .finish_non_exhaustive()
    }
}

fn refused(reason: &str) -> Error {
    Error::Unauthenticated {
        reason: reason.to_owned(),
    }
}

/// Turns the API server's answer into ours.
fn judge(status: TokenReviewStatus, audiences: &[String]) -> Reviewed {
    let refuse = |reason: &str| Reviewed::Refused(Arc::from(reason));
    if status.authenticated != Some(true) {
        let reason = status.error.as_deref().filter(|reason| !reason.is_empty());
        return refuse(reason.unwrap_or("the API server does not know it"));
    }
    // An answer without audiences comes from a server that did not look at them.
    let meant = status.audiences.unwrap_or_default();
    if !audiences.is_empty() && !audiences.iter().any(|audience| meant.contains(audience)) {
        return refuse("it is meant for another audience");
    }
    let user = status.user.unwrap_or_default();
    let Some(name) = user.username.filter(|name| !name.is_empty()) else {
        return refuse("it names no user");
    };
    let mut extra = BTreeMap::<_, Vec<_>>::new();
    for (key, values) in user.extra.unwrap_or_default() {
        extra
            .entry(key.to_ascii_lowercase())
            .or_default()
            .extend(values);
    }
    Reviewed::Known(Arc::new(Identity {
        user: name,
        uid: user.uid.filter(|uid| !uid.is_empty()),
        groups: user.groups.unwrap_or_default(),
        extra,
    }))
}
