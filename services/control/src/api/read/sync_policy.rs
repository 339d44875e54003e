//! `spec.sync` of a request as a domain type.

use vcluster_proto::control::v1 as wire;
use vcluster_resources::SyncPolicy;

use super::{Findings, custom_resources};

/// Reads it.
pub(in crate::api) fn read(findings: &mut Findings, wish: wire::SyncPolicy) -> SyncPolicy {
    SyncPolicy {
        custom_resources: custom_resources::read(findings, wish.custom_resources),
    }
}
