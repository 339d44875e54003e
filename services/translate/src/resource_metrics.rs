//! The resource metrics API (`metrics.k8s.io`) of a virtual cluster, composed of what the host measures of its pods.
//!
//! What comes in is a virtual cluster's pods as they are inside, and the host's PodMetrics of its host namespace; of both
//! the parts that are needed, as a large virtual cluster has many.
//!
//! - A pod has the metrics of its own host pod: the name, the namespace and our labels say which it is.
//! - Containers that only the host pod has are not shown.
//! - A node has the sum of the virtual cluster's own pods on it. What else runs there is others' business.
//! - What was measured before a pod began is a former pod's of the same name, and is not shown.
//!
//! The same measurements in a kubelet's words are a [`summary`].

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};
use vcluster_resources::TenantUri;

use crate::name;

mod part;
mod quantity;
mod summary;

use part::{Container, Metadata};
pub use part::{Measured, Node, Pod};
pub use quantity::Usage;
pub use summary::summary;

/// Group and version of the API.
pub const GROUP_VERSION: &str = "metrics.k8s.io/v1beta1";

/// What is shown of a pod.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodMetrics<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Shown<'a>,
    timestamp: Option<&'a str>,
    window: Option<&'a str>,
    containers: Vec<&'a Container>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_timestamp: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(metadata: &'a Metadata, created: Option<&'a str>) -> Self {
        Self {
            name: &metadata.name,
            namespace: metadata.namespace.as_deref(),
            labels: metadata.labels.as_ref(),
            creation_timestamp: created,
        }
    }
}

/// PodMetrics of those of the virtual pods that the host has measured.
pub fn pods<'a>(pods: &'a [Pod], host: &'a [Measured], tenant: &TenantUri) -> Vec<PodMetrics<'a>> {
    measured(pods, host, tenant)
        .map(|(pod, found)| pod_metrics(pod, found))
        .collect()
}

/// NodeMetrics of these virtual nodes, by the virtual pods on them. A node without measured pods has no usage, as of
/// `now` (RFC 3339).
pub fn nodes(
    nodes: &[Node],
    pods: &[Pod],
    host: &[Measured],
    tenant: &TenantUri,
    now: &str,
) -> Vec<Value> {
    let mut on_node: HashMap<&str, Vec<(&Pod, &Measured)>> = HashMap::new();
    for (pod, found) in measured(pods, host, tenant) {
        if let Some(node) = &pod.spec.node_name {
            on_node.entry(node).or_default().push((pod, found));
        }
    }
    let metrics = |node: &Node| {
        let there = on_node.get(node.metadata.name.as_str());
        node_metrics(node, there.map_or(&[][..], Vec::as_slice), now)
    };
    nodes.iter().map(metrics).collect()
}

/// A list of PodMetrics or NodeMetrics.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<'a, T> {
    kind: String,
    api_version: &'static str,
    metadata: NoMetadata,
    items: &'a [T],
}

#[derive(Debug, Serialize)]
struct NoMetadata {}

/// A list of PodMetrics or NodeMetrics.
pub fn list<'a, T: Serialize>(kind: &str, items: &'a [T]) -> List<'a, T> {
    List {
        kind: format!("{kind}List"),
        api_version: GROUP_VERSION,
        metadata: NoMetadata {},
        items,
    }
}

/// Each virtual pod with what the host has measured of it, since it began.
fn measured<'v>(
    pods: &'v [Pod],
    host: &'v [Measured],
    tenant: &TenantUri,
) -> impl Iterator<Item = (&'v Pod, &'v Measured)> {
    let by_name: HashMap<&str, &Measured> = host
        .iter()
        .filter(|found| is_of(found, tenant))
        .map(|found| (found.metadata.name.as_str(), found))
        .collect();
    pods.iter().filter_map(move |pod| {
        let namespace = pod.metadata.namespace.as_deref()?;
        let name = pod.metadata.name.as_str();
        let found = by_name.get(name::of_pod(namespace, name, tenant).as_str())?;
        // Kubernetes writes both in UTC and in whole seconds: their order is that of their letters.
        let since = pod.status.start_time.as_deref()?;
        let measured = found.timestamp.as_deref()?;
        (since <= measured).then_some((pod, *found))
    })
}

/// Whether the host's metrics are of a pod of the tenant's.
fn is_of(found: &Measured, tenant: &TenantUri) -> bool {
    let labels = found.metadata.labels.as_ref();
    let uid = labels.and_then(|labels| labels.cluster_uid.as_deref());
    found.metadata.namespace.as_deref() == Some(tenant.namespace.as_str())
        && uid == Some(&tenant.uid)
}

/// What was measured of those containers that the pod has inside, too.
fn containers<'v>(pod: &Pod, found: &'v Measured) -> Vec<&'v Container> {
    let spec = &pod.spec;
    let inside: Vec<&str> = [&spec.containers, &spec.init_containers]
        .into_iter()
        .flatten()
        .flatten()
        .map(|container| container.name.as_str())
        .collect();
    let measured = found.containers.iter().flatten();
    measured
        .filter(|container| inside.contains(&container.name.as_str()))
        .collect()
}

fn pod_metrics<'a>(pod: &'a Pod, found: &'a Measured) -> PodMetrics<'a> {
    PodMetrics {
        kind: "PodMetrics",
        api_version: GROUP_VERSION,
        metadata: Shown::new(&pod.metadata, found.metadata.creation_timestamp.as_deref()),
        timestamp: found.timestamp.as_deref(),
        window: found.window.as_deref(),
        containers: containers(pod, found),
    }
}

fn node_metrics(node: &Node, there: &[(&Pod, &Measured)], now: &str) -> Value {
    let usage: Usage = there.iter().map(|(pod, found)| used(pod, found)).sum();
    let timestamp = oldest(there, now);
    let window = there.iter().find_map(|(_, found)| found.window.as_deref());
    json!({
        "kind": "NodeMetrics",
        "apiVersion": GROUP_VERSION,
        "metadata": Shown { namespace: None, ..Shown::new(&node.metadata, Some(timestamp)) },
        "timestamp": timestamp,
        "window": window.unwrap_or("0s"),
        "usage": usage.to_json(),
    })
}

/// What a pod's own containers use.
fn used(pod: &Pod, found: &Measured) -> Usage {
    let containers = containers(pod, found).into_iter();
    containers
        .map(|container| Usage::read(&container.usage))
        .sum()
}

/// The oldest measurement says since when all of it was so.
fn oldest<'a>(there: &[(&Pod, &'a Measured)], now: &'a str) -> &'a str {
    let times = there
        .iter()
        .filter_map(|(_, found)| found.timestamp.as_deref());
    times.min().unwrap_or(now)
}

#[cfg(test)]
mod tests;
