//! A change to an existing object, as a PATCH request carries it.

use serde_json::{Value, json};

use crate::json::{array, text};

/// A change to an existing object. Its body names the object's UID, so that an API server refuses
/// it when the name meanwhile belongs to another object; see [`is_for_another_object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// What part of the object is written.
    pub subresource: Option<Subresource>,
    /// How the body is to be read.
    pub format: Format,
    /// The body.
    pub body: Value,
}

/// A part of a pod or node with an endpoint of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// `status`.
    Status,
    /// `ephemeralcontainers`.
    EphemeralContainers,
    /// `resize`.
    Resize,
}

impl Subresource {
    /// Last part of the path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
        }
    }
}

/// How the body of a patch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON merge patch (RFC 7386).
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
}

impl Format {
    /// Media type of the request.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// Whether a failed patch was meant for an object that is no more: the answer, a Kubernetes
/// `Status`, says that the name belongs to another UID. That is no refusal by anybody's policy; the
/// object is to be read and decided about again. (An API server says so with 422, as a change of an
/// immutable field, and not with 409.)
pub fn is_for_another_object(status: &Value) -> bool {
    array(status, "/details/causes")
        .iter()
        .any(|cause| text(cause, "/field") == Some("metadata.uid"))
}

impl Patch {
    pub(crate) fn new(
        subresource: Option<Subresource>,
        format: Format,
        uid: &str,
        mut body: Value,
    ) -> Self {
        match body.get_mut("metadata").and_then(Value::as_object_mut) {
            Some(metadata) => {
                metadata.insert("uid".to_owned(), uid.into());
            }
            None => body["metadata"] = json!({ "uid": uid }),
        }
        Self {
            subresource,
            format,
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_for_another_object_is_told_from_a_refused_one() {
        // What kube-apiserver 1.37 answers.
        let cause = |field: &str| {
            json!({
                "kind": "Status", "code": 422, "reason": "Invalid",
                "details": {"causes": [{"reason": "FieldValueInvalid", "field": field}]},
            })
        };
        assert!(is_for_another_object(&cause("metadata.uid")));
        assert!(!is_for_another_object(&cause("spec.activeDeadlineSeconds")));
        assert!(!is_for_another_object(&json!("bad gateway")));
    }
}
