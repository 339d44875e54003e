//! CSINodes: which drivers run on the host's nodes, as a virtual cluster sees them. What a driver calls a node is
//! mostly its identifier at the provider of the host's machines, which nodes do not show either: the node's name
//! stands there.

use serde_json::Value;

use crate::{
    json::array_mut,
    kind::{Api, Description, FromHost, Scope},
};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "storage.k8s.io",
        "v1",
        "CSINode",
        "csinodes",
        Scope::Cluster,
    ),
    FromHost {
        // A driver may come and go, but not change; that is seldom enough to make the mirror again.
        frozen: &["/spec/drivers"],
        hide,
        ..FromHost::new(&["spec"])
    },
);

fn hide(node: &mut Value) {
    let name = node.pointer("/metadata/name").cloned().unwrap_or_default();
    let spec = node.get_mut("spec").and_then(Value::as_object_mut);
    for driver in spec.into_iter().flat_map(|spec| array_mut(spec, "drivers")) {
        driver["nodeID"] = name.clone();
    }
}
