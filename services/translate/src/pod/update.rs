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
    json::{array, object, text},
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
    let wanted = to_host(pod, namespace_labels, context)?.object;
    let mut metadata = Map::new();
    let labels = members(&wanted, host, "/metadata/labels", label::is_ours);
    let annotations = members(&wanted, host, "/metadata/annotations", |key| {
        annotation::is_ours(key, host)
    });
    let applied = |object: &Value| {
        let annotations = object.pointer("/metadata/annotations");
        annotations.and_then(|all| all.get(annotation::APPLIED).cloned())
    };
    let mut body = json!({});
    if applied(&wanted) != applied(host) {
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

fn patch(subresource: Option<Subresource>, host: &Value, body: Value) -> Patch {
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

fn named<'a>(pod: &'a Value, pointer: &str, name: &str) -> Option<&'a Value> {
    array(pod, pointer)
        .iter()
        .find(|container| text(container, "/name") == Some(name))
}

/// The ephemeral containers that the host pod still lacks; nothing if it has all. To be asked when
/// [`update_host`] has nothing to do, as they may read annotations that it carries.
///
/// # Errors
/// One of them is refused; those before it wait with it.
pub fn ephemeral_to_host(
    pod: &Value,
    host: &Value,
    context: &Context,
) -> Result<Option<Patch>, Refusal> {
    let owner = Owner::of_virtual(pod, "Pod", context)?;
    let mut scope = Scope::new(pod, &owner, context);
    let mut missing = Vec::new();
    let pointer = "/spec/ephemeralContainers";
    for (index, found) in array(pod, pointer).iter().enumerate() {
        let known = text(found, "/name").is_some_and(|name| named(host, pointer, name).is_some());
        if !known {
            let mut found = found.clone();
            let field = format!("spec.ephemeralContainers[{index}]");
            container::rewrite(&mut found, &field, &mut scope)?;
            missing.push(found);
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let body = json!({"spec": {"ephemeralContainers": missing}});
    Ok(Some(patch(
        Some(Subresource::EphemeralContainers),
        host,
        body,
    )))
}

/// The resources that the host pod must be resized to; nothing if it has them. What the virtual
/// pod does not say is the host's to choose.
pub fn resize_to_host(pod: &Value, host: &Value) -> Option<Patch> {
    let mut spec = json!({});
    for list in ["containers", "initContainers"] {
        let pointer = format!("/spec/{list}");
        let resized: Vec<_> = array(pod, &pointer)
            .iter()
            .filter_map(|container| {
                let name = text(container, "/name")?;
                let found = named(host, &pointer, name)?;
                let resources = resized(container, found)?;
                Some(json!({"name": name, "resources": resources}))
            })
            .collect();
        if !resized.is_empty() {
            spec[list] = resized.into();
        }
    }
    if let Some(resources) = resized(&pod["spec"], &host["spec"]) {
        spec["resources"] = resources;
    }
    let changed = spec.as_object().is_some_and(|spec| !spec.is_empty());
    changed.then(|| patch(Some(Subresource::Resize), host, json!({ "spec": spec })))
}

/// The limits and requests of `wanted` that `found` does not have.
fn resized(wanted: &Value, found: &Value) -> Option<Value> {
    let mut resources = Map::new();
    for key in ["limits", "requests"] {
        let pointer = format!("/resources/{key}");
        let empty = Map::new();
        let found = object(found, &pointer).unwrap_or(&empty);
        let differing: Map<_, _> = object(wanted, &pointer)
            .into_iter()
            .flatten()
            .filter(|(name, value)| found.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !differing.is_empty() {
            resources.insert(key.to_owned(), differing.into());
        }
    }
    (!resources.is_empty()).then_some(resources.into())
}
