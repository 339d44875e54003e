//! What a caller is told when a call cannot be done. Each status carries google.rpc details.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use vcluster_proto::ERROR_DOMAIN;

/// There is no such thing.
pub(super) fn not_found(what: &str) -> Status {
    with_reason(Code::NotFound, "NOT_FOUND", format!("not found: {what}"))
}

/// A side could not be asked; the same call may work in a moment.
pub(super) fn unavailable(why: &str) -> Status {
    with_reason(Code::Unavailable, "UNREACHABLE", why.to_owned())
}

/// Another replica works for virtual clusters, or this one has just begun to; the same call may work in a moment.
pub(super) fn not_leading() -> Status {
    let why = "this replica of sync does not know the virtual clusters: another one works for them, or it has just \
               begun to; try again";
    with_reason(Code::Unavailable, "NOT_LEADING", why.to_owned())
}

/// It was asked too often.
pub(super) fn too_often(why: &str) -> Status {
    with_reason(Code::ResourceExhausted, "TOO_OFTEN", why.to_owned())
}

/// The request is wrong, in these fields.
pub(super) fn invalid(violations: Vec<FieldViolation>) -> Status {
    let text =
        |violation: &FieldViolation| format!("{}: {}", violation.field, violation.description);
    let message: Vec<_> = violations.iter().map(text).collect();
    let mut details = ErrorDetails::with_bad_request(violations);
    details.set_error_info("INVALID_ARGUMENT", ERROR_DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, message.join("; "), details)
}

fn with_reason(code: Code, reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    Status::with_error_details(code, message, details)
}
