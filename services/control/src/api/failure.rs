//! Why a call failed, and the one place where that becomes a status.
//!
//! Each failure has a code, a reason that programs can rely on, and a message for people that says
//! what is wrong, what is allowed and what to do. Causes inside the host are logged, never sent.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use vcluster_chassis::access;
use vcluster_proto::ERROR_DOMAIN;

use super::kubernetes::{self, Answer};
use super::read::Target;

/// One field that is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// Path in the request.
    pub(super) field: String,
    /// What is wrong; worded to follow the name of the field.
    pub(super) text: String,
}

impl Violation {
    /// A violation of that field.
    pub(super) fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            text: text.into(),
        }
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request is wrong.
    Invalid(Vec<Violation>),
    /// The request id stands for another request.
    RequestIdReused { namespace: String, name: String },
    /// The page token has expired.
    PageTokenExpired,
    /// There is no such cluster.
    NotFound { namespace: String, name: String },
    /// The name is taken.
    AlreadyExists {
        namespace: String,
        name: String,
        deleting: bool,
    },
    /// The namespace has another cluster.
    Occupied { namespace: String, occupant: String },
    /// The namespace lacks the label.
    NotEnabled { namespace: String },
    /// The namespace is being deleted.
    Terminating { namespace: String },
    /// The state is not the one that the caller knows.
    Stale,
    /// The version to resume from is gone.
    VersionExpired,
    /// The caller is unknown or may not.
    Access(Box<access::Error>),
    /// A policy or quota of the host refused, in its own words.
    Policy(String),
    /// A quota of the host is used up, in its own words.
    Quota(String),
    /// The host cannot be reached or is too busy.
    Unavailable,
    /// This process is going away; another one will answer.
    Draining,
    /// A fault of ours.
    Internal,
}

impl Failure {
    /// Whether it is certain that nothing was stored. After an answer that was lost it is not.
    pub(super) const fn is_refusal(&self) -> bool {
        match self {
            Self::Invalid(_)
            | Self::RequestIdReused { .. }
            | Self::PageTokenExpired
            | Self::NotFound { .. }
            | Self::Occupied { .. }
            | Self::NotEnabled { .. }
            | Self::Terminating { .. }
            | Self::Access(_)
            | Self::Policy(_)
            | Self::Quota(_) => true,
            Self::AlreadyExists { .. }
            | Self::Stale
            | Self::VersionExpired
            | Self::Unavailable
            | Self::Draining
            | Self::Internal => false,
        }
    }

    /// The caller may not, or it cannot be found out.
    pub(super) fn access(error: access::Error) -> Self {
        Self::Access(Box::new(error))
    }

    /// One wrong field.
    pub(super) fn violation(field: &str, text: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, text)])
    }

    /// There is no such cluster.
    pub(super) fn not_found(target: &Target) -> Self {
        Self::NotFound {
            namespace: target.namespace().to_owned(),
            name: target.name().to_owned(),
        }
    }

    /// An answer of the host's API server about that cluster.
    pub(super) fn of(error: &kube::Error, target: &Target) -> Self {
        match kubernetes::answer(error) {
            Answer::NotFound => Self::not_found(target),
            Answer::AlreadyExists => Self::AlreadyExists {
                namespace: target.namespace().to_owned(),
                name: target.name().to_owned(),
                deleting: false,
            },
            answer @ (Answer::Conflict
            | Answer::Expired
            | Answer::Invalid(_)
            | Answer::Policy(_)
            | Answer::Quota(_)
            | Answer::NamespaceTerminating(_)
            | Answer::Busy
            | Answer::Unreachable
            | Answer::Fault) => Self::general(answer, error),
        }
    }

    /// An answer of the host's API server that is about no single cluster.
    pub(super) fn of_many(error: &kube::Error) -> Self {
        Self::general(kubernetes::answer(error), error)
    }

    fn general(answer: Answer, error: &kube::Error) -> Self {
        match answer {
            Answer::Invalid(violations) => Self::Invalid(violations),
            Answer::Conflict => Self::Stale,
            Answer::Expired => Self::VersionExpired,
            Answer::Policy(text) => Self::Policy(text),
            Answer::Quota(text) => Self::Quota(text),
            Answer::NamespaceTerminating(namespace) => Self::Terminating { namespace },
            Answer::Busy | Answer::Unreachable => {
                tracing::warn!(%error, "the host's API server cannot answer");
                Self::Unavailable
            }
            Answer::NotFound | Answer::AlreadyExists | Answer::Fault => {
                tracing::error!(%error, "the host's API server refused this service");
                Self::Internal
            }
        }
    }

    /// Code and reason.
    fn sort(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, "INVALID_REQUEST"),
            Self::RequestIdReused { .. } => (Code::InvalidArgument, "REQUEST_ID_REUSED"),
            Self::PageTokenExpired => (Code::InvalidArgument, "PAGE_TOKEN_EXPIRED"),
            Self::NotFound { .. } => (Code::NotFound, "VIRTUAL_CLUSTER_NOT_FOUND"),
            Self::AlreadyExists { .. } => (Code::AlreadyExists, "VIRTUAL_CLUSTER_EXISTS"),
            Self::Occupied { .. } => (Code::FailedPrecondition, "HOST_NAMESPACE_OCCUPIED"),
            Self::NotEnabled { .. } => (Code::FailedPrecondition, "HOST_NAMESPACE_NOT_ENABLED"),
            Self::Terminating { .. } => (Code::FailedPrecondition, "HOST_NAMESPACE_TERMINATING"),
            Self::Stale => (Code::Aborted, "ETAG_MISMATCH"),
            Self::VersionExpired => (Code::OutOfRange, "RESOURCE_VERSION_EXPIRED"),
            Self::Access(error) => (error.code(), access_reason(error)),
            Self::Policy(_) => (Code::FailedPrecondition, "HOST_POLICY"),
            Self::Quota(_) => (Code::ResourceExhausted, "HOST_QUOTA"),
            Self::Unavailable => (Code::Unavailable, "HOST_UNAVAILABLE"),
            Self::Draining => (Code::Unavailable, "DRAINING"),
            Self::Internal => (Code::Internal, "INTERNAL"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Invalid(violations) => {
                let all: Vec<String> = violations
                    .iter()
                    .map(|v| format!("{} {}", v.field, v.text))
                    .collect();
                all.join("; ")
            }
            Self::RequestIdReused { namespace, name } => format!(
                "request_id was used for another request that made {namespace}/{name}: use a new \
                 id for each different request"
            ),
            Self::PageTokenExpired => {
                "page_token has expired: list again from the first page".to_owned()
            }
            Self::NotFound { namespace, name } => {
                format!("there is no virtual cluster {name} in host namespace {namespace}")
            }
            Self::AlreadyExists {
                namespace,
                name,
                deleting: false,
            } => format!("there is a virtual cluster {name} in host namespace {namespace} already"),
            Self::AlreadyExists {
                namespace,
                name,
                deleting: true,
            } => format!(
                "the virtual cluster {name} in host namespace {namespace} is still being deleted: \
                 try again when it is gone"
            ),
            Self::Occupied {
                namespace,
                occupant,
            } => format!(
                "host namespace {namespace:?} already has the virtual cluster {occupant:?}: one per \
                 host namespace"
            ),
            Self::NotEnabled { namespace } => format!(
                "the host namespace {namespace} lacks the label vcluster.dev/host=true: an \
                 administrator of the host cluster must add it"
            ),
            Self::Terminating { namespace } => format!(
                "host namespace {namespace} is being deleted: try again when it is gone, or use \
                 another one"
            ),
            Self::Stale => "the virtual cluster has changed since: read it again, and repeat the \
                            call with the new etag"
                .to_owned(),
            Self::VersionExpired => {
                "resource_version is no longer held: begin again without it".to_owned()
            }
            Self::Access(error) => error.to_string(),
            Self::Policy(text) => format!("the host cluster refused: {text}"),
            Self::Quota(text) => format!("a quota of the host cluster is used up: {text}"),
            Self::Unavailable => {
                "the host cluster's API server cannot answer now: try again".to_owned()
            }
            Self::Draining => "this server is going away: call again".to_owned(),
            Self::Internal => "internal error; the log of vcluster-control says more".to_owned(),
        }
    }

    /// What of the message programs can rely on.
    fn facts(&self) -> HashMap<String, String> {
        let namespace = match self {
            Self::NotFound { namespace, .. }
            | Self::AlreadyExists { namespace, .. }
            | Self::RequestIdReused { namespace, .. }
            | Self::Occupied { namespace, .. }
            | Self::NotEnabled { namespace }
            | Self::Terminating { namespace } => namespace,
            Self::Invalid(_)
            | Self::PageTokenExpired
            | Self::Stale
            | Self::VersionExpired
            | Self::Access(_)
            | Self::Policy(_)
            | Self::Quota(_)
            | Self::Unavailable
            | Self::Draining
            | Self::Internal => return HashMap::new(),
        };
        HashMap::from([("host_namespace".to_owned(), namespace.clone())])
    }

    fn violations(&self) -> Vec<FieldViolation> {
        match self {
            Self::Invalid(violations) => violations
                .iter()
                .map(|v| FieldViolation::new(&v.field, &v.text))
                .collect(),
            Self::RequestIdReused { .. } => {
                vec![FieldViolation::new(
                    "request_id",
                    "stands for another request",
                )]
            }
            Self::PageTokenExpired => vec![FieldViolation::new("page_token", "has expired")],
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Occupied { .. }
            | Self::NotEnabled { .. }
            | Self::Terminating { .. }
            | Self::Stale
            | Self::VersionExpired
            | Self::Access(_)
            | Self::Policy(_)
            | Self::Quota(_)
            | Self::Unavailable
            | Self::Draining
            | Self::Internal => Vec::new(),
        }
    }
}

fn access_reason(error: &access::Error) -> &'static str {
    match error {
        access::Error::Unauthenticated { .. } => "UNAUTHENTICATED",
        access::Error::Denied(_) => "PERMISSION_DENIED",
        access::Error::Unavailable(_) => "HOST_UNAVAILABLE",
        access::Error::Misconfigured(_) => "INTERNAL",
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let (code, reason) = failure.sort();
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, failure.facts());
        let violations = failure.violations();
        if !violations.is_empty() {
            details.set_bad_request(violations);
        }
        if let Failure::Access(error) = failure {
            // The chassis words it, and logs what is ours to mend.
            let status = Self::from(*error);
            return Self::with_error_details(status.code(), status.message(), details);
        }
        Self::with_error_details(code, failure.message(), details)
    }
}
