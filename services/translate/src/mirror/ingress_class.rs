//! IngressClasses: the host's, as a virtual cluster sees them. Their parameters, which are objects of the
//! host, are left out.

use serde_json::Value;

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "networking.k8s.io",
        "v1",
        "IngressClass",
        "ingressclasses",
        Scope::Cluster,
    ),
    FromHost {
        frozen: &["/spec/controller"],
        hide,
        ..FromHost::new(&["spec"])
    },
);

fn hide(class: &mut Value) {
    if let Some(spec) = class.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("parameters");
    }
}
