//! Custom resources of the host that are shown inside: those of the host namespace, and shared ones.

use vcluster_translate::plan::{self, Action, ShownView};

use super::{Next, Step, knowledge, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Side};
use crate::tenant::{About, Subject, Tenant};

/// One step about an object.
pub(super) async fn step(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let kind = key.kind;
    let synced = kind
        .custom()
        .and_then(|custom| tenant.context.custom.get(custom));
    let Some(synced) = synced.filter(|_| tenant.state().is_served(Side::Virtual, kind)) else {
        return Ok(Step::Done(Next::Settled));
    };
    let (host, known) = if kind.is_mirrored() {
        let host = engine.mirrored(kind, &key.name.name);
        (host, tenant.knows_mirrored(engine, kind))
    } else {
        let host = tenant.see(Side::Host, key).await?;
        let state = tenant.state();
        let listed = [Side::Virtual, Side::Host]
            .into_iter()
            .all(|side| state.is_listed(side, kind) && state.is_served(side, kind));
        drop(state);
        (host, knowledge(listed && tenant.link.is_up()))
    };
    let found = tenant.see(Side::Virtual, key).await?;
    let view = ShownView {
        host: host.as_deref(),
        found: found.as_deref(),
        knowledge: known,
    };
    match plan::shown(synced, view, &tenant.context) {
        Action::Nothing => {
            tenant.state().settle(key);
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(waiting) => Ok(waits(&waiting)),
        Action::Refuse(refusal) => {
            tracing::debug!(tenant = %tenant.id, %key, %refusal, "not shown");
            Ok(Step::Held(Hold::refusal(&refusal), Next::Settled))
        }
        Action::Create(wanted) => match tenant.create(Side::Virtual, kind, &wanted).await {
            Ok(made) => {
                tenant.note(About::Custom(kind, Subject::Inside), None);
                tenant.take_note(Side::Virtual, key, &made);
                Ok(Step::Again)
            }
            Err(Failure::Gone) => {
                let namespace = &key.name.namespace;
                let message =
                    format!("the virtual namespace {namespace:?} is not there: create it");
                tenant.note(About::Custom(kind, Subject::Inside), Some(&message));
                Err(Failure::Gone)
            }
            Err(failure) => Err(failure),
        },
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteVirtual(delete) => tenant.remove(Side::Virtual, key, &delete).await,
        // Nothing of these is written to the host.
        Action::PatchHost(_) | Action::Bind(_) | Action::DeleteHost(_) => {
            Ok(Step::Done(Next::Settled))
        }
    }
}
