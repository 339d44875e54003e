//! A kubelet's `/stats/summary` (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`), of a virtual node.
//!
//! It tells what is known: CPU as a rate, and the working set of memory. What only the node's own kubelet knows is
//! absent, as it is where a kubelet does not know: counters, files, network, processes.

use serde_json::{Value, json};
use vcluster_resources::TenantUri;

use super::part::{Container, Measured, Node, Pod};
use super::{Usage, containers, measured, oldest, used};

/// The summary of this virtual node, by the virtual pods on it; its own figures are their sum. A node without
/// measured pods uses nothing, as of `now` (RFC 3339).
pub fn summary(
    node: &Node,
    pods: &[Pod],
    host: &[Measured],
    tenant: &TenantUri,
    now: &str,
) -> Value {
    let name = node.metadata.name.as_str();
    let there: Vec<(&Pod, &Measured)> = measured(pods, host, tenant)
        .filter(|(pod, _)| pod.spec.node_name.as_deref() == Some(name))
        .collect();
    let usage: Usage = there.iter().map(|(pod, found)| used(pod, found)).sum();
    let time = oldest(&there, now);
    json!({
        "node": {
            "nodeName": name,
            "startTime": node.metadata.creation_timestamp,
            "cpu": cpu(usage, time),
            "memory": memory(usage, time),
        },
        "pods": there.iter().map(|(pod, found)| of_pod(pod, found)).collect::<Vec<_>>(),
    })
}

fn of_pod(pod: &Pod, found: &Measured) -> Value {
    let metadata = &pod.metadata;
    let time = found.timestamp.as_deref().unwrap_or_default();
    let usage = used(pod, found);
    let containers: Vec<Value> = containers(pod, found)
        .into_iter()
        .map(|container| of_container(pod, container, time))
        .collect();
    json!({
        "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "startTime": pod.status.start_time,
        "containers": containers,
        "cpu": cpu(usage, time),
        "memory": memory(usage, time),
    })
}

fn of_container(pod: &Pod, container: &Container, time: &str) -> Value {
    let usage = Usage::read(&container.usage);
    json!({
        "name": container.name,
        "startTime": started(pod, &container.name),
        "cpu": cpu(usage, time),
        "memory": memory(usage, time),
    })
}

/// Since when a container runs; the pod's own start where that is not said.
fn started<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let status = &pod.status;
    let statuses = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut all = statuses.into_iter().flatten().flatten();
    all.find(|status| status.name == name)
        .and_then(|status| {
            status
                .state
                .as_ref()?
                .running
                .as_ref()?
                .started_at
                .as_deref()
        })
        .or(status.start_time.as_deref())
}

fn cpu(usage: Usage, time: &str) -> Value {
    json!({"time": time, "usageNanoCores": usage.cpu})
}

fn memory(usage: Usage, time: &str) -> Value {
    json!({"time": time, "workingSetBytes": usage.memory})
}
