//! Resizing a pod that runs.
//!
//! The host's admission may give a pod other resources than it asks for: an overcommit rule, a
//! default. That is the host's last word until the user asks for others: what was asked for stands
//! on the host pod, and a resize holds only what differs from that.

use serde_json::{Map, Value, json};

use super::{
    annotation,
    update::{named, patch},
};
use crate::{
    Patch,
    json::{array, object, text},
    patch::Subresource,
};

/// The limits and requests of a pod and its containers, by list and name.
pub(super) fn resources(pod: &Value) -> Value {
    let of = |holder: &Value| {
        let mut found = Map::new();
        for key in ["limits", "requests"] {
            let map = object(holder, &format!("/resources/{key}"));
            if let Some(map) = map.filter(|map| !map.is_empty()) {
                found.insert(key.to_owned(), map.clone().into());
            }
        }
        some(found)
    };
    let list = |list: &str| {
        let containers = array(pod, &format!("/spec/{list}")).iter();
        let all = containers
            .filter_map(|container| Some((text(container, "/name")?.to_owned(), of(container)?)));
        some(all.collect())
    };
    let all = ["containers", "initContainers"]
        .map(|key| Some((key.to_owned(), list(key)?)))
        .into_iter()
        .chain([pod
            .get("spec")
            .and_then(of)
            .map(|of| ("pod".to_owned(), of))]);
    Value::Object(all.flatten().collect())
}

/// Nothing and empty are the same.
fn some(map: Map<String, Value>) -> Option<Value> {
    (!map.is_empty()).then_some(Value::Object(map))
}

/// What must change on a host pod for the resources that the user changed: a resize, and when that
/// is done (or was not needed) the note of it; nothing if that is there.
pub fn resize_to_host(pod: &Value, host: &Value) -> Option<Patch> {
    let applied = annotation::of(host, annotation::RESOURCES)?;
    let applied: Value = applied
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let wanted = resources(pod);
    if applied == wanted {
        return None;
    }
    let mut spec = json!({});
    for list in ["containers", "initContainers"] {
        let pointer = format!("/spec/{list}");
        let members = object(&wanted, &format!("/{list}")).into_iter().flatten();
        let resized: Vec<_> = members
            .filter_map(|(name, wanted)| {
                let found = named(host, &pointer, name)?.get("resources");
                let resources = asked(wanted, &applied[list][name], found)?;
                Some(json!({"name": name, "resources": resources}))
            })
            .collect();
        if !resized.is_empty() {
            spec[list] = resized.into();
        }
    }
    let found = host.pointer("/spec/resources");
    if let Some(resources) = asked(&wanted["pod"], &applied["pod"], found) {
        spec["resources"] = resources;
    }
    let changed = spec.as_object().is_some_and(|spec| !spec.is_empty());
    Some(if changed {
        patch(Some(Subresource::Resize), host, json!({ "spec": spec }))
    } else {
        resized(pod, host)
    })
}

/// The note on a host pod that the resources of `pod` were asked for and the host took them,
/// whatever it made of them.
pub fn resized(pod: &Value, host: &Value) -> Patch {
    let note = resources(pod).to_string();
    let body = json!({"metadata": {"annotations": { annotation::RESOURCES: note }}});
    patch(None, host, body)
}

/// The limits and requests of `wanted` that were not `applied` and that `found` does not have.
fn asked(wanted: &Value, applied: &Value, found: Option<&Value>) -> Option<Value> {
    let mut resources = Map::new();
    for key in ["limits", "requests"] {
        let differing: Map<_, _> = object(wanted, &format!("/{key}"))
            .into_iter()
            .flatten()
            .filter(|(name, value)| {
                let has = |of: &Value| of.get(key).and_then(|of| of.get(*name)) == Some(*value);
                !has(applied) && !found.is_some_and(has)
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !differing.is_empty() {
            resources.insert(key.to_owned(), differing.into());
        }
    }
    some(resources)
}
