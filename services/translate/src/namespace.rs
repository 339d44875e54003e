//! Namespaces of a virtual cluster: only read, for their labels, which pods bear on the host.

use crate::kind::{Api, Description, Inside, Outside, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::read_only(
    Api::core("Namespace", "namespaces", Scope::Cluster).short(&["ns"]),
    Inside::Everything,
    Outside::Nothing,
);
