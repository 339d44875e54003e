//! StorageClasses: the host's, as a virtual cluster sees them.
//!
//! | shown | left out |
//! |---|---|
//! | name, labels, annotations (so also which is the default) | kubectl's last applied |
//! | provisioner, parameters, reclaim policy, mount options, expansion, binding mode, topologies | parameters that name Secrets of the host |

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
    ),
    FromHost {
        frozen: &[
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "volumeBindingMode",
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

fn hide(class: &mut Value) {
    let parameters = class.get_mut("parameters").and_then(Value::as_object_mut);
    let Some(parameters) = parameters else { return };
    parameters.retain(|key, _| !names_secret(key));
    if parameters.is_empty()
        && let Some(class) = class.as_object_mut()
    {
        class.remove("parameters");
    }
}

fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "");
    ["secret", "secretname", "secretnamespace"]
        .iter()
        .any(|end| key.ends_with(end))
}
