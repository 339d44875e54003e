//! What an answer that is no success means for who asked.

use std::time::Duration;

use tokio::time::Instant;
use vcluster_chassis::retry::{self, Verdict};
use vcluster_translate::Refusal;
use vcluster_translate::patch::is_for_another_object;

use crate::object::{Kind, Side};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The object, or its namespace, is not there.
    #[error("it is not there")]
    Gone,
    /// An object of that name is there already.
    #[error("an object of that name is there already")]
    Exists,
    /// What was seen is not what is there any more.
    #[error("it has changed meanwhile")]
    Changed,
    /// The server will not do this: quota, policy, a field, a permission.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// What the server says.
        message: String,
    },
    /// We will not: what it would take is more than there is room for, or somebody else's.
    #[error("{0}")]
    Ours(Refusal),
    /// The server took this very change a moment ago, and it did not last.
    #[error(
        "the server takes the change and does not keep it: a webhook or a controller there changes it back, or its \
         version is older; it is written once a minute"
    )]
    NotKept {
        /// When it may be written again.
        again: Instant,
    },
    /// The same request may work later.
    #[error("{message}")]
    Later {
        /// What went wrong.
        message: String,
        /// When, if the server says.
        after: Option<Duration>,
        /// Whether the server was reached at all.
        reached: bool,
    },
}

/// The tenant is not this replica's to write for any more.
pub(super) fn let_go() -> Failure {
    Failure::Later {
        message: "the virtual cluster is let go by this replica".to_owned(),
        after: None,
        reached: true,
    }
}

/// An answer that is not what was asked for.
pub(super) fn unread(error: serde_json::Error) -> Failure {
    judge(&kube::Error::SerdeError(error))
}

/// A server that is too old for a subresource.
pub(super) fn unserved(side: Side, kind: Kind, subresource: &str) -> Failure {
    let server = match side {
        Side::Virtual => "the virtual cluster",
        Side::Host => "the host cluster",
    };
    let plural = kind.plural();
    Failure::Refused {
        code: 404,
        message: format!("{server} does not serve {plural}/{subresource}"),
    }
}

/// The failure, not to be tried again before the server wants it.
pub(super) fn heeding(mut failure: Failure, quiet: Option<Duration>) -> Failure {
    if let Failure::Later { after, .. } = &mut failure {
        *after = (*after).max(quiet);
    }
    failure
}

/// What an error of the client means for the caller.
pub(super) fn judge(error: &kube::Error) -> Failure {
    if let kube::Error::Api(status) = error {
        match status.code {
            404 => return Failure::Gone,
            409 if status.reason == "AlreadyExists" => return Failure::Exists,
            409 => return Failure::Changed,
            // The rest of a list, mostly, that took too long: another one begins anew.
            410 => {
                return Failure::Later {
                    message: status.message.clone(),
                    after: None,
                    reached: true,
                };
            }
            422 if is_of_another(status) => return Failure::Changed,
            0..=403 | 405..=408 | 411.. => {}
        }
    }
    let later = |after| Failure::Later {
        message: with_causes(error),
        after,
        reached: matches!(error, kube::Error::Api(_)),
    };
    match retry::verdict(error) {
        Verdict::Retry => later(None),
        Verdict::RetryAfter(after) => later(Some(after)),
        Verdict::Never => never(error),
    }
}

/// Whether the name belongs to another object than was meant.
fn is_of_another(status: &kube::core::Status) -> bool {
    serde_json::to_value(status).is_ok_and(|status| is_for_another_object(&status))
}

fn never(error: &kube::Error) -> Failure {
    let (code, message) = if let kube::Error::Api(status) = error {
        (status.code, status.message.clone())
    } else {
        (0, with_causes(error))
    };
    if code == 401 {
        // Our credential is being replaced.
        return Failure::Later {
            message,
            after: None,
            reached: true,
        };
    }
    Failure::Refused { code, message }
}

/// The error and its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
