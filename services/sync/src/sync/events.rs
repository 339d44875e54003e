//! Events: the host's about synced pods, told inside.
//!
//! Best effort and bounded: each tenant may have so many per second, and one that cannot be told is dropped.

use vcluster_translate::patch::Format;
use vcluster_translate::{Owner, Patch, event, pod};

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
        Ok(()) => {
            engine.metrics.event(Told::Shown);
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

async fn tell(tenant: &Tenant, found: &serde_json::Value) -> Result<(), Failure> {
    let Some(about) = event::about(found, &tenant.context) else {
        return Ok(());
    };
    let (pod_key, host_uid) = {
        let state = tenant.state();
        let Some(name) = state.pod_by_host_name(&about.name).cloned() else {
            return Ok(());
        };
        let key = Key {
            kind: Kind::Pod,
            name,
        };
        let Some(host) = state.entry(&key).host.seen else {
            return Ok(());
        };
        (key, host.uid)
    };
    let (Some(virtual_pod), host) = (
        tenant.see(Side::Virtual, &pod_key).await?,
        tenant.see(Side::Host, &pod_key).await?,
    ) else {
        return Ok(());
    };
    let Ok(owner) = Owner::of_virtual(&virtual_pod, Kind::Pod.as_str(), &tenant.context) else {
        return Ok(());
    };
    let names = pod::names(&virtual_pod, host.as_ref(), &tenant.context);
    let wanted = event::to_virtual(found, &owner, &host_uid, &names, &tenant.context);
    let Some(wanted) = wanted else {
        return Ok(());
    };
    match tenant.create(Side::Virtual, Kind::Event, &wanted).await {
        Ok(_) => Ok(()),
        Err(Failure::Exists) => {
            let name = wanted
                .pointer("/metadata/name")
                .and_then(serde_json::Value::as_str);
            let name = Name::new(&owner.namespace, name.unwrap_or_default());
            let patch = Patch {
                subresource: None,
                format: Format::Merge,
                body: wanted,
            };
            tenant
                .patch(Side::Virtual, Kind::Event, &name, &patch)
                .await
                .map(drop)
        }
        Err(failure) => Err(failure),
    }
}
