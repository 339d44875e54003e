//! PersistentVolumeClaims: made on the host, bound as the host binds, deleted when they are gone inside.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::Refusal;
use vcluster_translate::class::Standing;
use vcluster_translate::own_class::{self, Class};
use vcluster_translate::persistent_volume_claim::{self as claims, is_bound, names};
use vcluster_translate::plan::{self, Action, ClaimView, Waiting};

use super::report::Trouble;
use super::to_host::{check_classes, refused};
use super::{Next, Step, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Kind, Side};
use crate::own_classes::{self, Named};
use crate::queue::Lane;
use crate::state::Absence;
use crate::tenant::Tenant;

/// When to look again at a claim whose volume is on its way; it tells when it is there.
const VOLUME: Duration = Duration::from_secs(5);

/// One step about a claim.
pub(super) async fn step(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let claim = tenant.see(Side::Virtual, key).await?;
    let mut host = tenant.see(Side::Host, key).await?;
    // One that lost its labels is not lost.
    if host.is_none() && claim.as_deref().is_some_and(is_bound) {
        host = tenant.find_hidden(key).await?;
    }
    let volume_key = host.as_deref().and_then(claims::volume).map(volume_key);
    let volume = match &volume_key {
        Some(key) => tenant.see(Side::Virtual, key).await?,
        None => None,
    };
    let view = ClaimView {
        claim: claim.as_deref(),
        host: host.as_deref(),
        volume: volume.as_deref(),
        knowledge: tenant.knows(key.kind, true),
        was_deleted: tenant.state().entry(key).host.absence == Some(Absence::Deleted),
    };
    let mut action = plan::persistent_volume_claim(view, &tenant.context);
    if let (Action::Create(wanted), Some(claim)) = (&mut action, &claim)
        && let Err(refusal) = check(engine, tenant, claim, wanted).await?
    {
        let trouble = Trouble::passing(refusal);
        return Ok(tenant.park(engine, key, Some(claim), trouble).await);
    }
    match action {
        Action::Nothing => {
            tenant.come_to_rest(key);
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(Waiting::Volume) => {
            if let Some(key) = volume_key {
                tenant.add(key, Lane::Live);
            }
            let hold = Hold::waiting(&Waiting::Volume);
            Ok(Step::Held(hold, Next::Until(Instant::now() + VOLUME)))
        }
        Action::Wait(waiting) => Ok(waits(&waiting)),
        Action::Refuse(refusal) => {
            let trouble = Trouble::ours(&refusal);
            Ok(tenant.park(engine, key, claim.as_deref(), trouble).await)
        }
        Action::Create(wanted) => match tenant.create(Side::Host, key.kind, &wanted).await {
            Ok(made) => {
                tenant.state().set_problem(key, None);
                tenant.take_note(Side::Host, key, &made);
                tenant.wake_users(key);
                Ok(Step::Again)
            }
            Err(failure) => refused(engine, tenant, key, claim.as_deref(), failure).await,
        },
        Action::PatchHost(patch) => match tenant.change(Side::Host, key, &patch).await {
            Ok(step) => {
                tenant.wake_users(key);
                Ok(step)
            }
            Err(failure) => {
                let step = refused(engine, tenant, key, claim.as_deref(), failure).await?;
                // A change that the host will not take does not hold the status up.
                follow(tenant, key).await?;
                Ok(step)
            }
        },
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::DeleteHost(delete) => tenant.remove(Side::Host, key, &delete).await,
        Action::DeleteVirtual(delete) => {
            if let Some(claim) = &claim {
                let (reason, why) = (
                    delete.cause.as_str(),
                    "The host cluster is deleting this claim",
                );
                tenant.tell(engine, key.kind, claim, reason, why).await;
            }
            tenant.remove(Side::Virtual, key, &delete).await
        }
        // Not by these rules.
        Action::Bind(_) => Ok(Step::Done(Next::Settled)),
    }
}

/// Whether the host has what a claim that is to be made names. A class of the tenant's own gets the name that it has there.
async fn check(
    engine: &Engine,
    tenant: &Tenant,
    claim: &Value,
    wanted: &mut Value,
) -> Result<Result<(), Refusal>, Failure> {
    let has_snapshots = tenant.state().is_served(Side::Host, Kind::VolumeSnapshot);
    if !has_snapshots && claims::is_of_snapshot(claim) {
        return Ok(Err(claims::no_snapshots()));
    }
    let name = wanted["spec"]["storageClassName"].as_str();
    let name = name.unwrap_or_default().to_owned();
    match own_classes::ensure(engine, tenant, Class::Storage, &name).await? {
        Named::OnHost(own) => {
            wanted["spec"]["storageClassName"] = own.into();
            return Ok(Ok(()));
        }
        Named::Inside(why) => return Ok(Err(own_class::not_there(&name, Some(&why)))),
        Named::Nothing => {
            let class = Class::Storage.kind();
            if engine.class_standing(tenant, class, &name) == Standing::Absent {
                return Ok(Err(own_class::not_there(&name, None)));
            }
        }
        Named::NotOwn => {}
    }
    Ok(check_classes(
        engine,
        tenant,
        Kind::PersistentVolumeClaim,
        wanted,
    ))
}

/// The key of the volume of that name.
pub(super) fn volume_key(name: &str) -> Key {
    Key::new(Kind::PersistentVolume, "", name)
}

/// Brings the status up, whatever else is left to do.
async fn follow(tenant: &Tenant, key: &Key) -> Result<(), Failure> {
    let claim = tenant.see(Side::Virtual, key).await?;
    let host = tenant.see(Side::Host, key).await?;
    let (Some(claim), Some(host)) = (claim, host) else {
        return Ok(());
    };
    let names = names(&claim, Some(&host), &tenant.context);
    let status = claims::status_to_virtual(&host, &claim, &names);
    tenant.raise(key, status).await
}
