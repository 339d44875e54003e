//! CSINodes: which drivers run on the host's nodes, as a virtual cluster sees them.

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "storage.k8s.io",
        "v1",
        "CSINode",
        "csinodes",
        Scope::Cluster,
    ),
    FromHost::new(&["spec"]),
);
