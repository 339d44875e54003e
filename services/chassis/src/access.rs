//! Delegated authentication and authorization, as an aggregated API server does them.
//!
//! Who a token belongs to is asked by TokenReview, what that caller may do by SubjectAccessReview, both
//! on the API server of the given client. Answers are kept for seconds in bounded caches, and callers that
//! ask the same at once share one call. Tokens are kept as SHA-256 only and never logged.
//!
//! It decides nothing itself: no rule here allows what the API server has not allowed.

use std::fmt;

mod authorizer;
mod cache;
mod metrics;
mod reviewer;

pub use authorizer::{Attributes, Authorizer};
pub use cache::CacheConfig;
pub use metrics::Metrics;
pub use reviewer::{MAX_TOKEN, TokenReviewer};

/// Why a caller is not let in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The token is blank, too long, unknown, expired or meant for somebody else.
    #[error("the token is not valid: {reason}")]
    Unauthenticated {
        /// What the reviewer said; holds nothing of the token.
        reason: String,
    },
    /// The caller is known and may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The API server could not be asked; the same may work in a moment.
    #[error("the API server cannot be asked for access")]
    Unavailable(#[source] std::sync::Arc<kube::Error>),
    /// The service itself may not ask: its role lacks the review permissions.
    #[error("this service may not ask the API server for access")]
    Misconfigured(#[source] std::sync::Arc<kube::Error>),
}

impl Error {
    /// The gRPC code that tells a caller how to react.
    pub fn code(&self) -> tonic::Code {
        match self {
            Self::Unauthenticated { .. } => tonic::Code::Unauthenticated,
            Self::Denied(_) => tonic::Code::PermissionDenied,
            Self::Unavailable(_) => tonic::Code::Unavailable,
            Self::Misconfigured(_) => tonic::Code::Internal,
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let status = Self::new(error.code(), error.to_string());
        if let Error::Unavailable(cause) | Error::Misconfigured(cause) = &error {
            tracing::warn!(error = %cause, "access cannot be decided");
        }
        status
    }
}

/// A refusal in the words that kubectl's users know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Who asked.
    pub user: String,
    /// What for.
    pub attributes: Attributes,
    /// What the authorizer said, if anything.
    pub reason: Option<String>,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {:?} cannot {}", self.user, self.attributes)?;
        match self.reason.as_deref() {
            Some(reason) if !reason.is_empty() => write!(f, ": {reason}"),
            Some(_) | None => Ok(()),
        }
    }
}

impl std::error::Error for Denied {}

/// Sorts an error of the review call itself by what the caller can do about it.
fn failed(error: kube::Error) -> Error {
    // What the API server refuses for good is our role or our request; the rest may pass.
    let misconfigured = crate::retry::verdict(&error) == crate::retry::Verdict::Never;
    let error = std::sync::Arc::new(error);
    if misconfigured {
        Error::Misconfigured(error)
    } else {
        Error::Unavailable(error)
    }
}

#[cfg(test)]
mod tests;
