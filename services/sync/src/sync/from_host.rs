//! Objects of the host that are shown inside as the descriptions of their kinds say.

use std::time::Duration;

use tokio::time::Instant;
use vcluster_translate::Refusal;
use vcluster_translate::kind::FromHost;
use vcluster_translate::plan::{self, Action};

use super::{Next, Step, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Side};
use crate::tenant::Tenant;

/// When an object of the tenant's own is looked at again that bears the name of one of the host's.
const IN_THE_WAY: Duration = Duration::from_mins(1);

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
    let (host, found) = (host.as_deref(), found.as_deref());
    match plan::from_host(kind, rules, host, found, knowledge, &tenant.context) {
        Action::Nothing => {
            tenant.state().settle(key);
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(waiting) => Ok(waits(&waiting)),
        Action::Refuse(refusal) => {
            tracing::debug!(tenant = %tenant.id, %key, %refusal, "not shown");
            Ok(in_the_way(tenant, key, &refusal))
        }
        Action::Create(wanted) => {
            let made = tenant.create(Side::Virtual, kind, &wanted).await?;
            tenant.take_note(Side::Virtual, key, &made);
            Ok(Step::Again)
        }
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteVirtual(delete) => tenant.remove(Side::Virtual, key, &delete).await,
        // Nothing of these is written to the host.
        Action::PatchHost(_) | Action::Bind(_) | Action::DeleteHost(_) => {
            Ok(Step::Done(Next::Settled))
        }
    }
}

/// The tenant has an object of its own of that name. Nobody tells when that goes: it is read when its time comes.
pub(super) fn in_the_way(tenant: &Tenant, key: &Key, refusal: &Refusal) -> Step {
    tenant.state().doubt(Side::Virtual, key);
    let next = Next::Until(Instant::now() + IN_THE_WAY);
    Step::Held(Hold::refusal(refusal), next)
}
