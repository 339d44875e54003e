//! PersistentVolumes: the host's that are bound to claims of the tenant, shown inside under their own names.
//!
//! Nothing of them is written to the host, and those of others are not shown.

use serde_json::Value;
use vcluster_translate::persistent_volume::claim_ref;
use vcluster_translate::plan::{self, Action, VolumeView};
use vcluster_translate::{Owner, owner};

use super::report::Trouble;
use super::{Next, Step, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::object::{Key, Kind, Side};
use crate::own_classes;
use crate::queue::Lane;
use crate::tenant::Tenant;

/// One step about a volume.
pub(super) async fn step(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let host = engine.mirrored(key.kind, &key.name.name);
    let claim = match &host {
        Some(host) => claim_of(tenant, host).await?,
        None => None,
    };
    let host = host.map(|host| own_classes::named_inside(engine, tenant, host));
    let volume = tenant.see(Side::Virtual, key).await?;
    let view = VolumeView {
        host: host.as_deref(),
        claim: claim.as_ref(),
        volume: volume.as_deref(),
        knowledge: tenant.knows_mirrored(engine, key.kind),
    };
    match plan::persistent_volume(view, &tenant.context) {
        Action::Nothing => {
            tenant.settle(key);
            wake_claim(tenant, claim.as_ref());
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(waiting) => Ok(waits(&waiting)),
        Action::Refuse(refusal) => {
            let trouble = Trouble::ours(&refusal);
            Ok(tenant.park(engine, key, volume.as_deref(), trouble).await)
        }
        Action::Create(wanted) => {
            let made = tenant.create(Side::Virtual, key.kind, &wanted).await?;
            tenant.take_note(Side::Virtual, key, &made);
            Ok(Step::Again)
        }
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteVirtual(delete) => tenant.remove(Side::Virtual, key, &delete).await,
        // Nothing of a volume is written to the host.
        Action::PatchHost(_) | Action::Bind(_) | Action::DeleteHost(_) => {
            Ok(Step::Done(Next::Settled))
        }
    }
}

/// The virtual claim of this tenant whose host claim, by name and UID, is the one that the host's volume names.
async fn claim_of(tenant: &Tenant, volume: &Value) -> Result<Option<Owner>, Failure> {
    let Some((namespace, name, uid)) = claim_ref(volume) else {
        return Ok(None);
    };
    if namespace != tenant.context.host_namespace.as_str() {
        return Ok(None);
    }
    let kind = Kind::PersistentVolumeClaim;
    let Some(key) = tenant.state().by_host_name(kind, name) else {
        return Ok(None);
    };
    let found = tenant.see(Side::Host, &key).await?;
    let found = found.filter(|claim| claim["metadata"]["uid"] == uid);
    Ok(found.and_then(|claim| owner::of_ours(&claim, &tenant.context)))
}

/// A claim that waits for its volume need wait no longer.
fn wake_claim(tenant: &Tenant, claim: Option<&Owner>) {
    let Some(owner) = claim else {
        return;
    };
    let key = Key::new(Kind::PersistentVolumeClaim, &owner.namespace, &owner.name);
    if !tenant.state().is_settled(&key) {
        tenant.add(key, Lane::Live);
    }
}
