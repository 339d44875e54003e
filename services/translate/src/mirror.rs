//! What is the same in every mirror of a host object inside a virtual cluster.
//!
//! A mirror has the host object's name, and is known by a label and an annotation. A tenant's own
//! object is neither changed nor deleted, whatever its name.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER_UID, MANAGED, MANAGED_VALUE};

use crate::{
    Context,
    json::{strings, text},
    kind::{FromHost, Kind},
    own_class, policy,
};

pub mod csi_driver;
pub mod csi_node;
pub mod device_class;
pub mod ingress_class;
pub mod priority_class;
pub mod runtime_class;
pub mod storage_class;
pub mod volume_snapshot_class;

/// Annotation in which kubectl keeps what it applied last: long, and nobody's inside.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Metadata of the mirror of a host object: its name, labels and annotations, and our mark.
pub fn metadata(host: &Value, context: &Context) -> Value {
    let passes = |key: &str| !key.starts_with("vcluster.dev/") && key != LAST_APPLIED;
    let all = |pointer: &str| -> Map<String, Value> {
        strings(host, pointer)
            .filter(|(key, _)| passes(key))
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect()
    };
    let mut labels = all("/metadata/labels");
    labels.insert(MANAGED.to_owned(), MANAGED_VALUE.into());
    let mut annotations = all("/metadata/annotations");
    annotations.insert(CLUSTER_UID.to_owned(), context.cluster_uid.as_str().into());
    json!({
        "name": text(host, "/metadata/name"),
        "labels": labels,
        "annotations": annotations,
    })
}

/// Whether a host object of a kind that is shown by its description is shown to this virtual cluster.
pub fn is_shown(kind: Kind, rules: &FromHost, host: &Value, context: &Context) -> bool {
    // What was made for a virtual cluster is nobody else's.
    !own_class::is_a_tenants(kind, host)
        && (rules.shown)(host)
        && policy::shows(kind, host, context)
}

/// The mirror of a host object; nothing if it is not shown.
pub fn of(kind: Kind, rules: &FromHost, host: &Value, context: &Context) -> Option<Value> {
    if !is_shown(kind, rules, host, context) {
        return None;
    }
    let api = kind.description().api;
    let mut mirror = json!({
        "apiVersion": api.version(),
        "kind": api.kind,
        "metadata": metadata(host, context),
    });
    for field in rules.fields {
        if let Some(value) = host.get(*field).filter(|value| !value.is_null()) {
            mirror[*field] = value.clone();
        }
    }
    (rules.hide)(&mut mirror);
    Some(mirror)
}

/// Whether a virtual object is one that mirrors the host's. A tenant may have objects of its own.
pub fn is_ours(object: &Value, context: &Context) -> bool {
    let marked = |pointer: &str, key: &str, value: &str| {
        let map = object.pointer(pointer);
        map.and_then(|map| map.get(key)).and_then(Value::as_str) == Some(value)
    };
    marked("/metadata/labels", MANAGED, MANAGED_VALUE)
        && marked("/metadata/annotations", CLUSTER_UID, &context.cluster_uid)
}

#[cfg(test)]
mod tests;
