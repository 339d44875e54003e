//! A kubelet's `/stats/summary` (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`), of a virtual node.
//!
//! It tells what is known: CPU as a rate, and the working set of memory. What only the node's own kubelet knows is
//! absent, as it is where a kubelet does not know: counters, files, network, processes.

use serde_json::{Value, json};
use vcluster_resources::TenantUri;

use super::{Usage, containers, measured};
use crate::json::{array, text};

/// The summary of this virtual node, by the virtual pods on it; its own figures are their sum. A node without
/// measured pods uses nothing, as of `now` (RFC 3339).
pub fn summary(
    node: &Value,
    pods: &[Value],
    host: &[Value],
    tenant: &TenantUri,
    now: &str,
) -> Value {
    let name = text(node, "/metadata/name").unwrap_or_default();
    let there: Vec<(&Value, &Value)> = measured(pods, host, tenant)
        .filter(|(pod, _)| text(pod, "/spec/nodeName") == Some(name))
        .collect();
    let usage: Usage = there.iter().map(|(pod, found)| used(pod, found)).sum();
    // The oldest says since when all of it was so.
    let times = there
        .iter()
        .filter_map(|(_, found)| text(found, "/timestamp"));
    let time = times.min().unwrap_or(now);
    json!({
        "node": {
            "nodeName": name,
            "startTime": node["metadata"]["creationTimestamp"],
            "cpu": cpu(usage, time),
            "memory": memory(usage, time),
        },
        "pods": there.iter().map(|(pod, found)| of_pod(pod, found)).collect::<Vec<_>>(),
    })
}

fn of_pod(pod: &Value, found: &Value) -> Value {
    let metadata = &pod["metadata"];
    let time = text(found, "/timestamp").unwrap_or_default();
    let usage = used(pod, found);
    let containers: Vec<Value> = containers(pod, found)
        .into_iter()
        .map(|container| of_container(pod, container, time))
        .collect();
    json!({
        "podRef": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
        "startTime": pod["status"]["startTime"],
        "containers": containers,
        "cpu": cpu(usage, time),
        "memory": memory(usage, time),
    })
}

fn of_container(pod: &Value, container: &Value, time: &str) -> Value {
    let name = text(container, "/name").unwrap_or_default();
    let usage = Usage::read(&container["usage"]);
    json!({
        "name": name,
        "startTime": started(pod, name),
        "cpu": cpu(usage, time),
        "memory": memory(usage, time),
    })
}

fn used(pod: &Value, found: &Value) -> Usage {
    containers(pod, found)
        .into_iter()
        .map(|container| Usage::read(&container["usage"]))
        .sum()
}

/// Since when a container runs; the pod's own start where that is not said.
fn started(pod: &Value, name: &str) -> Value {
    let statuses = [
        "/status/containerStatuses",
        "/status/initContainerStatuses",
        "/status/ephemeralContainerStatuses",
    ];
    statuses
        .iter()
        .flat_map(|list| array(pod, list))
        .find(|status| text(status, "/name") == Some(name))
        .and_then(|status| status.pointer("/state/running/startedAt"))
        .unwrap_or_else(|| &pod["status"]["startTime"])
        .clone()
}

fn cpu(usage: Usage, time: &str) -> Value {
    json!({"time": time, "usageNanoCores": usage.cpu})
}

fn memory(usage: Usage, time: &str) -> Value {
    json!({"time": time, "workingSetBytes": usage.memory})
}
