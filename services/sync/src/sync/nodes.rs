//! Nodes: the host's, shown inside under their own names, as far as the policy goes and pods run on them.

use std::sync::Arc;

use serde_json::Value;
use vcluster_translate::plan::{self, Action};
use vcluster_translate::policy;

use super::from_host::in_the_way;
use super::{Next, Step, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::object::{Key, Kind, Side};
use crate::tenant::Tenant;

/// One step about a node.
pub(super) async fn step(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let used = tenant.state().nodes.is_used(&key.name.name);
    let shown = |node: &Arc<Value>| policy::shows_node(node, used, &tenant.context);
    let host = engine.node(&key.name.name).filter(shown);
    let found = tenant.see(Side::Virtual, key).await?;
    let knowledge = tenant.knows_mirrored(engine, Kind::Node);
    match plan::node(
        host.as_deref(),
        found.as_deref(),
        knowledge,
        &tenant.context,
    ) {
        Action::Nothing => {
            tenant.state().settle(key);
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(waiting) => Ok(waits(&waiting)),
        Action::Refuse(refusal) => {
            tracing::debug!(tenant = %tenant.id, %key, %refusal, "node is not shown");
            Ok(in_the_way(tenant, key, &refusal))
        }
        Action::Create(node) => {
            let made = tenant.create(Side::Virtual, Kind::Node, &node).await?;
            tenant.take_note(Side::Virtual, key, &made);
            Ok(Step::Again)
        }
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteVirtual(delete) => tenant.remove(Side::Virtual, key, &delete).await,
        // Nothing of a node is written to the host.
        Action::PatchHost(_) | Action::Bind(_) | Action::DeleteHost(_) => {
            Ok(Step::Done(Next::Settled))
        }
    }
}
