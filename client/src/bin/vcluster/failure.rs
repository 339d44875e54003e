//! What ends a command early: an error with its exit code and a hint, and how it is shown.
//!
//! ```text
//! error: what did not work
//!   FIELD: what is wrong with it
//! caused by: why
//! hint: what to do
//! ```

use std::{error::Error as StdError, io, process::ExitCode};

use vcluster_client::{
    Error, credentials,
    host::{api, discovery, identity},
    kubeconfig::{connection, context, file},
    tls,
};

use crate::{exit::Exit, ui::Terminal};

/// A command's result.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    /// What to show; nothing if it has been shown, or if there is nothing to say.
    error: Option<Box<dyn StdError + Send + Sync>>,
    violations: Vec<(String, String)>,
    hint: Option<String>,
}

/// A sentence as an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(String);

/// A sentence with the error that led to it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
struct Because {
    sentence: String,
    #[source]
    source: Box<dyn StdError + Send + Sync>,
}

impl Failure {
    /// A sentence.
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self::of(exit, Sentence(sentence.into()))
    }

    /// An error.
    pub(crate) fn of(exit: Exit, error: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            exit: exit.code(),
            error: Some(Box::new(error)),
            violations: Vec::new(),
            hint: None,
        }
    }

    /// The end of a command that another program decided, with nothing to add.
    pub(crate) fn silent(exit: u8) -> Self {
        Self {
            exit,
            error: None,
            violations: Vec::new(),
            hint: None,
        }
    }

    /// With advice, in place of any other.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was tried; what was the error becomes its cause.
    pub(crate) fn context(mut self, sentence: impl Into<String>) -> Self {
        if let Some(source) = self.error.take() {
            self.error = Some(Box::new(Because {
                sentence: sentence.into(),
                source,
            }));
        }
        self
    }

    /// With the name of the host context where its advice has a place for it.
    pub(crate) fn in_context(mut self, name: Option<&str>) -> Self {
        if let (Some(hint), Some(name)) = (&mut self.hint, name) {
            *hint = hint.replace(HOST_CONTEXT, &quoted(name));
        }
        self
    }

    /// Whether it ends the process with this code.
    pub(crate) fn is(&self, exit: Exit) -> bool {
        self.exit == exit.code()
    }

    /// The lines on standard error.
    pub(crate) fn render(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let Some(error) = &self.error else {
            return lines;
        };
        let mut said = error.to_string();
        lines.push(Line::Error(said.clone()));
        let violations = self.violations.iter();
        lines.extend(
            violations.map(|(field, problem)| Line::Violation(format!("{field}: {problem}"))),
        );
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Layers that only hand an error on repeat its text, and so does a service that sums
            // up a single violation.
            let is_the_violation = |(_, problem): &(_, String)| text.contains(problem.as_str());
            if !said.contains(&text) && !self.violations.iter().any(is_the_violation) {
                lines.push(Line::Cause(text.clone()));
                said = text;
            }
            next = cause.source();
        }
        if let Some(hint) = &self.hint {
            lines.push(Line::Hint(hint.clone()));
        }
        lines
    }
}

/// Stands in advice for the name of the host context.
const HOST_CONTEXT: &str = "HOST-CONTEXT";

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// One line of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Error(String),
    Violation(String),
    Cause(String),
    Hint(String),
}

/// Shows how the command ended, and gives the exit code.
pub(crate) fn report(result: Result, terminal: &Terminal) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(Exit::Success.code()),
        Err(failure) => {
            terminal.failure(&failure.render());
            ExitCode::from(failure.exit)
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = Exit::from(error.code());
        let violations = error
            .rejection()
            .map(|r| &r.violations[..])
            .unwrap_or_default()
            .iter()
            .map(|v| (v.field.clone(), v.description.clone()))
            .collect();
        let hint = advice(&error);
        Self {
            exit: exit.code(),
            error: Some(Box::new(error)),
            violations,
            hint,
        }
    }
}

/// What to do about an answer of the gateway.
fn advice(error: &Error) -> Option<String> {
    let rejection = error.rejection();
    let reason = rejection.and_then(|r| r.reason.as_deref());
    let fact = |key: &str| rejection.and_then(|r| r.metadata.get(key));
    if let (Some("HOST_NAMESPACE_NOT_ENABLED"), Some(namespace)) = (reason, fact("host_namespace"))
    {
        return Some(format!(
            "`kubectl label namespace {namespace} vcluster.dev/host=true` adds it; -n names another host namespace"
        ));
    }
    let text = match (error, reason) {
        (_, Some("HOST_NAMESPACE_OCCUPIED")) => "-n names another host namespace",
        (_, Some("HOST_NAMESPACE_NOT_ENABLED")) => {
            "`kubectl label namespace NAMESPACE vcluster.dev/host=true` adds it; -n names another host namespace"
        }
        (Error::Unreachable { source, .. }, _) if source.is_untrusted() => {
            "its certificate is not of a CA that is trusted here: name the CA with \
             --gateway-ca-file; for a gateway that was installed anew, `vcluster connect` again"
        }
        (Error::Unreachable { .. } | Error::Deadline { .. }, _) => {
            "check the address with --verbose; --gateway names another one"
        }
        (Error::Rejected(_), _) => match error.code() {
            tonic::Code::Unauthenticated => {
                "the gateway does not accept the identity of your host context; does \
                 `kubectl --context HOST-CONTEXT get ns` work?"
            }
            tonic::Code::PermissionDenied => {
                "an administrator of the host cluster grants this with a Role on \
                 virtualclusters.vcluster.dev in the host namespace"
            }
            tonic::Code::Unimplemented => "the gateway is older than this client",
            tonic::Code::Ok
            | tonic::Code::Cancelled
            | tonic::Code::Unknown
            | tonic::Code::InvalidArgument
            | tonic::Code::DeadlineExceeded
            | tonic::Code::NotFound
            | tonic::Code::AlreadyExists
            | tonic::Code::ResourceExhausted
            | tonic::Code::FailedPrecondition
            | tonic::Code::Aborted
            | tonic::Code::OutOfRange
            | tonic::Code::Internal
            | tonic::Code::Unavailable
            | tonic::Code::DataLoss => return None,
        },
        (Error::Incomplete(_) | Error::Credentials(_), _) => return None,
    };
    Some(text.to_owned())
}

impl From<context::Error> for Failure {
    fn from(error: context::Error) -> Self {
        let exit = match error {
            context::Error::NoCurrentContext | context::Error::Missing { .. } => Exit::NotFound,
            context::Error::Invalid { .. } => Exit::Usage,
        };
        Self::of(exit, error)
    }
}

impl From<file::Error> for Failure {
    fn from(error: file::Error) -> Self {
        let exit = match error {
            file::Error::Missing(_) => Exit::NotFound,
            file::Error::Malformed { .. } => Exit::Usage,
            file::Error::Locked(_) => Exit::Precondition,
            file::Error::Read { .. } | file::Error::Write { .. } => Exit::Unexpected,
        };
        Self::of(exit, error)
    }
}

impl From<connection::Error> for Failure {
    fn from(error: connection::Error) -> Self {
        let (exit, hint) = match error {
            connection::Error::Taken { .. } => (
                Exit::AlreadyExists,
                "choose another name with --context-name",
            ),
            connection::Error::NotConnected(_) => (
                Exit::Precondition,
                "`kubectl config use-context NAME` switches between contexts",
            ),
            connection::Error::NoWayBack(_) => (
                Exit::NotFound,
                "choose one with `kubectl config use-context NAME`",
            ),
        };
        Self::of(exit, error).hint(hint)
    }
}

impl From<identity::Error> for Failure {
    fn from(error: identity::Error) -> Self {
        Self::of(Exit::Unauthenticated, error)
    }
}

impl From<credentials::Error> for Failure {
    fn from(error: credentials::Error) -> Self {
        Self::of(Exit::Unauthenticated, error)
    }
}

impl From<tls::Error> for Failure {
    fn from(error: tls::Error) -> Self {
        Self::of(Exit::Usage, error)
    }
}

impl From<discovery::Error> for Failure {
    fn from(error: discovery::Error) -> Self {
        let exit = match &error {
            discovery::Error::NotInstalled(_) => Exit::NotFound,
            discovery::Error::Malformed { .. } => Exit::Precondition,
            discovery::Error::Api(error) => match error {
                api::Error::Server { .. } | api::Error::Tls(_) => Exit::Usage,
                api::Error::Unreachable { .. } => Exit::Unavailable,
                api::Error::Identity(_) | api::Error::Credentials(_) => Exit::Unauthenticated,
                api::Error::Refused { status, .. } => match status.as_u16() {
                    401 => Exit::Unauthenticated,
                    403 => Exit::Denied,
                    429 | 500.. => Exit::Unavailable,
                    0..=400 | 402 | 404..=428 | 430..=499 => Exit::Unexpected,
                },
            },
        };
        let hint = if matches!(exit, Exit::Unauthenticated) {
            "the host cluster does not accept the identity of this context, which may have \
                 expired: log in again; does `kubectl --context HOST-CONTEXT get ns` work?"
        } else {
            "is vcluster installed there, and is this the right context (--context)? \
             --gateway names a gateway directly"
        };
        Self::of(exit, error).hint(hint)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever read our output has seen enough.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Success.code());
        }
        Self::of(Exit::Unexpected, error)
    }
}

#[cfg(test)]
mod tests;
