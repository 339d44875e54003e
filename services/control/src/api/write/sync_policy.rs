//! `spec.sync` as the wire has it.

use vcluster_proto::control::v1 as wire;
use vcluster_resources::SyncPolicy;

use super::custom_resources;

/// A policy.
pub(super) fn write(policy: &SyncPolicy) -> wire::SyncPolicy {
    wire::SyncPolicy {
        custom_resources: custom_resources::write(&policy.custom_resources),
    }
}
