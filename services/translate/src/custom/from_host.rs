//! What comes up from the host: fields that it owns of a tenant's object, and objects of its own.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{PART, SHAREABLE, SHAREABLE_VALUE, VIRTUAL_KIND};

use super::{Synced, rewrite};
use crate::{
    Context, Kind, Patch,
    json::{is_set, merge_patch, text},
    mirror,
    patch::{Format, Subresource},
};

/// What the virtual object must be told of the fields that the host owns.
pub fn status_to_virtual(host: &Value, object: &Value, context: &Context) -> Option<Patch> {
    let synced = context.custom.of(object)?;
    let names = rewrite::names(object, host, synced, context);
    // What the host has not written yet is left as it is, and not reversed once more.
    let mut theirs = Value::Object(Map::new());
    let owned = synced.rule.host_owns.iter();
    let written: Vec<_> = owned
        .filter(|path| {
            let found = path.find(host).into_iter().next();
            found.is_some_and(|(_, value)| {
                path.set(&mut theirs, value.clone());
                true
            })
        })
        .collect();
    names.translate_strings(&mut theirs);
    generations(&mut theirs, generation(host), generation(object));
    rewrite::reverse(&mut theirs, host, &synced.rule.patches, context);
    let mut wanted = object.clone();
    for path in written {
        match path.find(&theirs).into_iter().next() {
            Some((_, value)) => path.set(&mut wanted, value.clone()),
            None => path.remove(&mut wanted),
        }
    }
    difference(object, &wanted, synced)
}

/// The patch of an object's own members: of all but the status first, as that may be a subresource.
fn difference(object: &Value, wanted: &Value, synced: &Synced) -> Option<Patch> {
    let uid = text(object, "/metadata/uid").unwrap_or_default();
    let (mut body, mut status) = (Map::new(), None);
    let keys = [object, wanted]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(Map::keys);
    for key in keys.filter(|key| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata")) {
        let found = object.get(key).unwrap_or(&Value::Null);
        let value = wanted.get(key).unwrap_or(&Value::Null);
        let Some(change) = merge_patch(found, value) else {
            continue;
        };
        if key == "status" && synced.has_status {
            status = Some(change);
        } else {
            body.insert(key.clone(), change);
        }
    }
    if !body.is_empty() {
        return Some(Patch::new(None, Format::Merge, uid, body.into()));
    }
    let body = json!({"status": status?});
    Some(Patch::new(
        Some(Subresource::Status),
        Format::Merge,
        uid,
        body,
    ))
}

fn generation(object: &Value) -> Option<i64> {
    object.pointer("/metadata/generation")?.as_i64()
}

/// Puts the virtual object's generation where the host's stands: whoever waits for it compares it with the object's.
fn generations(value: &mut Value, host: Option<i64>, object: Option<i64>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value.as_i64(), host, object) {
                    ("observedGeneration", Some(seen), Some(host), Some(object)) => {
                        let older = (object - 1).max(0).min(seen);
                        *value = if seen >= host { object } else { older }.into();
                    }
                    _other => generations(value, host, object),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                generations(item, host, object);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An object of the host as it is shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What is made, and kept so.
    pub object: Value,
    /// Whether its status is written by itself.
    pub has_status: bool,
}

impl Shown {
    /// How an object of the host is shown; nothing if it is not.
    pub fn of(host: &Value, synced: &Synced, context: &Context) -> Option<Self> {
        let is_namespaced = synced.kind.identity().is_namespaced;
        let is_shown = if is_namespaced {
            is_own(host)
        } else {
            is_shared(host)
        };
        if !is_shown {
            return None;
        }
        let mut object = host.clone();
        let mut metadata = mirror::metadata(host, context);
        if is_namespaced {
            metadata["namespace"] = synced.rule.namespace.as_deref()?.into();
        }
        object["metadata"] = metadata;
        let api = Kind::Custom(synced.kind).description().api;
        object["apiVersion"] = api.version().into();
        object["kind"] = api.kind.into();
        rewrite::reverse(&mut object, host, &synced.rule.patches, context);
        Some(Self {
            object,
            has_status: synced.has_status,
        })
    }

    /// What must change of the virtual object, if anything.
    pub fn difference(&self, found: &Value, synced: &Synced) -> Option<Patch> {
        let body = difference(found, &self.object, synced);
        if body
            .as_ref()
            .is_some_and(|patch| patch.subresource.is_none())
        {
            return body;
        }
        let mut metadata = Map::new();
        for key in ["labels", "annotations"] {
            let pointer = format!("/metadata/{key}");
            let empty = json!({});
            let found = found.pointer(&pointer).unwrap_or(&empty);
            let wanted = self.object.pointer(&pointer).unwrap_or(&empty);
            if let Some(change) = merge_patch(found, wanted) {
                metadata.insert(key.to_owned(), change);
            }
        }
        if metadata.is_empty() {
            return body;
        }
        let uid = text(found, "/metadata/uid").unwrap_or_default();
        Some(Patch::new(
            None,
            Format::Merge,
            uid,
            json!({"metadata": metadata}),
        ))
    }
}

/// Whether an object of a host namespace is nobody's translation, nor a part of a control plane.
fn is_own(host: &Value) -> bool {
    let annotation = |key: &str| {
        host.pointer("/metadata/annotations")
            .and_then(|all| all.get(key))
    };
    let label = |key: &str| {
        host.pointer("/metadata/labels")
            .and_then(|all| all.get(key))
    };
    annotation(VIRTUAL_KIND).is_none()
        && label(PART).is_none()
        && !is_set(host, "/metadata/deletionTimestamp")
}

/// Whether an object of the host cluster that lives in no namespace is meant for virtual clusters: its label says so.
pub fn is_shared(host: &Value) -> bool {
    let labels = host.pointer("/metadata/labels");
    labels
        .and_then(|labels| labels.get(SHAREABLE))
        .and_then(Value::as_str)
        == Some(SHAREABLE_VALUE)
}

/// Cuts off what is not shown.
pub(super) fn prune(host: &mut Value) {
    if !is_shared(host)
        && let Some(object) = host.as_object_mut()
    {
        object.retain(|key, _| key == "metadata");
    }
}
