//! Keeps PriorityClasses and StorageClasses of virtual clusters on the host, where their spec and the host's
//! administrator say so.
//!
//! They live in no namespace, so the tenant's own ServiceAccount, whose rights end at its host namespace, cannot write
//! them: sync does by its own, which the chart gives the right only with the value that allows the classes, and
//! which the policy `vcluster-classes` keeps to objects that bear our marks. One is made when a pod or claim first names
//! it, or at the next look; changes and deletions follow within [`PAUSE`]. What is gone inside is deleted only after a
//! complete list of a virtual cluster that is being worked for, by its UID. What the host changes back is written once a
//! minute, or left as the host has it, and told ([`crate::brake`]). Writes count as the tenant's.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use vcluster_resources::label::{MANAGED, MANAGED_VALUE};
use vcluster_translate::Refusal;
use vcluster_translate::mapping::Step;
use vcluster_translate::own_class::{self, Class, MOST};
use vcluster_translate::refusal::Reason;

use self::requests::{find, get, list, write};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hash::HashMap;
use crate::object::{Name, Side};
use crate::tenant::{Id, Tenant};

mod requests;

/// How often classes are looked at.
const PAUSE: Duration = Duration::from_secs(10);
/// Steps about one class in one look: deleted and made anew, say.
const STEPS: usize = 4;
/// The most classes inside that are read: who makes more has none of them seen to.
const READ: usize = 1000;

/// A class cannot be seen to now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It stays inside.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The host does not let sync write it.
    #[error("{0}")]
    NoRight(String),
    /// It is there, and the host does not let it be as it should.
    #[error(transparent)]
    NotKept(Refusal),
    /// A server does not do it.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Later {
            message: error.to_string(),
            after: None,
            reached: true,
        }
    }
}

/// What becomes of a class that a pod or claim names.
#[derive(Debug)]
pub enum Named {
    /// It is the tenant's own, and on the host under this name.
    OnHost(String),
    /// It is the tenant's own, and stays inside.
    Inside(Refusal),
    /// There is none of that name inside.
    Nothing,
    /// None of the tenant's own: it is shown from the host, or the tenant does not ask for its own to go.
    NotOwn,
}

/// What a tenant was told of its classes.
type Told = HashMap<(Class, String), String>;

/// Keeps them until the tenant's token is cancelled.
pub async fn keep(engine: Arc<Engine>, tenant: Arc<Tenant>) {
    let asked = Class::ALL
        .into_iter()
        .any(|of| own_class::is_asked_for(of, &tenant.context));
    let token = tenant.token.clone();
    let kept = async {
        let (mut told, mut said) = (Told::default(), String::new());
        loop {
            let mut done = tenant.is_active();
            for of in Class::ALL {
                let looked = look(&engine, &tenant, of, &mut told).await;
                let Err(error) = looked else { continue };
                done = false;
                let error = error.to_string();
                if error != said {
                    tracing::warn!(tenant = %tenant.id, kind = %of.kind(), error, "classes are seen to later");
                    said = error;
                }
            }
            if done && !asked {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    token.run_until_cancelled(kept).await;
}

/// Looks at each class inside, and at each on the host. What is gone inside goes once it is sure that the store is the
/// one that held it.
async fn look(engine: &Engine, tenant: &Tenant, of: Class, told: &mut Told) -> Result<(), Error> {
    let context = &tenant.context;
    // What is on the host is not known before.
    if !tenant.is_active() || !engine.is_listed(of.kind()) {
        return Ok(());
    }
    let there = on_host(engine, tenant, of);
    let asked = own_class::is_asked_for(of, context);
    if !asked && there.is_empty() {
        return Ok(());
    }
    let inside = if asked {
        own(list(&tenant.clients.virtual_.request, of, READ).await?)
    } else {
        Vec::new()
    };
    if !tenant.is_active() {
        return Ok(());
    }
    told.retain(|(kind, name), _| *kind != of || inside.iter().any(|class| named(class) == name));
    let mut room = MOST.saturating_sub(there.len());
    let mut failed = None;
    for class in &inside {
        let name = named(class);
        let found = there.get(name).map(|found| &**found);
        match bring(engine, tenant, of, class, found, room > 0).await {
            Ok(()) => {
                told.remove(&(of, name.to_owned()));
                room = room.saturating_sub(usize::from(found.is_none()));
            }
            Err(Error::Refused(refusal) | Error::NotKept(refusal)) => {
                tell(engine, tenant, of, class, &refusal, told).await;
            }
            Err(Error::NoRight(why)) => {
                let refusal = host_refuses(&why);
                tell(engine, tenant, of, class, &refusal, told).await;
                failed = Some(Error::NoRight(why));
            }
            Err(error @ Error::Failed(_)) => failed = Some(error),
        }
    }
    let lives = |name: &str| inside.iter().any(|class| named(class) == name);
    let gone: Vec<_> = there.iter().filter(|(name, _)| !lives(name)).collect();
    if gone.is_empty() {
        return failed.map_or(Ok(()), Err);
    }
    let confirmed = tenant.confirm_store().await;
    confirmed.map_err(|failure| Error::Failed(failure.to_string()))?;
    for (_, found) in gone {
        if tenant.is_active() {
            remove(engine, tenant, of, found).await?;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The host objects of this virtual cluster's classes, by the names that these have inside.
fn on_host(engine: &Engine, tenant: &Tenant, of: Class) -> HashMap<String, Arc<Value>> {
    let names = engine.mirrored_names(of.kind()).into_iter();
    let found = names.filter_map(|name| {
        let found = engine.mirrored(of.kind(), &name)?;
        let own = own_class::of_ours(of, &found, &tenant.context)?.to_owned();
        Some((own, found))
    });
    found.collect()
}

/// Those that are the tenant's, and not copies of the host's or every API server's own.
fn own(all: Vec<Value>) -> Vec<Value> {
    let is_own = |class: &Value| {
        let label = class
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(MANAGED)?.as_str());
        label != Some(MANAGED_VALUE) && !named(class).starts_with("system-")
    };
    all.into_iter().filter(is_own).collect()
}

fn named(class: &Value) -> &str {
    class["metadata"]["name"].as_str().unwrap_or_default()
}

fn host_refuses(why: &str) -> Refusal {
    Refusal {
        reason: Reason::HostRefused,
        field: "host".to_owned(),
        message: why.to_owned(),
    }
}

/// Says once why a class stays inside.
async fn tell(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    class: &Value,
    refusal: &Refusal,
    told: &mut Told,
) {
    let key = (of, named(class).to_owned());
    let message = refusal.to_string();
    if told.get(&key) == Some(&message) {
        return;
    }
    let api = of.kind().description().api;
    let reason = refusal.reason.as_str();
    if tenant
        .tell_of(engine, (api.version(), api.kind), class, reason, &message)
        .await
    {
        told.insert(key, message);
    }
}

/// What becomes of the class of that name, which a pod or claim names: one that goes to the host and is not there is made.
///
/// # Errors
/// A server does not answer, or does not make it.
pub async fn ensure(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    name: &str,
) -> Result<Named, Error> {
    let (kind, context) = (of.kind(), &tenant.context);
    if name.is_empty() || !own_class::is_asked_for(of, context) {
        return Ok(Named::NotOwn);
    }
    let host_name = own_class::name(name, context);
    let known = engine.mirrored(kind, &host_name);
    if known.is_some_and(|known| own_class::of_ours(of, &known, context) == Some(name)) {
        return Ok(Named::OnHost(host_name));
    }
    let failed = |failure: Failure| Error::Failed(failure.to_string());
    let inside = Name::new("", name);
    let found = tenant.read(Side::Virtual, kind, &inside).await;
    let Some(class) = found.map_err(failed)? else {
        return Ok(Named::Nothing);
    };
    let Some(class) = own(vec![class.into_json()]).pop() else {
        return Ok(Named::NotOwn);
    };
    let host = &engine.host.own.request;
    let there = tenant.in_turn(Side::Host, find(host, of, &host_name)).await;
    let there = there
        .map_err(failed)?
        .map_err(|error| requests::failed(&error))?;
    let has_room = on_host(engine, tenant, of).len() < MOST;
    match bring(engine, tenant, of, &class, there.as_ref(), has_room).await {
        // The host may have its own mind about it, as of one that it was given earlier.
        Ok(()) | Err(Error::NotKept(_)) => Ok(Named::OnHost(host_name)),
        Err(Error::Refused(refusal)) => Ok(Named::Inside(refusal)),
        Err(error @ (Error::NoRight(_) | Error::Failed(_))) => Err(error),
    }
}

/// Brings the host's object up to the class; one that may not be there goes, and no new one is made without room.
async fn bring(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    class: &Value,
    there: Option<&Value>,
    has_room: bool,
) -> Result<(), Error> {
    let context = &tenant.context;
    let wanted = match own_class::to_host(of, class, context) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            if let Some(there) = there {
                remove(engine, tenant, of, there).await?;
            }
            return Err(refusal.into());
        }
    };
    if there.is_none() && !has_room {
        return Err(own_class::too_many(of).into());
    }
    let mut there = there.cloned();
    let name = own_class::name(named(class), context);
    let mut made = false;
    for _ in 0..STEPS {
        let step = own_class::step(of, Some(wanted.clone()), there.as_ref(), context)?;
        if matches!(step, Step::Nothing) {
            return Ok(());
        }
        let creates = matches!(step, Step::Create(_));
        made = lasting(engine, tenant, of, &name, step, (&wanted, made)).await? && creates;
        there = get(&engine.host.own.request, of, &name).await?;
    }
    Err(Error::Failed(format!("{name} changes again and again")))
}

/// Does a step, unless the same was done and did not last: a patch is sent once a minute, and one that can only be made
/// anew is deleted once for what is `wanted`, and not where it has just been `made`. False if somebody else did something
/// in between.
async fn lasting(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    name: &str,
    step: Step,
    (wanted, made): (&Value, bool),
) -> Result<bool, Error> {
    let (kind, side, place) = (of.kind(), Side::Host, Name::new("", name));
    match step {
        Step::Nothing => Ok(true),
        step @ Step::Create(_) => written(engine, tenant, of, name, step).await,
        Step::Patch(patch) => {
            let may = tenant.may_patch(side, kind, &place, &patch);
            may.map_err(|failure| Error::NotKept(host_refuses(&failure.to_string())))?;
            written(engine, tenant, of, name, Step::Patch(patch.clone())).await?;
            tenant.brake.took(side, kind, &place, &patch);
            Ok(true)
        }
        Step::Delete(delete) => {
            if !tenant.may_replace(side, kind, &place, wanted, made) {
                return Err(Error::NotKept(own_class::not_kept(of, name)));
            }
            let done = written(engine, tenant, of, name, Step::Delete(delete)).await?;
            if done {
                tenant.brake.replaced(side, kind, &place, wanted);
            }
            Ok(done)
        }
    }
}

/// Writes as often as the tenant may.
async fn written(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    name: &str,
    step: Step,
) -> Result<bool, Error> {
    tenant.allowed(Side::Host).await;
    tenant.wrote(Side::Host);
    write(&engine.host.own.request, of, name, step).await
}

async fn remove(engine: &Engine, tenant: &Tenant, of: Class, there: &Value) -> Result<(), Error> {
    let name = named(there);
    let step = own_class::step(of, None, Some(there), &tenant.context)?;
    written(engine, tenant, of, name, step).await?;
    let place = Name::new("", name);
    tenant.brake.release(Side::Host, of.kind(), &place);
    Ok(())
}

/// A volume of the host under the name that its class has inside, if that is one of the tenant's own.
pub fn named_inside(engine: &Engine, tenant: &Tenant, volume: Arc<Value>) -> Arc<Value> {
    let of = Class::Storage;
    let name = volume["spec"]["storageClassName"].as_str();
    let name = name.filter(|name| own_class::is_host_name(of.kind(), name));
    let Some(name) = name else {
        return volume;
    };
    let class = engine.mirrored(of.kind(), name);
    let Some(own) = own_class::named_inside(of, name, class.as_deref(), &tenant.context) else {
        return volume;
    };
    let mut renamed = Value::clone(&volume);
    renamed["spec"]["storageClassName"] = own.into();
    Arc::new(renamed)
}

/// Removes what is left of a virtual cluster that is gone. Looks at everything, as somebody may have taken labels off.
///
/// # Errors
/// A server does not answer, or does not let us: what is left stays.
pub async fn sweep(host: &Client, id: &Id) -> Result<(), Error> {
    for of in Class::ALL {
        for found in list(host, of, usize::MAX).await? {
            if own_class::is_of(of, &found, &id.uid) {
                let delete = own_class::removal(&found);
                tracing::info!(tenant = %id, kind = %of.kind(), name = named(&found), "class is removed");
                write(host, of, named(&found), delete).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
