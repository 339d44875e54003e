//! Nodes: the host's, as a virtual cluster sees them.
//!
//! A host node is not the tenant's, and much of it tells about the host and its other tenants. So
//! the virtual node is made of what is listed here, and nothing passes by default.
//!
//! | shown | left out |
//! |---|---|
//! | name, labels | annotations, finalizers, UID |
//! | taints, unschedulable | pod address ranges, provider ID |
//! | capacity, allocatable, conditions | images (what others run), volumes, `config` |
//! | internal address, host name | external addresses and names |
//! | versions, system, architecture | machine, system and boot ID |
//! | `declaredFeatures` | the kubelet's own endpoint: in its place stands sync's, of which see below |
//!
//! The virtual API server asks sync for logs, exec and the like: it finds it by the internal DNS name, which it
//! prefers, and by the port in `daemonEndpoints`. The internal address stays the host node's, for NodePorts are
//! dialled there. Declared features pass: those of pods are the host kubelet's own, and the one of its API,
//! `ExtendWebSocketsToKubelet`, holds for sync, which passes WebSockets on as they are to an API server that is not
//! older than that kubelet.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER_UID, MANAGED, MANAGED_VALUE};
use vcluster_resources::layout::KUBELET_PORT;

use crate::{
    Context, Patch,
    json::{array, merge_patch, object, strings, text},
    kind::{Api, Bespoke, Description, Inside, Outside, Scope},
    patch::{Format, Subresource},
};

pub use crate::mirror::is_ours;

/// Its row in the table of kinds.
pub const KIND: Description = Description::bespoke(
    Bespoke::Node,
    Api::core("Node", "nodes", Scope::Cluster).short(&["no"]),
    Inside::Managed,
    Outside::Everything { prune },
);

/// Names and sizes of everything that a node has ever run: large, and never shown.
fn prune(node: &mut Value) {
    if let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("images");
    }
}

/// The virtual node of a host node, status included. An API server ignores the status at creation;
/// it is written by a second request.
pub fn to_virtual(host: &Value, context: &Context) -> Value {
    let mut labels: Map<String, Value> = strings(host, "/metadata/labels")
        .filter(|(key, _)| !key.starts_with("vcluster.dev/"))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    labels.insert(MANAGED.to_owned(), MANAGED_VALUE.into());
    let mut spec = Map::new();
    for key in ["taints", "unschedulable"] {
        copy(&host["spec"], key, &mut spec);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": text(host, "/metadata/name"),
            "labels": labels,
            "annotations": { CLUSTER_UID: context.cluster_uid },
        },
        "spec": spec,
        "status": status(host, context),
    })
}

fn copy(from: &Value, key: &str, to: &mut Map<String, Value>) {
    if let Some(value) = from.get(key).filter(|value| !value.is_null()) {
        to.insert(key.to_owned(), value.clone());
    }
}

/// The fields of a node's status that translation writes.
const STATUS: [&str; 9] = [
    "addresses",
    "allocatable",
    "capacity",
    "conditions",
    "daemonEndpoints",
    "declaredFeatures",
    "features",
    "nodeInfo",
    "runtimeHandlers",
];

fn status(host: &Value, context: &Context) -> Value {
    let found = &host["status"];
    let mut status = Map::new();
    for key in STATUS {
        copy(found, key, &mut status);
    }
    let mut addresses: Vec<_> = array(found, "/addresses")
        .iter()
        .filter(|address| matches!(text(address, "/type"), Some("InternalIP" | "Hostname")))
        .cloned()
        .collect();
    addresses.push(json!({"type": "InternalDNS", "address": context.kubelet_host}));
    status.insert("addresses".to_owned(), addresses.into());
    let endpoints = json!({"kubeletEndpoint": {"Port": KUBELET_PORT}});
    status.insert("daemonEndpoints".to_owned(), endpoints);
    if let Some(info) = object(found, "/nodeInfo") {
        let mut info = info.clone();
        for key in ["machineID", "systemUUID", "bootID"] {
            // Required by the schema.
            info.insert(key.to_owned(), "".into());
        }
        status.insert("nodeInfo".to_owned(), info.into());
    }
    status.into()
}

/// Whether a host node has gone silent: nobody knows what its containers do, and nobody ends them.
pub fn is_lost(host: &Value) -> bool {
    array(host, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("Unknown")
    })
}

/// What must change on a virtual node's labels and spec; nothing if all is as it should be. Labels
/// are the host's alone; annotations of others stay.
pub fn update_virtual(host: &Value, node: &Value, context: &Context) -> Option<Patch> {
    let wanted = to_virtual(host, context);
    let mut body = Map::new();
    let empty = json!({});
    let labels = node.pointer("/metadata/labels").unwrap_or(&empty);
    if let Some(labels) = merge_patch(labels, &wanted["metadata"]["labels"]) {
        body.insert("metadata".to_owned(), json!({ "labels": labels }));
    }
    let mut spec = Map::new();
    for key in ["taints", "unschedulable"] {
        let found = &node["spec"][key];
        let wanted = &wanted["spec"][key];
        if found != wanted {
            spec.insert(key.to_owned(), wanted.clone());
        }
    }
    if !spec.is_empty() {
        body.insert("spec".to_owned(), spec.into());
    }
    (!body.is_empty()).then(|| patch(node, None, body.into()))
}

/// What must change on a virtual node's status; nothing if all is as it should be. Heartbeats
/// alone are no change: nobody inside watches them.
pub fn status_to_virtual(host: &Value, node: &Value, context: &Context) -> Option<Patch> {
    let wanted = status(host, context);
    // The rest is the virtual API server's own.
    let found: Map<_, _> = object(node, "/status")
        .into_iter()
        .flatten()
        .filter(|(key, _)| STATUS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let found = Value::Object(found);
    if without_heartbeats(&found) == without_heartbeats(&wanted) {
        return None;
    }
    let change = merge_patch(&found, &wanted)?;
    Some(patch(
        node,
        Some(Subresource::Status),
        json!({ "status": change }),
    ))
}

fn without_heartbeats(status: &Value) -> Value {
    let mut status = status.clone();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastHeartbeatTime");
        }
    }
    status
}

fn patch(node: &Value, subresource: Option<Subresource>, body: Value) -> Patch {
    let uid = text(node, "/metadata/uid").unwrap_or_default();
    Patch::new(subresource, Format::Merge, uid, body)
}

#[cfg(test)]
mod tests;
