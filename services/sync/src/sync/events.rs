//! Events: the host's about synced objects, told inside.
//!
//! Best effort and bounded: each tenant may have so many per second, and one that cannot be told is dropped.

use std::sync::Arc;

use serde_json::Value;
use vcluster_translate::patch::Format;
use vcluster_translate::text::Names;
use vcluster_translate::{Owner, Patch, event, persistent_volume_claim, pod, volume_snapshot};

use super::{Next, Step};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::metrics::Told;
use crate::object::{Key, Kind, Name, Side};
use crate::tenant::Tenant;

/// Tells one event.
pub(super) async fn step(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let body = tenant.state().bodies.get(Side::Host, key);
    tenant.state().bodies.drop(Side::Host, key);
    let Some(found) = body else {
        return Ok(Step::Done(Next::Settled));
    };
    let done = match tell(tenant, &found).await {
        Ok(shown) => {
            engine
                .metrics
                .event(if shown { Told::Shown } else { Told::Dropped });
            Next::Settled
        }
        Err(failure) => {
            tracing::debug!(tenant = %tenant.id, %key, %failure, "event is not told");
            engine.metrics.event(Told::Dropped);
            Next::Settled
        }
    };
    Ok(Step::Done(done))
}

/// Tells whether it was shown.
async fn tell(tenant: &Tenant, found: &Value) -> Result<bool, Failure> {
    let Some(about) = event::about(found, &tenant.context) else {
        return Ok(false);
    };
    let (key, host_uid) = {
        let state = tenant.state();
        let named = |kind: &Kind| kind.description().api.kind == about.kind;
        let mut kinds = tenant.context.kinds().filter(named);
        let Some(key) = kinds.find_map(|kind| state.by_host_name(kind, &about.name)) else {
            return Ok(false);
        };
        let Some(host) = state.entry(&key).host.seen else {
            return Ok(false);
        };
        (key, host.uid)
    };
    let seen = both_sides(tenant, &key).await;
    tenant.drop_confidential(&key);
    let (Some(object), host) = seen? else {
        return Ok(false);
    };
    let Ok(owner) = Owner::of_virtual(&object, key.kind.as_str(), &tenant.context) else {
        return Ok(false);
    };
    let names = names(&key, &owner, &object, host.as_deref(), tenant);
    let wanted = event::to_virtual(found, &owner, &host_uid, &names, &tenant.context);
    let Some(wanted) = wanted else {
        return Ok(false);
    };
    match tenant.create(Side::Virtual, Kind::Event, &wanted).await {
        Ok(_) => Ok(true),
        Err(Failure::Exists) => {
            let name = wanted.pointer("/metadata/name").and_then(Value::as_str);
            let name = Name::new(&owner.namespace, name.unwrap_or_default());
            let patch = Patch {
                subresource: None,
                format: Format::Merge,
                body: wanted,
            };
            tenant
                .patch(Side::Virtual, Kind::Event, &name, &patch)
                .await
                .map(|_| true)
        }
        Err(failure) => Err(failure),
    }
}

type Found = Option<Arc<Value>>;

async fn both_sides(tenant: &Tenant, key: &Key) -> Result<(Found, Found), Failure> {
    let object = tenant.see(Side::Virtual, key).await?;
    Ok((object, tenant.see(Side::Host, key).await?))
}

/// The host names that an event may hold: a pod's tells of all that it refers to.
fn names(key: &Key, owner: &Owner, object: &Value, host: Option<&Value>, tenant: &Tenant) -> Names {
    if key.kind == Kind::Pod {
        return pod::names(object, host, &tenant.context);
    }
    if key.kind == Kind::PersistentVolumeClaim {
        return persistent_volume_claim::names(object, host, &tenant.context);
    }
    if key.kind == Kind::VolumeSnapshot {
        return volume_snapshot::names(object, &tenant.context);
    }
    let mut names = Names::new(&tenant.context);
    if let Some(host) = host {
        names.add_object(host, owner);
    }
    names
}
