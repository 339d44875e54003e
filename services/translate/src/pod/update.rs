//! Later changes of a virtual pod, carried to its host pod.

use serde_json::{Map, Value, json};

use super::{
    annotation, container, hosts,
    scope::Scope,
    to_host::{Verdict, to_host},
};
use crate::{
    Context, Owner, Patch, Refusal,
    change::members,
    json::{array, text},
    label,
    patch::{Format, Subresource},
};

/// What an ordinary update must change on the host pod; nothing if it is as it should be.
///
/// Labels and annotations of ours are compared with the host's, so that a change by hand is undone.
/// Images, tolerations and the deadline are compared with what was last applied: an image that the
/// host's admission replaced is not fought over.
///
/// # Errors
/// The pod, as it now is, would be refused.
pub fn update_host(
    pod: &Value,
    host: &Value,
    namespace_labels: &Map<String, Value>,
    context: &Context,
) -> Result<Option<Patch>, Verdict> {
    let mut wanted = to_host(pod, namespace_labels, context)?.object;
    if let Some(applied) = annotation::of(host, annotation::RESOURCES) {
        // That is for a resize to say.
        wanted["metadata"]["annotations"][annotation::RESOURCES] = applied.clone();
    }
    let mut metadata = Map::new();
    let labels = members(&wanted, host, "/metadata/labels", label::is_ours);
    let annotations = members(&wanted, host, "/metadata/annotations", |key| {
        annotation::is_ours(key, host)
    });
    let mut body = json!({});
    let key = annotation::APPLIED;
    if annotation::of(&wanted, key) != annotation::of(host, key) {
        body["spec"] = spec_changes(&wanted, host);
    }
    for (key, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            metadata.insert(key.to_owned(), changes.into());
        }
    }
    if metadata.is_empty() {
        return Ok(None);
    }
    body["metadata"] = metadata.into();
    Ok(Some(patch(None, host, body)))
}

pub(super) fn patch(subresource: Option<Subresource>, host: &Value, body: Value) -> Patch {
    let uid = text(host, "/metadata/uid").unwrap_or_default();
    Patch::new(subresource, Format::Strategic, uid, body)
}

fn spec_changes(wanted: &Value, host: &Value) -> Value {
    let mut spec = json!({});
    for list in ["containers", "initContainers"] {
        let pointer = format!("/spec/{list}");
        let changed: Vec<_> = array(wanted, &pointer)
            .iter()
            .filter_map(|container| {
                let name = text(container, "/name").filter(|name| *name != hosts::NAME)?;
                let image = container.get("image")?;
                let found = named(host, &pointer, name)?;
                (found.get("image") != Some(image)).then(|| json!({"name": name, "image": image}))
            })
            .collect();
        if !changed.is_empty() {
            spec[list] = changed.into();
        }
    }
    let deadline = wanted.pointer("/spec/activeDeadlineSeconds");
    if let Some(deadline) =
        deadline.filter(|d| host.pointer("/spec/activeDeadlineSeconds") != Some(d))
    {
        spec["activeDeadlineSeconds"] = deadline.clone();
    }
    // The host allows additions only, and has some of its own.
    let found = array(host, "/spec/tolerations");
    let missing: Vec<_> = array(wanted, "/spec/tolerations")
        .iter()
        .filter(|toleration| !found.contains(toleration))
        .collect();
    if !missing.is_empty() {
        spec["tolerations"] = found.iter().chain(missing).cloned().collect();
    }
    spec
}

pub(super) fn named<'a>(pod: &'a Value, pointer: &str, name: &str) -> Option<&'a Value> {
    array(pod, pointer)
        .iter()
        .find(|container| text(container, "/name") == Some(name))
}

/// The ephemeral containers that the host pod still lacks; nothing if it has all. To be asked when
/// [`update_host`] has nothing to do, as they may read annotations that it carries.
///
/// The first of them that is refused is told beside; it does not hold up the others.
pub fn ephemeral_to_host(
    pod: &Value,
    host: &Value,
    context: &Context,
) -> (Option<Patch>, Option<Refusal>) {
    let owner = match Owner::of_virtual(pod, "Pod", context) {
        Ok(owner) => owner,
        Err(refusal) => return (None, Some(refusal)),
    };
    let mut refused = None;
    let mut scope = Scope::new(pod, &owner, context);
    let mut missing = Vec::new();
    let pointer = "/spec/ephemeralContainers";
    for (index, found) in array(pod, pointer).iter().enumerate() {
        let known = text(found, "/name").is_some_and(|name| named(host, pointer, name).is_some());
        if !known {
            let mut found = found.clone();
            let field = format!("spec.ephemeralContainers[{index}]");
            container::rewrite(&mut found, &field, &mut scope);
            match scope.verdict() {
                Ok(()) => missing.push(found),
                Err(refusal) => {
                    refused.get_or_insert(refusal);
                }
            }
        }
    }
    let patch = (!missing.is_empty()).then(|| {
        let body = json!({"spec": {"ephemeralContainers": missing}});
        patch(Some(Subresource::EphemeralContainers), host, body)
    });
    (patch, refused)
}
