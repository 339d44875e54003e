//! Requests, checked: every violation is told, by field.

use tonic::Status;
use tonic_types::FieldViolation;
use vcluster_proto::sync::v1 as wire;

use super::refuse::invalid;
use crate::object::{Kind, Name};
use crate::tenant::Id;

/// Tenants of one page, if the request names no size.
const PAGE: usize = 100;
/// Tenants of the largest page.
const MAX_PAGE: usize = 500;
/// Longest name in Kubernetes.
const MAX_NAME: usize = 253;

/// A page of tenants.
#[derive(Debug)]
pub(super) struct List {
    pub(super) namespace: String,
    pub(super) size: usize,
    after: Option<(String, String)>,
}

/// One tenant.
#[derive(Debug)]
pub(super) struct One {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl From<&Id> for One {
    fn from(id: &Id) -> Self {
        Self {
            namespace: id.namespace.clone(),
            name: id.name.clone(),
        }
    }
}

/// An object whose other name is asked for.
#[derive(Debug)]
pub(super) struct Translate {
    pub(super) tenant: One,
    pub(super) kind: Kind,
    pub(super) object: Object,
}

/// On which side it is known.
#[derive(Debug)]
pub(super) enum Object {
    Virtual(Name),
    Host(String),
}

/// Where the page after this tenant begins.
pub(super) fn token(last: &Id) -> String {
    format!("{}/{}", last.namespace, last.name)
}

impl List {
    /// Whether a tenant is on this page or a later one.
    pub(super) fn holds(&self, id: &Id) -> bool {
        let named = self.namespace.is_empty() || self.namespace == id.namespace;
        let later = self.after.as_ref().is_none_or(|(namespace, name)| {
            (id.namespace.as_str(), id.name.as_str()) > (namespace.as_str(), name.as_str())
        });
        named && later
    }
}

impl TryFrom<&wire::ListTenantsRequest> for List {
    type Error = Status;

    fn try_from(request: &wire::ListTenantsRequest) -> Result<Self, Status> {
        let mut wrong = Vec::new();
        let size = match usize::try_from(request.page_size) {
            Ok(0) => PAGE,
            Ok(size @ 1..=MAX_PAGE) => size,
            Ok(_) | Err(_) => {
                wrong.push(violation(
                    "page_size",
                    "must be 0 (for 100) or from 1 to 500",
                ));
                PAGE
            }
        };
        let after = match request.page_token.split_once('/') {
            Some((namespace, name)) => Some((namespace.to_owned(), name.to_owned())),
            None if request.page_token.is_empty() => None,
            None => {
                wrong.push(violation(
                    "page_token",
                    "must be next_page_token of an earlier answer",
                ));
                None
            }
        };
        checked(wrong)?;
        Ok(Self {
            namespace: request.host_namespace.clone(),
            size,
            after,
        })
    }
}

impl TryFrom<&wire::GetTenantRequest> for One {
    type Error = Status;

    fn try_from(request: &wire::GetTenantRequest) -> Result<Self, Status> {
        let mut wrong = Vec::new();
        let one = one(&request.host_namespace, &request.name, &mut wrong);
        checked(wrong)?;
        Ok(one)
    }
}

impl TryFrom<&wire::TranslateNameRequest> for Translate {
    type Error = Status;

    fn try_from(request: &wire::TranslateNameRequest) -> Result<Self, Status> {
        use wire::translate_name_request::Object as Wire;
        let mut wrong = Vec::new();
        let tenant = one(&request.host_namespace, &request.name, &mut wrong);
        let kind = Kind::named(&request.kind).filter(|kind| kind.is_translated());
        if kind.is_none() {
            let kinds: Vec<_> = Kind::all()
                .filter(|kind| kind.is_translated())
                .map(Kind::as_str)
                .collect();
            let description = format!("must be one of {}", kinds.join(", "));
            wrong.push(violation("kind", &description));
        }
        let object = match &request.object {
            Some(Wire::Virtual(object)) => {
                present("virtual.namespace", &object.namespace, &mut wrong);
                present("virtual.name", &object.name, &mut wrong);
                Some(Object::Virtual(Name::new(&object.namespace, &object.name)))
            }
            Some(Wire::HostObjectName(name)) => {
                present("host_object_name", name, &mut wrong);
                Some(Object::Host(name.clone()))
            }
            None => {
                wrong.push(violation(
                    "object",
                    "one of virtual and host_object_name is required",
                ));
                None
            }
        };
        match (kind, object) {
            (Some(kind), Some(object)) if wrong.is_empty() => Ok(Self {
                tenant,
                kind,
                object,
            }),
            (Some(_) | None, Some(_) | None) => Err(invalid(wrong)),
        }
    }
}

/// An object that is asked about, or several.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) tenant: One,
    /// As it was written; empty for every kind.
    pub(super) kind: String,
    /// Empty for every namespace.
    pub(super) namespace: String,
    /// Empty for every name.
    pub(super) name: String,
}

impl TryFrom<&wire::ExplainRequest> for Asked {
    type Error = Status;

    fn try_from(request: &wire::ExplainRequest) -> Result<Self, Status> {
        let mut wrong = Vec::new();
        let tenant = one(&request.host_namespace, &request.name, &mut wrong);
        kind(&request.kind, &mut wrong);
        optional("namespace", &request.namespace, &mut wrong);
        present("object_name", &request.object_name, &mut wrong);
        checked(wrong)?;
        Ok(Self {
            tenant,
            kind: request.kind.clone(),
            namespace: request.namespace.clone(),
            name: request.object_name.clone(),
        })
    }
}

impl TryFrom<&wire::ResyncRequest> for Asked {
    type Error = Status;

    fn try_from(request: &wire::ResyncRequest) -> Result<Self, Status> {
        let mut wrong = Vec::new();
        let tenant = one(&request.host_namespace, &request.name, &mut wrong);
        if !request.kind.is_empty() || !request.object_name.is_empty() {
            kind(&request.kind, &mut wrong);
        }
        optional("namespace", &request.namespace, &mut wrong);
        optional("object_name", &request.object_name, &mut wrong);
        checked(wrong)?;
        Ok(Self {
            tenant,
            kind: request.kind.clone(),
            namespace: request.namespace.clone(),
            name: request.object_name.clone(),
        })
    }
}

/// A kind as people write it; whether there is such a kind depends on the virtual cluster.
fn kind(text: &str, wrong: &mut Vec<FieldViolation>) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if text.is_empty() {
        wrong.push(violation("kind", "must not be empty"));
    } else if text.len() > MAX_NAME || !text.chars().all(allowed) {
        let description = "must be a kind, a collection or a short name, alone or with its group: \
                           Pod, pods, po, ingresses.networking.k8s.io";
        wrong.push(violation("kind", description));
    }
}

fn optional(field: &str, text: &str, wrong: &mut Vec<FieldViolation>) {
    if !text.is_empty() {
        present(field, text, wrong);
    }
}

/// One field is wrong.
pub(super) fn wrong(field: &str, description: &str) -> Status {
    invalid(vec![violation(field, description)])
}

fn one(namespace: &str, name: &str, wrong: &mut Vec<FieldViolation>) -> One {
    present("host_namespace", namespace, wrong);
    present("name", name, wrong);
    One {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// Names become parts of paths, so only what Kubernetes allows in a name may pass.
fn present(field: &str, text: &str, wrong: &mut Vec<FieldViolation>) {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.is_empty() {
        wrong.push(violation(field, "must not be empty"));
    } else if text.len() > MAX_NAME || !text.chars().all(allowed) || text.starts_with('.') {
        wrong.push(violation(
            field,
            "must be at most 253 lower-case letters, digits, '-' and '.', not beginning with '.'",
        ));
    }
}

fn violation(field: &str, description: &str) -> FieldViolation {
    FieldViolation::new(field, description)
}

fn checked(wrong: Vec<FieldViolation>) -> Result<(), Status> {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(invalid(wrong))
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn every_violation_is_told_by_field() {
        let request = wire::TranslateNameRequest {
            host_namespace: "team-a".to_owned(),
            kind: "Job".to_owned(),
            object: Some(wire::translate_name_request::Object::HostObjectName(
                "../x".to_owned(),
            )),
            ..wire::TranslateNameRequest::default()
        };
        let status = Translate::try_from(&request).unwrap_err();
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .unwrap()
            .field_violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(fields, ["name", "kind", "host_object_name"]);
        assert_eq!(details.error_info().unwrap().domain, "vcluster.dev");
    }

    #[test]
    fn pages_follow_one_another() {
        let id = |namespace: &str, name: &str| Id {
            uid: String::new(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let request = wire::ListTenantsRequest {
            page_token: token(&id("b", "x")),
            ..wire::ListTenantsRequest::default()
        };
        let list = List::try_from(&request).unwrap();
        assert!(!list.holds(&id("a", "z")) && !list.holds(&id("b", "x")));
        assert!(list.holds(&id("b", "y")) && list.holds(&id("c", "a")));
        for (size, token) in [(-1, ""), (501, ""), (0, "x")] {
            let request = wire::ListTenantsRequest {
                page_size: size,
                page_token: token.to_owned(),
                ..wire::ListTenantsRequest::default()
            };
            assert!(List::try_from(&request).is_err());
        }
    }
}
