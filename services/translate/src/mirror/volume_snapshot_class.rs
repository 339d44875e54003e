//! VolumeSnapshotClasses: the host's, as a virtual cluster sees them, where the host has a driver that takes snapshots.
//!
//! | shown | left out |
//! |---|---|
//! | name, labels, annotations (so also which is the default) | kubectl's last applied |
//! | driver, deletion policy | parameters: they say how the host's storage is reached, and name Secrets |

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "snapshot.storage.k8s.io",
        "v1",
        "VolumeSnapshotClass",
        "volumesnapshotclasses",
        Scope::Cluster,
    )
    .short(&["vsclass", "vsclasses"]),
    FromHost {
        // Each is required, and changed by nobody: another class of the same name is another class.
        frozen: &["/driver", "/deletionPolicy"],
        ..FromHost::new(&["driver", "deletionPolicy"])
    },
)
.defined();
