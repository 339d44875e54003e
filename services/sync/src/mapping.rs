//! Keeps what `spec.sync` maps one by one: ConfigMaps, Secrets and Services of the host shown inside, and Services of
//! the virtual cluster shown outside.
//!
//! Looked at every few seconds, each by itself, so that one that cannot be read keeps none of the others. The host is
//! read by the tenant's own ServiceAccount: what lies in another namespace is read only where an administrator there
//! lets that account. What cannot be read is neither changed nor deleted; what is gone, or not shared any more, goes.
//! What waits, and for what, is said in the condition `SyncReady`. What somebody changes back is written once a minute
//! ([`crate::brake`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use serde_json::Value;
use vcluster_resources::SyncPolicy;
use vcluster_resources::label::{SHAREABLE, SHAREABLE_VALUE};
use vcluster_resources::layout::TENANT_SERVICE_ACCOUNT;
use vcluster_resources::sync_policy::{HostObject, VirtualObject};
use vcluster_translate::mapping::{self, Step};
use vcluster_translate::plan::{Cause, Delete};

use crate::apply::{Failure, with_causes};
use crate::deadline::{REQUEST, within};
use crate::managed;
use crate::object::page::Listed;
use crate::object::{Key, Kind, Name, Object, Side};
use crate::tenant::{About, Tenant};

/// How often the host is looked at.
const PAUSE: Duration = Duration::from_secs(10);
/// Objects per page of a list. Each may have a megabyte.
const PAGE: usize = 20;
/// Steps about one mapping in one look: deleted and made anew, say.
const STEPS: usize = 4;

/// One object that is mapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Mapping {
    /// Of the host, shown inside.
    In {
        kind: Kind,
        from: HostObject,
        to: VirtualObject,
    },
    /// A Service of the virtual cluster, shown outside under a plain name.
    Out { from: VirtualObject, to: String },
}

/// Versions on both sides for which there was nothing left to do.
type Versions = (Option<u64>, Option<u64>);
type Settled = HashMap<Mapping, Versions>;

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In { kind, from, .. } => {
                write!(f, "{kind} {:?} of ", from.name)?;
                match &from.namespace {
                    Some(namespace) => write!(f, "namespace {namespace:?} of the host"),
                    None => f.write_str("the host namespace"),
                }
            }
            Self::Out { from, .. } => write!(f, "Service {}/{} inside", from.namespace, from.name),
        }
    }
}

/// Everything that a policy maps.
fn all(policy: &SyncPolicy) -> Vec<Mapping> {
    let shown = mapping::KINDS.into_iter().flat_map(|kind| {
        let rule = policy.from_host.get(kind.plural());
        let mappings = rule
            .map(|rule| rule.mappings.as_slice())
            .unwrap_or_default();
        mappings.iter().map(move |mapping| Mapping::In {
            kind,
            from: mapping.from.clone(),
            to: mapping.to.clone(),
        })
    });
    let services = policy.to_host.get(Kind::Service.plural());
    let services = services
        .map(|rule| rule.mappings.as_slice())
        .unwrap_or_default();
    let exported = services.iter().map(|mapping| Mapping::Out {
        from: mapping.from.clone(),
        to: mapping.to.name.clone(),
    });
    shown.chain(exported).collect()
}

/// Keeps them until the tenant's token is cancelled.
pub async fn keep(tenant: Arc<Tenant>) {
    let mappings = all(&tenant.context.policy);
    let token = tenant.token.clone();
    let kept = async {
        let (mut settled, mut clean) = (Settled::new(), false);
        loop {
            if tenant.is_active() {
                if !clean {
                    clean = sweep(&tenant, &mappings).await;
                }
                let waiting = look(&tenant, &mappings, &mut settled).await;
                let waiting = (!waiting.is_empty()).then(|| waiting.join("; "));
                tenant.note(About::Mappings, waiting.as_deref());
            }
            if clean && mappings.is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    token.run_until_cancelled(kept).await;
}

/// Looks at each, and tells what waits.
async fn look(tenant: &Tenant, mappings: &[Mapping], settled: &mut Settled) -> Vec<String> {
    let mut waiting = Vec::new();
    for mapping in mappings {
        let done = match mapping {
            Mapping::In { kind, from, to } => {
                show(tenant, *kind, from, to, settled.get(mapping).copied()).await
            }
            Mapping::Out { from, to } => export(tenant, from, to).await.map(|()| (None, None)),
        };
        match done {
            Ok(versions) => {
                settled.insert(mapping.clone(), versions);
            }
            Err(why) => {
                settled.remove(mapping);
                tracing::debug!(tenant = %tenant.id, %mapping, why, "mapping waits");
                waiting.push(format!("{mapping}: {why}"));
            }
        }
    }
    waiting
}

/// Brings what is inside up to what is on the host.
async fn show(
    tenant: &Tenant,
    kind: Kind,
    from: &HostObject,
    to: &VirtualObject,
    settled: Option<Versions>,
) -> Result<Versions, String> {
    let host = source(tenant, kind, from).await?;
    let name = Name::new(&to.namespace, &to.name);
    let version = host.as_ref().and_then(Object::version);
    let key = Key {
        kind,
        name: name.clone(),
    };
    let seen = tenant.state().entry(&key).virtual_.seen;
    let now = (version, seen.and_then(|seen| seen.version));
    if now.0.is_some() && now.1.is_some() && settled == Some(now) {
        return Ok(now);
    }
    let (wanted, refused) = match &host {
        None => (
            None,
            Some("the host has none of this name: it is shown when it is there".to_owned()),
        ),
        Some(host) => {
            let place = (to.namespace.as_str(), to.name.as_str());
            match mapping::inside(kind, host.json(), from, place, &tenant.context) {
                Ok(wanted) => (Some(wanted), None),
                Err(error @ mapping::Error::NotShared) => {
                    let namespace = from.namespace.as_deref().unwrap_or_default();
                    let kind = kind.as_str().to_lowercase();
                    let label = format!("{kind} {} {SHAREABLE}={SHAREABLE_VALUE}", from.name);
                    let why = format!("{error}: kubectl -n {namespace} label {label}");
                    (None, Some(why))
                }
                Err(error) => (None, Some(error.to_string())),
            }
        }
    };
    let mut made = false;
    for _ in 0..STEPS {
        let found = read(tenant, Side::Virtual, kind, &name).await?;
        let step = mapping::step_inside(
            kind,
            wanted.clone(),
            found.as_ref().map(Object::json),
            &tenant.context,
        );
        match step.map_err(|error| with_causes(&error))? {
            Step::Nothing => {
                let found = found.as_ref().and_then(Object::version);
                return refused.map_or(Ok((version, found)), Err);
            }
            Step::Delete(delete) if delete.cause == Cause::Replace => {
                replace(tenant, kind, &name, delete, wanted.as_ref(), made).await?;
            }
            step @ (Step::Create(_) | Step::Patch(_) | Step::Delete(_)) => {
                let creates = matches!(step, Step::Create(_));
                made = write(tenant, Side::Virtual, kind, &name, step).await? && creates;
            }
        }
    }
    Err("it changes again and again".to_owned())
}

/// Brings the host Service up to the Service inside.
async fn export(tenant: &Tenant, from: &VirtualObject, to: &str) -> Result<(), String> {
    let inside = Name::new(&from.namespace, &from.name);
    let service = read(tenant, Side::Virtual, Kind::Service, &inside).await?;
    let (wanted, refused) = match service {
        None => {
            // An emptied store has none either.
            let store = tenant.confirm_store().await;
            store.map_err(|failure| with_causes(&failure))?;
            let why = "the virtual cluster has none of this name: it is shown when it is there";
            (None, Some(why.to_owned()))
        }
        Some(service) => match mapping::outside(service.json(), to, &tenant.context) {
            Ok(wanted) => (Some(wanted), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    let name = Name::new(tenant.context.host_namespace.as_str(), to);
    for _ in 0..STEPS {
        let found = read(tenant, Side::Host, Kind::Service, &name).await?;
        let found = found.as_ref().map(Object::json);
        let step = mapping::step_outside(wanted.clone(), found, &tenant.context);
        match step.map_err(|error| with_causes(&error))? {
            Step::Nothing => return refused.map_or(Ok(()), Err),
            step @ (Step::Create(_) | Step::Patch(_) | Step::Delete(_)) => {
                write(tenant, Side::Host, Kind::Service, &name, step).await?;
            }
        }
    }
    Err("it changes again and again".to_owned())
}

async fn read(
    tenant: &Tenant,
    side: Side,
    kind: Kind,
    name: &Name,
) -> Result<Option<Object>, String> {
    let found = tenant.read(side, kind, name).await;
    found.map_err(|failure| with_causes(&failure))
}

/// Deletes an object inside that can only be made anew, unless that was done for this content and did not help, or the
/// one in the way has just been made.
async fn replace(
    tenant: &Tenant,
    kind: Kind,
    name: &Name,
    delete: Delete,
    wanted: Option<&Value>,
    made: bool,
) -> Result<(), String> {
    let wanted = wanted.unwrap_or(&Value::Null);
    let side = Side::Virtual;
    if !tenant.may_replace(side, kind, name, wanted, made) {
        return Err(format!(
            "the virtual cluster changes what cannot be changed later when {name} is made: it is left so; once that is put \
             right, delete it, and it is made anew"
        ));
    }
    if write(tenant, side, kind, name, Step::Delete(delete)).await? {
        tenant.brake.replaced(side, kind, name, wanted);
    }
    Ok(())
}

/// Does a step; false if somebody else did something in between: it is to be looked at again.
async fn write(
    tenant: &Tenant,
    side: Side,
    kind: Kind,
    name: &Name,
    step: Step,
) -> Result<bool, String> {
    let done = match step {
        Step::Nothing => Ok(()),
        Step::Create(object) => tenant.create(side, kind, &object).await.map(drop),
        Step::Patch(patch) => {
            let patched = tenant.patch_lasting(side, kind, name, &patch).await;
            patched.map(drop)
        }
        Step::Delete(delete) => {
            let cause = delete.cause.as_str();
            tracing::info!(tenant = %tenant.id, %kind, %name, ?side, cause, "deletes what was mapped");
            tenant.delete(side, kind, name, &delete).await.map(drop)
        }
    };
    match done {
        Ok(()) => Ok(true),
        Err(Failure::Exists | Failure::Changed) => Ok(false),
        Err(Failure::Gone) => {
            let place = match side {
                Side::Virtual => "virtual cluster",
                Side::Host => "host cluster",
            };
            let namespace = &*name.namespace;
            Err(format!("the {place} has no namespace {namespace:?}"))
        }
        Err(failure) => Err(failure.to_string()),
    }
}

/// Reads the host object. Not by the tenant's own reads: a refusal here says nothing about its own namespace.
async fn source(tenant: &Tenant, kind: Kind, from: &HostObject) -> Result<Option<Object>, String> {
    let own = tenant.context.host_namespace.as_str();
    let namespace = from.namespace.as_deref().unwrap_or(own);
    let plural = kind.plural();
    let path = format!("/api/v1/namespaces/{namespace}/{plural}/{}", from.name);
    let role = format!("shared-with-{own}");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| with_causes(&error))?;
    let answer = tenant.clients.host.0.request::<Value>(request);
    match within(REQUEST, answer).await {
        Ok(json) => Ok(Some(Object::new(json).of_kind(kind))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(format!(
            "ServiceAccount {own}/{TENANT_SERVICE_ACCOUNT} may not get it: an administrator of namespace \
             {namespace:?} allows that by a Role and a RoleBinding: kubectl -n {namespace} create role {role} --verb=get \
             --resource={plural} --resource-name={name}; kubectl -n {namespace} create rolebinding {role} --role={role} \
             --serviceaccount={own}:{TENANT_SERVICE_ACCOUNT}",
            name = from.name,
        )),
        Err(error) => Err(with_causes(&error)),
    }
}

/// Removes what earlier policies mapped; tells whether everything was seen.
async fn sweep(tenant: &Tenant, mappings: &[Mapping]) -> bool {
    let inside = sweep_inside(tenant, mappings).await;
    let done = match inside {
        Ok(()) => sweep_outside(tenant, mappings).await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = &done {
        tracing::debug!(tenant = %tenant.id, %failure, "what was mapped before is looked for later");
    }
    done.is_ok()
}

async fn sweep_inside(tenant: &Tenant, mappings: &[Mapping]) -> Result<(), String> {
    for kind in mapping::KINDS {
        let mut next = None;
        loop {
            let (page, following) = managed::page(tenant, kind, "", PAGE, next.as_deref()).await?;
            for object in page {
                let name = object.name();
                let is_wanted = mappings.iter().any(|mapping| {
                    matches!(mapping, Mapping::In { kind: of, to, .. }
                        if *of == kind && *to.namespace == *name.namespace && *to.name == *name.name)
                });
                if is_wanted {
                    continue;
                }
                let step = mapping::step_inside(kind, None, Some(object.json()), &tenant.context);
                let step = step.map_err(|error| with_causes(&error))?;
                write(tenant, Side::Virtual, kind, &name, step).await?;
            }
            next = following;
            if next.is_none() {
                break;
            }
        }
    }
    Ok(())
}

async fn sweep_outside(tenant: &Tenant, mappings: &[Mapping]) -> Result<(), String> {
    let mut next = None;
    loop {
        let page = tenant
            .list_page(Kind::Service, next.as_deref(), &|_| false)
            .await;
        let (page, following) = page.map_err(|failure| with_causes(&failure))?;
        for object in page.into_iter().map(Listed::into_object) {
            let name = object.name();
            let is_wanted = mappings
                .iter()
                .any(|mapping| matches!(mapping, Mapping::Out { to, .. } if **to == *name.name));
            if is_wanted {
                continue;
            }
            let step = mapping::step_outside(None, Some(object.json()), &tenant.context);
            let step = step.map_err(|error| with_causes(&error))?;
            write(tenant, Side::Host, Kind::Service, &name, step).await?;
        }
        next = following;
        if next.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
