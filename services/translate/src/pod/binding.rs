//! The node of a virtual pod.

use serde_json::{Value, json};

use crate::json::text;

/// What to POST to `binding` of the virtual pod. The Node of that name must exist first: an API
/// server binds to any name, and the pod would be collected as an orphan of a missing node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Name of the node, the same on both sides.
    pub node: String,
    /// The request's body. It names the pod's UID.
    pub body: Value,
}

/// The binding that a virtual pod still lacks, if its host pod has a node.
pub fn binding(host: &Value, pod: &Value) -> Option<Binding> {
    let node = text(host, "/spec/nodeName")?;
    if text(pod, "/spec/nodeName").is_some() {
        return None;
    }
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "name": text(pod, "/metadata/name")?,
            "namespace": text(pod, "/metadata/namespace")?,
            "uid": text(pod, "/metadata/uid")?,
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    Some(Binding {
        node: node.to_owned(),
        body,
    })
}
