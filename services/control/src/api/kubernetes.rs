//! What the host's API server means by an error: the one place that reads its reasons.

use super::failure::Violation;

/// What an error means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    NotFound,
    AlreadyExists,
    /// Another state than the one that the write was bound to.
    Conflict,
    /// The version or continue token is gone.
    Expired,
    /// Fields of the object are wrong, in terms of the request.
    Invalid(Vec<Violation>),
    /// An admission policy or webhook refused, in its words.
    Policy(String),
    /// A ResourceQuota is used up, in its words.
    Quota(String),
    /// Nothing may be made in a namespace that is being deleted.
    NamespaceTerminating(String),
    /// It answers later.
    Busy,
    /// It does not answer.
    Unreachable,
    /// This service did something that it may not, or that makes no sense.
    Fault,
}

/// Reads an error.
pub(super) fn answer(error: &kube::Error) -> Answer {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::HyperError(_)
        | kube::Error::Service(_)
        | kube::Error::ReadEvents(_)
        | kube::Error::Auth(_) => Answer::Unreachable,
        kube::Error::FromUtf8(_)
        | kube::Error::LinesCodecMaxLineLengthExceeded
        | kube::Error::SerdeError(_)
        | kube::Error::HttpError(_)
        | kube::Error::BuildRequest(_)
        | kube::Error::ProxyProtocolUnsupported { .. }
        | kube::Error::ProxyProtocolDisabled { .. }
        | kube::Error::InferConfig(_)
        | kube::Error::InferKubeconfig(_)
        | kube::Error::Discovery(_)
        | kube::Error::RustlsTls(_)
        | kube::Error::TlsRequired => Answer::Fault,
    }
}

/// Reads a status by its reason, which says more than its code.
pub(super) fn of_status(status: &kube::core::Status) -> Answer {
    match status.reason.as_str() {
        "NotFound" => Answer::NotFound,
        "AlreadyExists" => Answer::AlreadyExists,
        "Conflict" => Answer::Conflict,
        "Gone" | "Expired" => Answer::Expired,
        "Invalid" => invalid(status),
        "Forbidden" => forbidden(status),
        "TooManyRequests" | "ServerTimeout" | "Timeout" | "ServiceUnavailable"
        | "StoreReadError" | "InternalError" => Answer::Busy,
        "Unauthorized"
        | "BadRequest"
        | "MethodNotAllowed"
        | "NotAcceptable"
        | "UnsupportedMediaType"
        | "RequestEntityTooLarge" => Answer::Fault,
        // Reasons are an open set: the code decides about new ones, and about answers of proxies.
        _ => by_code(status.code),
    }
}

fn by_code(code: u16) -> Answer {
    match code {
        404 => Answer::NotFound,
        409 => Answer::Conflict,
        410 => Answer::Expired,
        408 | 429 | 500..=599 => Answer::Busy,
        _ => Answer::Fault,
    }
}

/// A refusal that is meant for users, or one that is about this service's own rights.
fn forbidden(status: &kube::core::Status) -> Answer {
    let message = &status.message;
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let terminating = causes
        .into_iter()
        .find(|cause| cause.reason == "NamespaceTerminating");
    if let Some(cause) = terminating {
        let namespace = cause.message.split_whitespace().nth(1).unwrap_or_default();
        return Answer::NamespaceTerminating(namespace.to_owned());
    }
    // "x is forbidden: <who> denied request: <why>": what comes before is the object's name.
    let words = |mark: &str| {
        message
            .find(mark)
            .map(|_| match message.split_once("is forbidden: ") {
                Some((_, words)) => words.to_owned(),
                None => message.clone(),
            })
    };
    if let Some(words) = words("exceeded quota") {
        return Answer::Quota(words);
    }
    let denied = words("denied request").or_else(|| words("denied the request"));
    denied.map_or(Answer::Fault, Answer::Policy)
}

fn invalid(status: &kube::core::Status) -> Answer {
    if status.message.contains("denied request") {
        return Answer::Policy(status.message.clone());
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let violations: Vec<Violation> = causes
        .filter(|cause| !cause.field.is_empty() && cause.field != "<nil>")
        .map(|cause| Violation::new(field(&cause.field), words(&cause.message)))
        .collect();
    if violations.is_empty() {
        return Answer::Invalid(vec![Violation::new(
            "virtual_cluster",
            status.message.clone(),
        )]);
    }
    Answer::Invalid(violations)
}

/// The field of the request that became this field of the object.
fn field(path: &str) -> String {
    let path = match path {
        "metadata.name" => "name",
        "metadata.namespace" => "host_namespace",
        _ => path.strip_prefix("metadata.").unwrap_or(path),
    };
    let mut snake = String::from("virtual_cluster.");
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
            snake.push(c.to_ascii_lowercase());
        } else {
            snake.push(c);
        }
    }
    snake
}

/// Without the "Invalid value:" that Kubernetes puts before it.
fn words(message: &str) -> String {
    let known = [
        "Invalid value: ",
        "Required value: ",
        "Unsupported value: ",
        "Forbidden: ",
    ];
    let found = known.iter().find_map(|prefix| message.strip_prefix(prefix));
    found.unwrap_or(message).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(status: Value) -> Answer {
        of_status(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn every_reason_has_its_meaning() {
        let of = |reason: &str| read(json!({ "reason": reason, "message": "", "code": 400 }));
        assert_eq!(of("NotFound"), Answer::NotFound);
        assert_eq!(of("AlreadyExists"), Answer::AlreadyExists);
        assert_eq!(of("Conflict"), Answer::Conflict);
        assert_eq!(of("Expired"), Answer::Expired);
        assert_eq!(of("Gone"), Answer::Expired);
        assert_eq!(of("TooManyRequests"), Answer::Busy);
        assert_eq!(of("Unauthorized"), Answer::Fault);
        assert_eq!(of("SomethingNew"), Answer::Fault);
        assert_eq!(read(json!({ "code": 503, "message": "" })), Answer::Busy);
    }

    #[test]
    fn our_own_missing_right_is_never_told_and_a_policy_is() {
        let own = "virtualclusters.vcluster.dev is forbidden: User \
                   \"system:serviceaccount:x:vcluster-control\" cannot create resource";
        let forbidden = |m: &str| read(json!({ "reason": "Forbidden", "message": m, "code": 403 }));
        assert_eq!(forbidden(own), Answer::Fault);
        let policy = "virtualclusters \"b\" is forbidden: ValidatingAdmissionPolicy 'p' with binding \
                      'p' denied request: one per namespace";
        assert_eq!(
            forbidden(policy),
            Answer::Policy(
                "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: one per namespace"
                    .to_owned()
            )
        );
        let quota = "virtualclusters \"b\" is forbidden: exceeded quota: q, used: 1";
        assert_eq!(
            forbidden(quota),
            Answer::Quota("exceeded quota: q, used: 1".to_owned())
        );
    }

    #[test]
    fn fields_of_the_object_become_fields_of_the_request() {
        let causes = json!([
            { "field": "spec.controlPlane.apiServer", "message": "Invalid value: \"x\": too small" },
            { "field": "metadata.name", "message": "bad" },
        ]);
        let status = json!({
            "reason": "Invalid", "message": "m", "code": 422, "details": { "causes": causes },
        });
        assert_eq!(
            read(status),
            Answer::Invalid(vec![
                Violation::new(
                    "virtual_cluster.spec.control_plane.api_server",
                    "\"x\": too small"
                ),
                Violation::new("virtual_cluster.name", "bad"),
            ])
        );
    }
}
