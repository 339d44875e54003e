//! RuntimeClasses: the host's, as a virtual cluster sees them.

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "node.k8s.io",
        "v1",
        "RuntimeClass",
        "runtimeclasses",
        Scope::Cluster,
    ),
    FromHost {
        frozen: &["/handler"],
        ..FromHost::new(&["handler", "overhead", "scheduling"])
    },
);
