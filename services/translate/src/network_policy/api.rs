//! Rules that let pods out to the virtual API server.
//!
//! Inside it has one address, that of `default/kubernetes` and of its endpoint, and can be named by it only. On the host
//! that is a Service's, which enforcers never see: they judge what is left after it was translated, the control
//! plane's pod and the port on which it listens.

use serde_json::{Value, json};
use vcluster_resources::label::{CLUSTER, PART, Part};
use vcluster_resources::layout::{API_PORT, API_TARGET_PORT};

use super::block;
use crate::{
    Context,
    json::{array, is_set, text},
};

/// The rule of the host that a virtual egress rule calls for beside its own; nothing if it does not let pods out to the
/// API server, or lets them out to everything. It opens the API server's port and no other of the control plane.
pub(super) fn opened_by(rule: &Value, context: &Context) -> Option<Value> {
    let (peers, ports) = (array(rule, "/to"), array(rule, "/ports"));
    if peers.is_empty() && ports.is_empty() {
        return None;
    }
    let is_api = |peer: &Value| is_set(peer, "/ipBlock") && block::holds(peer, context.api);
    if !peers.is_empty() && !peers.iter().any(is_api) {
        return None;
    }
    if !ports.is_empty() && !ports.iter().any(means_api) {
        return None;
    }
    let labels = json!({ CLUSTER: context.cluster.as_str(), PART: Part::ControlPlane.as_str() });
    Some(json!({
        "to": [{"podSelector": {"matchLabels": labels}}],
        "ports": [{"port": API_TARGET_PORT, "protocol": "TCP"}],
    }))
}

/// Whether a port is one of those of `default/kubernetes` or of its endpoint. One by name is that of a pod's container.
fn means_api(port: &Value) -> bool {
    let is_meant = match port.get("port") {
        None | Some(Value::Null) => true,
        Some(first) => first.as_u64().is_some_and(|first| {
            let last = port.get("endPort").and_then(Value::as_u64);
            let range = first..=last.unwrap_or(first);
            [API_PORT, API_TARGET_PORT]
                .iter()
                .any(|port| range.contains(&u64::from(*port)))
        }),
    };
    is_meant && text(port, "/protocol").unwrap_or("TCP") == "TCP"
}
