//! What of a virtual cluster is synced, and how: `spec.sync`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::custom_resource::CustomResource;

/// What is synced.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncPolicy {
    /// Kinds that CustomResourceDefinitions of the host define, one rule each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["group", "plural"])
    )]
    pub custom_resources: Vec<CustomResource>,
}

impl SyncPolicy {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
