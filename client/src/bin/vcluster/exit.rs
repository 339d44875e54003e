//! Exit codes: one table, from gRPC's codes.

use std::fmt::Write as _;

use tonic::Code;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Success,
    Unexpected,
    Usage,
    NotFound,
    Denied,
    AlreadyExists,
    Precondition,
    Unavailable,
    Deadline,
    Unauthenticated,
    NotExecutable,
    CommandNotFound,
    Interrupted,
}

impl Exit {
    /// All of them, in the order of the help text.
    pub(crate) const ALL: [Self; 13] = [
        Self::Success,
        Self::Unexpected,
        Self::Usage,
        Self::NotFound,
        Self::Denied,
        Self::AlreadyExists,
        Self::Precondition,
        Self::Unavailable,
        Self::Deadline,
        Self::Unauthenticated,
        Self::NotExecutable,
        Self::CommandNotFound,
        Self::Interrupted,
    ];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unexpected => 1,
            // clap's own.
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::AlreadyExists => 5,
            Self::Precondition => 6,
            Self::Unavailable => 7,
            Self::Deadline => 8,
            Self::Unauthenticated => 9,
            // Those of the shell.
            Self::NotExecutable => 126,
            Self::CommandNotFound => 127,
            Self::Interrupted => 130,
        }
    }

    /// What it means.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done, or there was nothing to do",
            Self::Unexpected => "an error of the program or a service",
            Self::Usage => "wrong options, or a request that the service calls invalid",
            Self::NotFound => "no such virtual cluster, file, context or gateway",
            Self::Denied => "you may not do that",
            Self::AlreadyExists => "the name is taken",
            Self::Precondition => "the state does not allow it, or has changed meanwhile",
            Self::Unavailable => "the gateway or a service cannot be reached, or is overloaded",
            Self::Deadline => "it took longer than allowed",
            Self::Unauthenticated => "your credentials are missing, expired or not accepted",
            Self::NotExecutable => "connect -- COMMAND: it cannot be run",
            Self::CommandNotFound => "connect -- COMMAND: it was not found",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::Ok => Self::Success,
            Code::Unknown | Code::Internal | Code::DataLoss | Code::Unimplemented => {
                Self::Unexpected
            }
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::PermissionDenied => Self::Denied,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition | Code::Aborted => Self::Precondition,
            Code::Unavailable | Code::ResourceExhausted => Self::Unavailable,
            Code::DeadlineExceeded => Self::Deadline,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::Cancelled => Self::Interrupted,
        }
    }
}

/// The table for the help text.
pub(crate) fn table() -> String {
    let mut text = String::new();
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:<4} {}", exit.code(), exit.meaning());
    }
    text.push_str("  connect -- COMMAND otherwise ends with the command's own code, or 128 and\n");
    text.push_str("  the number of the signal that ended it");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_of_grpc_has_an_exit_code_and_only_ok_is_success() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            assert_eq!(
                Exit::from(code) == Exit::Success,
                code == Code::Ok,
                "{code:?}"
            );
        }
    }

    #[test]
    fn numbers_are_unique_and_documented() {
        let numbers: BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(numbers.len(), Exit::ALL.len());
        for exit in Exit::ALL {
            assert!(table().contains(exit.meaning()));
        }
    }
}
