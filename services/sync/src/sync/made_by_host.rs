//! Secrets and ConfigMaps that a controller of the host makes for a tenant's object: they come up.
//!
//! Nobody watches Secrets of the host. They are read when something is told of the object for which they are made
//! (its status changes with them), and now and then.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::made_by_host;
use vcluster_translate::plan::{self, Action, MadeView};

use super::report::Trouble;
use super::{Next, Step, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Object, Side};
use crate::tenant::Tenant;

/// When to look again for one that is not made yet, at first; later as long as it has been missing, at most [`THERE`].
const MISSING: Duration = Duration::from_secs(10);
/// When to look again at one that is there.
const THERE: Duration = Duration::from_mins(5);

/// Whether an object is made by the host: something says so, or it is the copy of one.
pub(super) fn concerns(tenant: &Tenant, key: &Key, object: Option<&Value>) -> bool {
    tenant.state().made_by_host.is_used(key)
        || object.is_some_and(|object| made_by_host::is_copy(object, &tenant.context))
}

/// One step about it.
pub(super) async fn step(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    object: Option<&Value>,
) -> Result<Step, Failure> {
    let kind = key.kind;
    let is_named = tenant.state().made_by_host.is_used(key);
    let name = tenant.name_on(Side::Host, key);
    let host = tenant
        .read(Side::Host, kind, &name)
        .await?
        .map(Object::into_json);
    let view = MadeView {
        name: (&key.name.namespace, &key.name.name),
        object,
        host: host.as_ref(),
        is_named,
        knowledge: tenant.knows(kind, true),
    };
    match plan::made_by_host(kind, view, &tenant.context) {
        Action::Nothing => {
            let is_there = host.is_some() && object.is_some();
            let is_news = tenant.state().set_made_there(key, is_there);
            tenant.come_to_rest(key);
            if is_news {
                tenant.wake_users(key);
            }
            if is_named && !is_there {
                let missing = tenant.state().made_missing(key).elapsed();
                let pause = missing.clamp(MISSING, THERE);
                let message = "the host's controller that makes it has not made it yet";
                let hold = Hold::waits("NotMadeYet", message);
                return Ok(Step::Held(hold, Next::Until(Instant::now() + pause)));
            }
            let next = if is_there {
                Next::Until(Instant::now() + THERE)
            } else {
                Next::Settled
            };
            Ok(Step::Done(next))
        }
        Action::Wait(waiting) => Ok(waits(&waiting)),
        Action::Refuse(refusal) => {
            let trouble = Trouble::passing(refusal);
            Ok(tenant.park(engine, key, object, trouble).await)
        }
        Action::Create(wanted) => {
            let made = tenant.create(Side::Virtual, kind, &wanted).await?;
            tenant.take_note(Side::Virtual, key, &made);
            Ok(Step::Again)
        }
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteVirtual(delete) => {
            tenant.state().set_made_there(key, false);
            tenant.confirm_store().await?;
            tenant.remove(Side::Virtual, key, &delete).await
        }
        // Ours, in the way of the host's.
        Action::DeleteHost(delete) => tenant.remove(Side::Host, key, &delete).await,
        // Nothing of these is written to the host.
        Action::PatchHost(_) | Action::Bind(_) => Ok(Step::Done(Next::Settled)),
    }
}
