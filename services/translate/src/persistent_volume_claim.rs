//! PersistentVolumeClaims: down to the host, which provides the volume; their binding and status up.
//!
//! The host alone binds, provisions and expands. What becomes of each field (1.37):
//!
//! | field | on the host |
//! |---|---|
//! | `accessModes`, `resources`, `volumeMode`, `storageClassName`, `volumeAttributesClassName` | pass: absent is the host's default class, the empty string no class; later changes of `resources` and `volumeAttributesClassName` follow |
//! | `dataSource`, `dataSourceRef` | host names, of claims and VolumeSnapshots of the same namespace; others refused |
//! | `volumeName` | never passes; one that the host has not bound to this very claim is refused |
//! | `selector` | refused: it chooses among the host's volumes |
//! | labels | namespaced, as on pods |
//! | annotations | a short list: what provisioners of the host read, they do with their own rights |
//! | finalizers | stay: each side protects its own object |
//!
//! Back come `volumeName` (once its PersistentVolume is shown), the class that the host chose, and
//! the whole status: phase, capacity, access modes, conditions, resizing. Whether pods use the claim
//! (condition `Unused`) is for the virtual cluster to say, as are conditions of controllers inside.

mod status;
mod to_host;

pub use status::{bind, is_bound, lost, names, status_to_virtual, volume};
pub use to_host::{is_anothers, is_of_pod, is_of_snapshot, no_snapshots, to_host, update_host};

use crate::kind::{Api, Bespoke, Description, Inside, Outside, Scope};

/// Its row in the table of kinds. Its binding goes both ways, by rules of its own.
pub const KIND: Description = Description::bespoke(
    Bespoke::PersistentVolumeClaim,
    Api::core(
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        Scope::Namespaced,
    )
    .short(&["pvc"]),
    Inside::Everything,
    Outside::Translated,
);
/// Name of the kind.
const NAME: &str = KIND.api.kind;

#[cfg(test)]
mod tests;
