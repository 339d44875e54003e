//! May this caller do that?

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest, Sha256};

use super::cache::{Answer, Answers, CacheConfig};
use super::metrics::{Metrics, Question};
use super::{Denied, Error, failed};
use crate::identity::Identity;

/// What a caller wants to do, in the terms of Kubernetes' authorizers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// API group of the resource; empty for the core group.
    pub group: String,
    /// Resource in plural.
    pub resource: String,
    /// Subresource; empty for the resource itself.
    pub subresource: String,
    /// Namespace; empty for cluster-scoped resources, or for all namespaces.
    pub namespace: String,
    /// Name of the object; empty for all of them.
    pub name: String,
    /// Verb, such as `get` or one of our own.
    pub verb: String,
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        if self.namespace.is_empty() {
            write!(f, " at the cluster scope")
        } else {
            write!(f, " in namespace {:?}", self.namespace)
        }
    }
}

/// Authorizes callers by SubjectAccessReview. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Authorizer {
    inner: Arc<Inner>,
    metrics: Metrics,
}

struct Inner {
    reviews: Api<SubjectAccessReview>,
    answers: Answers<[u8; 32], Decision>,
}

#[derive(Debug, Clone)]
enum Decision {
    Allowed,
    Denied(Option<Arc<str>>),
}

impl Answer for Decision {
    fn is_yes(&self) -> bool {
        match self {
            Self::Allowed => true,
            Self::Denied(_) => false,
        }
    }
}

impl Authorizer {
    /// Makes an authorizer that keeps a yes for 10 s and a no for 5 s.
    pub fn new(client: kube::Client) -> Self {
        Self::with_cache(client, CacheConfig::DECISIONS)
    }

    /// Makes an authorizer with other limits.
    pub fn with_cache(client: kube::Client, cache: CacheConfig) -> Self {
        let inner = Inner {
            reviews: Api::all(client),
            answers: Answers::new(Question::Access, cache),
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

    /// Succeeds if the API server allows it, and only then.
    pub async fn check(&self, caller: &Identity, attributes: &Attributes) -> Result<(), Error> {
        let review = review(caller, attributes);
        match self
            .inner
            .answers
            .get(&self.metrics, key(&review), || self.ask(&review).boxed())
            .await?
        {
            Decision::Allowed => Ok(()),
            Decision::Denied(reason) => Err(Error::Denied(Denied {
                user: caller.user.clone(),
                attributes: attributes.clone(),
                reason: reason.map(|reason| reason.as_ref().to_owned()),
            })),
        }
    }

    async fn ask(&self, review: &SubjectAccessReview) -> Result<Decision, Error> {
        let answer = self
            .inner
            .reviews
            .create(&PostParams::default(), review)
            .await
            .map_err(failed)?;
        Ok(judge(answer.status.unwrap_or_default()))
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

/// Names a question by all that is asked: the same user with other groups is another one. A digest,
/// because groups and names may be long, and there are many questions.
pub(super) fn key(review: &SubjectAccessReview) -> [u8; 32] {
    let asked = serde_json::to_vec(&review.spec).expect("text and lists of text are JSON");
    Sha256::digest(asked).into()
}

pub(super) fn review(caller: &Identity, attributes: &Attributes) -> SubjectAccessReview {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(caller.user.clone()),
            uid: caller.uid.clone(),
            groups: Some(caller.groups.clone()),
            extra: (!caller.extra.is_empty()).then(|| caller.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                group: given(&attributes.group),
                resource: given(&attributes.resource),
                subresource: given(&attributes.subresource),
                namespace: given(&attributes.namespace),
                name: given(&attributes.name),
                verb: given(&attributes.verb),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    }
}

fn judge(status: SubjectAccessReviewStatus) -> Decision {
    // A server that says both means no.
    if status.allowed && status.denied != Some(true) {
        return Decision::Allowed;
    }
    Decision::Denied(
        status
            .reason
            .filter(|reason| !reason.is_empty())
            .map(Arc::from),
    )
}
