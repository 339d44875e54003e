//! Objects that go to the host as the descriptions of their kinds say.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::kind::{Need, Outside, ToHost};
use vcluster_translate::plan::{self, Action, View, Waiting};
use vcluster_translate::refusal::Reason;
use vcluster_translate::{Context, Refusal, annotation, class, service};

use super::report::Trouble;
use super::{Next, Step, made_by_host, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Kind, Object, Side};
use crate::tenant::Tenant;

/// The longest that a reservation lasts: one that is to end later was made by a clock that is wrong.
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
    if !matches!(step, Ok(Step::Again)) {
        tenant.drop_confidential(key);
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
    if need == Need::Used && made_by_host::concerns(tenant, key, object.as_deref()) {
        return made_by_host::step(engine, tenant, key, object.as_deref()).await;
    }
    // Who uses what is gone inside does not matter.
    let is_told = needed || object.is_none();
    if !is_told && tenant.context.custom.is_partial() {
        return Ok(Step::Done(Next::Settled));
    }
    let host = tenant.see(Side::Host, key).await?;
    let view = View {
        object: object.as_deref(),
        host: host.as_deref(),
        needed,
        knowledge: tenant.knows(kind, is_told),
    };
    let Some(context) = engine.context(tenant, kind, object.as_deref()) else {
        return Ok(waits(&Waiting::Lists));
    };
    if host.as_deref().is_some_and(service::is_reserved) {
        // The webhook has written it for a request: what this engine wrote before may follow that.
        let name = tenant.name_on(Side::Host, key);
        tenant.brake.forget(Side::Host, kind, &name);
    }
    let action = plan::to_host(kind, rules, view, &context);
    if let Some(step) = reserved(engine, object.as_deref(), host.as_deref(), &action) {
        return Ok(step);
    }
    if let (Action::Create(_) | Action::PatchHost(_), Some(object)) = (&action, &object)
        && let Err(refusal) = check_classes(engine, tenant, kind, object)
    {
        let trouble = Trouble::passing(refusal);
        return Ok(tenant.park(engine, key, Some(object), trouble).await);
    }
    let failure = match action {
        Action::Nothing => {
            let next = match &object {
                Some(service) if kind == Kind::Service => {
                    variables(engine, tenant, key, service).await?
                }
                Some(_) | None => Next::Settled,
            };
            tenant.come_to_rest(key);
            return Ok(Step::Done(next));
        }
        Action::Wait(waiting) => {
            if matches!(kind.description().outside, Outside::Scanned) {
                // Nobody tells of it: it is read when its time comes.
                tenant.state().doubt(Side::Host, key);
            }
            return Ok(waits(&waiting));
        }
        Action::Refuse(refusal) => {
            let trouble = Trouble::ours(&refusal);
            return Ok(tenant.park(engine, key, object.as_deref(), trouble).await);
        }
        Action::Create(wanted) => match tenant.create(Side::Host, kind, &wanted).await {
            Ok(made) => {
                tenant.state().set_problem(key, None);
                tenant.take_note(Side::Host, key, &made);
                tenant.wake_users(key);
                let object = object.as_deref();
                tell_kept(engine, tenant, key, object, &wanted).await;
                let answer = (&made, &wanted);
                return accept(engine, tenant, key, rules, object, answer, &context).await;
            }
            Err(failure) => failure,
        },
        Action::PatchHost(patch) => match tenant.patched(Side::Host, key, &patch).await {
            Ok(patched) => {
                let object = object.as_deref();
                tell_kept(engine, tenant, key, object, &patch.body).await;
                let answer = (&patched, &patch.body);
                let step = accept(engine, tenant, key, rules, object, answer, &context).await;
                // The note that it is accepted is no other change.
                let name = tenant.name_on(Side::Host, key);
                tenant.brake.took(Side::Host, kind, &name, &patch);
                return step;
            }
            Err(failure) => failure,
        },
        Action::PatchVirtual(patch) => return tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteHost(delete) => return tenant.remove(Side::Host, key, &delete).await,
        // Not by these rules.
        Action::Bind(_) | Action::DeleteVirtual(_) => return Ok(Step::Done(Next::Settled)),
    };
    let step = refused(engine, tenant, key, object.as_deref(), failure).await?;
    if let (Some(object), Some(host), Some(status)) = (&object, &host, rules.status) {
        // A change that the host will not take does not hold the status up.
        tenant.raise(key, status(host, object, &context)).await?;
    }
    Ok(step)
}

/// Has the variables of the Service's namespace follow it. Too many of them are no fault of this one: it is told of,
/// and its pods say what to do.
async fn variables(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    service: &Value,
) -> Result<Next, Failure> {
    match tenant.follow_links(&key.name.namespace).await {
        Ok(at) => Ok(at.map_or(Next::Settled, Next::Until)),
        Err(failure @ (Failure::Refused { .. } | Failure::Ours(_))) => {
            let message = failure.to_string();
            tracing::warn!(tenant = %tenant.id, %key, message, "variables are not kept up to date");
            let reason = if let Failure::Ours(refusal) = &failure {
                refusal.reason
            } else {
                Reason::HostRefused
            };
            tenant
                .tell(engine, key.kind, service, reason.as_str(), &message)
                .await;
            Ok(Next::Settled)
        }
        Err(failure) => Err(failure),
    }
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

/// Has the host object bear that what the host made of a write is accepted, where the kind has that; and says so inside.
async fn accept(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    rules: &ToHost,
    object: Option<&Value>,
    (answer, written): (&Object, &Value),
    context: &Context,
) -> Result<Step, Failure> {
    let accepted = rules
        .accept
        .zip(object)
        .and_then(|(accept, object)| accept(object, answer.json(), written, context));
    if let (Some(accepted), Some(object)) = (accepted, object) {
        tenant.patched(Side::Host, key, &accepted.patch).await?;
        let (reason, message) = ("WrittenOtherwise", &accepted.message);
        tenant.tell(engine, key.kind, object, reason, message).await;
    }
    Ok(Step::Again)
}

/// Whether the classes that an object names may be used.
pub(super) fn check_classes(
    engine: &Engine,
    tenant: &Tenant,
    kind: Kind,
    object: &Value,
) -> Result<(), Refusal> {
    class::check(kind, object, |class, name| {
        engine.class_standing(tenant, class, name)
    })
}

/// Waits where a step would undo what is reserved for a request that may still be under way.
fn reserved(
    engine: &Engine,
    object: Option<&Value>,
    host: Option<&Value>,
    action: &Action<Value>,
) -> Option<Step> {
    let at = later(engine, service::reservation(object, host?, action)?)?;
    let message = "its address on the host is reserved by a request that may still be under way";
    let hold = Hold::waits("Reservation", message);
    Some(Step::Held(hold, Next::Until(at)))
}

/// What is left of a reservation; nothing if it is over, or nobody can tell: so a wrong clock cannot keep addresses.
fn later(engine: &Engine, until: &str) -> Option<Instant> {
    let until: jiff::Timestamp = until.parse().ok()?;
    let left = until.duration_since(engine.clock.now());
    let left = Duration::try_from(left)
        .ok()
        .filter(|left| !left.is_zero())?;
    if left > LONGEST {
        tracing::warn!(%until, "a reservation of a Service is over: it ends too late to be true, so look at the clocks of sync's nodes");
        return None;
    }
    Some(Instant::now() + left)
}

/// What follows from a write that the host did not do.
pub(super) async fn refused(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    object: Option<&Value>,
    failure: Failure,
) -> Result<Step, Failure> {
    let trouble = Trouble::of_write(failure)?;
    Ok(tenant.park(engine, key, object, trouble).await)
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
