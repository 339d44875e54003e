//! Objects that go to the host as the descriptions of their kinds say.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::kind::{Need, Outside, ToHost};
use vcluster_translate::plan::{self, Action, View, Waiting};
use vcluster_translate::{Change, Context, annotation, service};

use super::report::Trouble;
use super::{Next, Step, made_by_host, until};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::object::{Key, Kind, Object, Side};
use crate::tenant::Tenant;

/// What a tenant is told whose change the host's API server took and left out: an older version, or a webhook.
const NOT_KEPT: &str = "the host cluster does not keep what was changed: its version may be older";
/// The longest that a reservation is believed.
const LONGEST: Duration = Duration::from_mins(2);

/// One step about an object. What is confidential is not kept in memory longer than it is worked on, however
/// that ends: waiting, refused or failed.
pub(super) async fn step(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    rules: &ToHost,
) -> Result<Step, Failure> {
    let step = decide(engine, tenant, key, rules).await;
    if key.kind.description().confidential && !matches!(step, Ok(Step::Again)) {
        let mut state = tenant.state();
        state.bodies.drop(Side::Virtual, key);
        state.bodies.drop(Side::Host, key);
    }
    step
}

async fn decide(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    rules: &ToHost,
) -> Result<Step, Failure> {
    let kind = key.kind;
    if !tenant.state().is_served(Side::Host, kind) {
        return unserved(engine, tenant, key).await;
    }
    let need = kind.description().need;
    let needed = need == Need::Always || tenant.state().references.is_used(key);
    let object = tenant.see(Side::Virtual, key).await?;
    if need == Need::Used && made_by_host::concerns(tenant, key, object.as_ref()) {
        return made_by_host::step(engine, tenant, key, object.as_ref()).await;
    }
    let host = tenant.see(Side::Host, key).await?;
    let view = View {
        object: object.as_ref(),
        host: host.as_ref(),
        needed,
        knowledge: tenant.knows(kind, needed),
    };
    let Some(context) = engine.context(tenant, kind, object.as_ref()) else {
        return Ok(Step::Done(until(&Waiting::Lists)));
    };
    let action = plan::to_host(kind, rules, view, &context);
    if let Some(at) = host
        .as_ref()
        .and_then(|host| service::reservation(object.as_ref(), host, &action))
        .and_then(|until| later(engine, until))
    {
        return Ok(Step::Done(Next::Until(at)));
    }
    let wrote = match action {
        Action::Nothing => {
            if kind == Kind::Service {
                tenant.follow_links(&key.name.namespace).await?;
            }
            tenant.come_to_rest(key);
            return Ok(Step::Done(Next::Settled));
        }
        Action::Wait(waiting) => {
            if matches!(kind.description().outside, Outside::Scanned) {
                // Nobody tells of it: it is read when its time comes.
                tenant.state().doubt(Side::Host, key);
            }
            return Ok(Step::Done(until(&waiting)));
        }
        Action::Refuse(refusal) => {
            let trouble = Trouble::ours(&refusal);
            return Ok(tenant.park(engine, key, object.as_ref(), trouble).await);
        }
        Action::Create(wanted) => {
            let made = tenant.create(Side::Host, kind, &wanted).await;
            if made.is_ok() {
                tell_kept(engine, tenant, key, object.as_ref(), &wanted).await;
                tenant.state().set_problem(key, None);
                tenant.wake_users(key);
            }
            made
        }
        Action::PatchHost(patch) => {
            let name = tenant.name_on(Side::Host, key);
            let patched = tenant.patch(Side::Host, kind, &name, &patch).await;
            if patched.is_ok() {
                tell_kept(engine, tenant, key, object.as_ref(), &patch.body).await;
            }
            if let (Ok(there), Some(object)) = (&patched, &object)
                && let Ok(Change::Patch(again)) = (rules.update)(object, there.json(), &context)
                && again == patch
            {
                tenant.take_note(Side::Host, key, there);
                let trouble = Trouble::hosts(NOT_KEPT);
                return Ok(tenant.park(engine, key, Some(object), trouble).await);
            }
            patched
        }
        Action::PatchVirtual(patch) => {
            let patched = tenant.patch(Side::Virtual, kind, &key.name, &patch).await?;
            tenant.take_note(Side::Virtual, key, &patched);
            return Ok(Step::Again);
        }
        Action::DeleteHost(delete) => return tenant.remove(Side::Host, key, &delete).await,
        // Not by these rules.
        Action::Bind(_) | Action::DeleteVirtual(_) => return Ok(Step::Done(Next::Settled)),
    };
    written(engine, tenant, key, object.as_ref(), wrote).await
}

/// Says which annotations of an object stay inside, when the note of it was written on the host object: once.
async fn tell_kept(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    object: Option<&Value>,
    written: &Value,
) {
    if let (Some(object), Some(message)) = (object, annotation::kept(written)) {
        let reason = "AnnotationsKeptInside";
        tenant
            .tell(engine, key.kind, object, reason, &message)
            .await;
    }
}

/// What is left of a reservation; nothing if it is over, or nobody can tell.
fn later(engine: &Engine, until: &str) -> Option<Instant> {
    let until: jiff::Timestamp = until.parse().ok()?;
    let left = until.duration_since(engine.clock.now());
    let left = Duration::try_from(left)
        .ok()
        .filter(|left| !left.is_zero())?;
    // No clock is trusted for longer.
    Some(Instant::now() + left.min(LONGEST))
}

/// What follows from the host's answer to a write.
async fn written(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    object: Option<&Value>,
    answer: Result<Object, Failure>,
) -> Result<Step, Failure> {
    match answer {
        Ok(there) => {
            tenant.take_note(Side::Host, key, &there);
            Ok(Step::Again)
        }
        Err(Failure::Refused { message, .. }) => Ok(tenant
            .park(engine, key, object, Trouble::hosts(&message))
            .await),
        Err(failure) => Err(failure),
    }
}

/// The host does not serve the kind: the tenant is told, and nothing is concluded.
async fn unserved(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let Some(object) = tenant.see(Side::Virtual, key).await? else {
        return Ok(Step::Done(Next::Settled));
    };
    let message = format!("the host cluster does not serve {}", key.kind.plural());
    let trouble = Trouble::hosts(&message);
    Ok(tenant.park(engine, key, Some(&object), trouble).await)
}

/// Kinds whose objects may use one of this kind.
pub(super) fn users_of(kind: Kind, context: &Context) -> impl Iterator<Item = Kind> {
    let used = kind.description().need == Need::Used;
    context
        .kinds()
        .filter(move |user| used && user.description().references.is_some())
}
