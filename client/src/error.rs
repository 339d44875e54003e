//! What can go wrong with a call, by what a caller can do about it.

use std::{collections::BTreeMap, error::Error as _, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::credentials;

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service answered, and the answer is a refusal.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    /// No service answered: name, network, TLS or a broken connection.
    #[error("no connection to the gateway {address}")]
    Unreachable {
        /// Address of the gateway.
        address: String,
        /// What the transport says.
        #[source]
        source: Broken,
    },
    /// The overall deadline passed before any try ended.
    #[error("no answer from the gateway {address} within {} s", after.as_secs_f32())]
    Deadline {
        /// Address of the gateway.
        address: String,
        /// The deadline.
        after: Duration,
    },
    /// The answer lacks a part that the contract promises.
    #[error("the answer of the service lacks {0}; it may be older or newer than this client")]
    Incomplete(&'static str),
    /// The caller's own credentials could not be had.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
}

/// A connection that could not be made, or broke. Shows its innermost cause; the layers between
/// only say that something failed.
#[derive(Debug)]
pub struct Broken(Box<Status>);

impl Broken {
    /// Whether the peer's certificate was not accepted, as when its CA is another one.
    pub fn is_untrusted(&self) -> bool {
        let mut next = self.0.source();
        while let Some(cause) = next {
            // rustls' errors come inside of those of I/O, which do not name them as their source.
            let inner = cause
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref)
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let found = inner.or_else(|| cause.downcast_ref::<rustls::Error>());
            if matches!(found, Some(rustls::Error::InvalidCertificate(_))) {
                return true;
            }
            next = cause.source();
        }
        false
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut innermost = self.0.source();
        while let Some(next) = innermost.and_then(std::error::Error::source) {
            innermost = Some(next);
        }
        match innermost {
            Some(cause) => write!(f, "{cause}"),
            None => f.write_str(self.0.message()),
        }
    }
}

impl std::error::Error for Broken {}

/// A refusal by a service, with the details it gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Code of gRPC.
    pub code: Code,
    /// One sentence for people.
    pub message: String,
    /// Reason that programs can rely on (`google.rpc.ErrorInfo`), for example
    /// `HOST_NAMESPACE_OCCUPIED`.
    pub reason: Option<String>,
    /// Further facts of the reason.
    pub metadata: BTreeMap<String, String>,
    /// What is wrong with the request, by field.
    pub violations: Vec<Violation>,
    /// When the service asks to be asked again.
    pub retry_after: Option<Duration>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, for example `virtual_cluster.spec.version`.
    pub field: String,
    /// What is wrong with it, and what is allowed.
    pub description: String,
}

impl Error {
    /// Code of gRPC that says the same.
    pub fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) => rejection.code,
            Self::Unreachable { .. } => Code::Unavailable,
            Self::Deadline { .. } => Code::DeadlineExceeded,
            Self::Incomplete(_) => Code::Internal,
            Self::Credentials(_) => Code::Unauthenticated,
        }
    }

    /// What the service said, if one answered.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Unreachable { .. }
            | Self::Deadline { .. }
            | Self::Incomplete(_)
            | Self::Credentials(_) => None,
        }
    }

    pub(crate) fn from_status(status: Status, address: &str) -> Self {
        if is_local(&status) {
            Self::Unreachable {
                address: address.to_owned(),
                source: Broken(Box::new(status)),
            }
        } else {
            Self::Rejected(Box::new(Rejection::from(&status)))
        }
    }

    /// Whether the connection failed in a way that another try will not mend: the peer is not who
    /// it should be, or does not take our certificate.
    pub(crate) fn is_final_transport_failure(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => chain_has_tls_error(&source.0),
            Self::Rejected(_)
            | Self::Deadline { .. }
            | Self::Incomplete(_)
            | Self::Credentials(_) => false,
        }
    }
}

/// A status that tonic made of a failure of the transport; one that a peer sent has no source.
fn is_local(status: &Status) -> bool {
    status.source().is_some()
}

fn chain_has_tls_error(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // std::io::Error shows the inner error's source as its own, not the inner error.
        if let Some(inner) = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            && inner.is::<rustls::Error>()
        {
            return true;
        }
        next = error.source();
    }
    false
}

impl From<&Status> for Rejection {
    fn from(status: &Status) -> Self {
        let details: ErrorDetails = status.get_error_details();
        let message = if status.message().is_empty() {
            status.code().description().to_owned()
        } else {
            status.message().to_owned()
        };
        Self {
            code: status.code(),
            message,
            reason: details.error_info().map(|info| info.reason.clone()),
            metadata: details
                .error_info()
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            violations: details
                .bad_request()
                .map(|bad| &bad.field_violations[..])
                .unwrap_or_default()
                .iter()
                .map(|violation| Violation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_a_status_become_fields() {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            "NAME_INVALID",
            "vcluster.dev",
            [("name".to_owned(), "X".to_owned())],
        );
        details.add_bad_request_violation("virtual_cluster.name", "must be lower-case");
        let status = Status::with_error_details(Code::InvalidArgument, "bad request", details);
        let error = Error::from_status(status, "https://gw");
        assert_eq!(error.code(), Code::InvalidArgument);
        let rejection = error.rejection().unwrap();
        assert_eq!(rejection.reason.as_deref(), Some("NAME_INVALID"));
        assert_eq!(rejection.metadata["name"], "X");
        assert_eq!(rejection.violations[0].field, "virtual_cluster.name");
    }

    #[test]
    fn a_refusal_without_a_message_still_says_something() {
        let error = Error::from_status(Status::not_found(""), "https://gw");
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn a_failure_of_the_transport_is_not_an_answer_of_the_service() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(std::sync::Arc::new(io));
        let error = Error::from_status(status, "https://gw:1");
        assert!(matches!(error, Error::Unreachable { .. }));
        assert!(!error.is_final_transport_failure());
    }
}
