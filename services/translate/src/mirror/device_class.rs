//! DeviceClasses: the host's, as a virtual cluster sees them.

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "resource.k8s.io",
        "v1",
        "DeviceClass",
        "deviceclasses",
        Scope::Cluster,
    ),
    FromHost::new(&["spec"]),
);
