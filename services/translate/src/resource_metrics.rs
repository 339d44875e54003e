//! The resource metrics API (`metrics.k8s.io`) of a virtual cluster, composed of what the host measures of its pods.
//!
//! What comes in is a virtual cluster's pods as they are inside, and the host's PodMetrics of its host namespace.
//!
//! - A pod has the metrics of its own host pod: the name, the namespace and our labels say which it is.
//! - Containers that only the host pod has are not shown.
//! - A node has the sum of the virtual cluster's own pods on it. What else runs there is others' business.
//! - What was measured before a pod began is a former pod's of the same name, and is not shown.
//!
//! The same measurements in a kubelet's words are a [`summary`].

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use vcluster_resources::{TenantUri, label::CLUSTER_UID};

use crate::{
    json::{array, text},
    name,
};

mod quantity;
mod summary;

pub use quantity::Usage;
pub use summary::summary;

/// Group and version of the API.
pub const GROUP_VERSION: &str = "metrics.k8s.io/v1beta1";

/// PodMetrics of those of the virtual pods that the host has measured.
pub fn pods(pods: &[Value], host: &[Value], tenant: &TenantUri) -> Vec<Value> {
    measured(pods, host, tenant)
        .map(|(pod, found)| pod_metrics(pod, found))
        .collect()
}

/// NodeMetrics of these virtual nodes, by the virtual pods on them. A node without measured pods has no usage, as of
/// `now` (RFC 3339).
pub fn nodes(
    nodes: &[Value],
    pods: &[Value],
    host: &[Value],
    tenant: &TenantUri,
    now: &str,
) -> Vec<Value> {
    let mut on_node: HashMap<&str, Vec<Value>> = HashMap::new();
    for (pod, found) in measured(pods, host, tenant) {
        if let Some(node) = text(pod, "/spec/nodeName") {
            let metrics = pod_metrics(pod, found);
            on_node.entry(node).or_default().push(metrics);
        }
    }
    let metrics = |node: &Value| {
        let name = text(node, "/metadata/name").unwrap_or_default();
        let there = on_node.get(name).map_or(&[][..], Vec::as_slice);
        node_metrics(node, there, now)
    };
    nodes.iter().map(metrics).collect()
}

/// A list of PodMetrics or NodeMetrics.
pub fn list(kind: &str, items: &[Value]) -> Value {
    json!({
        "kind": format!("{kind}List"),
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": items,
    })
}

/// Each virtual pod with what the host has measured of it, since it began.
fn measured<'v>(
    pods: &'v [Value],
    host: &'v [Value],
    tenant: &TenantUri,
) -> impl Iterator<Item = (&'v Value, &'v Value)> {
    let by_name: HashMap<&str, &Value> = host
        .iter()
        .filter(|found| is_of(found, tenant))
        .filter_map(|found| Some((text(found, "/metadata/name")?, found)))
        .collect();
    pods.iter().filter_map(move |pod| {
        let namespace = text(pod, "/metadata/namespace")?;
        let name = text(pod, "/metadata/name")?;
        let found = by_name.get(name::of_pod(namespace, name, tenant).as_str())?;
        // Kubernetes writes both in UTC and in whole seconds: their order is that of their letters.
        let since = text(pod, "/status/startTime")?;
        let measured = text(found, "/timestamp")?;
        (since <= measured).then_some((pod, *found))
    })
}

/// Whether the host's metrics are of a pod of the tenant's.
fn is_of(found: &Value, tenant: &TenantUri) -> bool {
    let uid = found
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(CLUSTER_UID));
    text(found, "/metadata/namespace") == Some(tenant.namespace.as_str())
        && uid.and_then(Value::as_str) == Some(&tenant.uid)
}

/// What was measured of those containers that the pod has inside, too.
fn containers<'v>(pod: &Value, found: &'v Value) -> Vec<&'v Value> {
    let inside: Vec<&str> = ["/spec/containers", "/spec/initContainers"]
        .iter()
        .flat_map(|list| array(pod, list))
        .filter_map(|container| text(container, "/name"))
        .collect();
    array(found, "/containers")
        .iter()
        .filter(|container| text(container, "/name").is_some_and(|name| inside.contains(&name)))
        .collect()
}

fn pod_metrics(pod: &Value, found: &Value) -> Value {
    let mut metadata = metadata(pod, found.pointer("/metadata/creationTimestamp"));
    metadata.insert("namespace".to_owned(), pod["metadata"]["namespace"].clone());
    json!({
        "kind": "PodMetrics",
        "apiVersion": GROUP_VERSION,
        "metadata": metadata,
        "timestamp": found["timestamp"],
        "window": found["window"],
        "containers": containers(pod, found),
    })
}

fn node_metrics(node: &Value, pods: &[Value], now: &str) -> Value {
    let usage: Usage = pods.iter().flat_map(containers_of).sum();
    // The oldest says since when all of it was so.
    let timestamps = pods.iter().filter_map(|pod| text(pod, "/timestamp"));
    let timestamp = timestamps.min().unwrap_or(now);
    let window = pods.iter().find_map(|pod| text(pod, "/window"));
    json!({
        "kind": "NodeMetrics",
        "apiVersion": GROUP_VERSION,
        "metadata": metadata(node, Some(&Value::from(timestamp))),
        "timestamp": timestamp,
        "window": window.unwrap_or("0s"),
        "usage": usage.to_json(),
    })
}

fn containers_of(metrics: &Value) -> impl Iterator<Item = Usage> {
    let containers = array(metrics, "/containers").iter();
    containers.map(|container| Usage::read(&container["usage"]))
}

fn metadata(object: &Value, created: Option<&Value>) -> Map<String, Value> {
    let mut metadata = Map::new();
    for key in ["name", "labels"] {
        if let Some(value) = object.pointer("/metadata").and_then(|found| found.get(key)) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(created) = created {
        metadata.insert("creationTimestamp".to_owned(), created.clone());
    }
    metadata
}

#[cfg(test)]
mod tests;
