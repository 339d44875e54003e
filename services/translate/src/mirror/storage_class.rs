//! StorageClasses: the host's, as a virtual cluster sees them.
//!
//! | shown | left out |
//! |---|---|
//! | name, labels, annotations (so also which is the default) | kubectl's last applied |
//! | provisioner, reclaim policy, mount options, expansion, binding mode, topologies | |
//! | parameters that say what a volume is like | the others: servers, shares, pools and Secrets of the host |

use serde_json::Value;

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "storage.k8s.io",
        "v1",
        "StorageClass",
        "storageclasses",
        Scope::Cluster,
    )
    .short(&["sc"]),
    FromHost {
        frozen: &[
            "/provisioner",
            "/parameters",
            "/reclaimPolicy",
            "/volumeBindingMode",
        ],
        hide,
        ..FromHost::new(&[
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "mountOptions",
            "allowVolumeExpansion",
            "volumeBindingMode",
            "allowedTopologies",
        ])
    },
);

/// Parameters that say what a volume is like, and not where it is.
pub(crate) const HARMLESS: [&str; 11] = [
    "csi.storage.k8s.io/fstype",
    "encrypted",
    "fsType",
    "iops",
    "iopsPerGB",
    "replication-type",
    "skuName",
    "skuname",
    "throughput",
    "tier",
    "type",
];

fn hide(class: &mut Value) {
    let parameters = class.get_mut("parameters").and_then(Value::as_object_mut);
    let Some(parameters) = parameters else { return };
    parameters.retain(|key, _| HARMLESS.contains(&key.as_str()));
    if parameters.is_empty()
        && let Some(class) = class.as_object_mut()
    {
        class.remove("parameters");
    }
}
