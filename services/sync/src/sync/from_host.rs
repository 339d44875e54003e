//! Objects of the host that are shown inside as the descriptions of their kinds say.

use vcluster_translate::kind::FromHost;
use vcluster_translate::plan::{self, Action};

use super::{Next, Step, until};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::object::{Key, Side};
use crate::tenant::Tenant;

/// One step about an object.
pub(super) async fn step(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    rules: &FromHost,
) -> Result<Step, Failure> {
    let kind = key.kind;
    if !tenant.state().is_served(Side::Virtual, kind) {
        return Ok(Step::Done(Next::Settled));
    }
    let host = engine.mirrored(kind, &key.name.name);
    let found = tenant.see(Side::Virtual, key).await?;
    let knowledge = tenant.knows_mirrored(engine, kind);
    let (host, found) = (host.as_deref(), found.as_ref());
    match plan::from_host(kind, rules, host, found, knowledge, &tenant.context) {
        Action::Nothing => {
            tenant.state().settle(key);
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(waiting) => Ok(Step::Done(until(&waiting))),
        Action::Refuse(refusal) => {
            tracing::debug!(tenant = %tenant.id, %key, %refusal, "not shown");
            Ok(Step::Done(Next::Settled))
        }
        Action::Create(wanted) => {
            let made = tenant.create(Side::Virtual, kind, &wanted).await?;
            tenant.take_note(Side::Virtual, key, &made);
            Ok(Step::Again)
        }
        Action::PatchVirtual(patch) => {
            let patched = tenant.patch(Side::Virtual, kind, &key.name, &patch).await?;
            tenant.take_note(Side::Virtual, key, &patched);
            Ok(Step::Again)
        }
        Action::DeleteVirtual(delete) => tenant.remove(Side::Virtual, key, &delete).await,
        // Nothing of these is written to the host.
        Action::PatchHost(_) | Action::Bind(_) | Action::DeleteHost(_) => {
            Ok(Step::Done(Next::Settled))
        }
    }
}
