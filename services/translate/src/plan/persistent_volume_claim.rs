//! PersistentVolumeClaims: made on the host, bound as the host binds, and removed with their data
//! only when the virtual claim is gone.

use serde_json::Value;

use super::{
    Action, Cause, Knowledge, Waiting,
    pod::{delete, is_deleting, taken},
};
use crate::{
    Context, Kind, Owner, Refusal, owner, persistent_volume, persistent_volume_claim as claims,
    policy, refusal::Reason,
};

const NAME: &str = Kind::PersistentVolumeClaim.as_str();

/// What was seen of one virtual claim, of the host object that bears its host name, and of the
/// volume that the host bound it to.
#[derive(Debug, Clone, Copy)]
pub struct ClaimView<'a> {
    /// The virtual claim.
    pub claim: Option<&'a Value>,
    /// The host claim of its host name, whosever it is.
    pub host: Option<&'a Value>,
    /// The virtual PersistentVolume of the name that the host claim gives.
    pub volume: Option<&'a Value>,
    /// Whether what was not seen is absent.
    pub knowledge: Knowledge,
    /// Whether the host claim was last seen being deleted, if it is gone: somebody wanted that, and it was not
    /// merely lost.
    pub was_deleted: bool,
}

/// The next step about a claim.
///
/// The host claim lives until the virtual one is *gone*: while that is only being deleted, pods may
/// still use it, and somebody's finalizer may still save what is in it.
pub fn persistent_volume_claim(view: ClaimView<'_>, context: &Context) -> Action<Value> {
    match (view.claim, view.host) {
        (None, None) => Action::Nothing,
        (None, Some(host)) => match ours(host, context) {
            Some(_) => orphan(host, view.knowledge),
            None => Action::Nothing,
        },
        (Some(claim), None) => only_virtual(claim, view, context),
        (Some(claim), Some(host)) => both(claim, host, view, context),
    }
}

fn ours(host: &Value, context: &Context) -> Option<Owner> {
    owner::of_ours(host, context).filter(|owner| owner.kind == NAME)
}

fn orphan(host: &Value, knowledge: Knowledge) -> Action<Value> {
    match knowledge {
        Knowledge::Partial => Action::Wait(Waiting::Lists),
        Knowledge::Complete if is_deleting(host) => Action::Wait(Waiting::Termination),
        Knowledge::Complete => Action::DeleteHost(delete(host, None, Cause::Orphan)),
    }
}

fn only_virtual(claim: &Value, view: ClaimView<'_>, context: &Context) -> Action<Value> {
    match view.knowledge {
        Knowledge::Partial => return Action::Wait(Waiting::Lists),
        Knowledge::Complete if is_deleting(claim) => return Action::Nothing,
        Knowledge::Complete => {}
    }
    if claims::is_bound(claim) {
        if view.was_deleted {
            return Action::DeleteVirtual(delete(claim, None, Cause::HostDeletes));
        }
        return match claims::lost(claim) {
            Some(patch) => Action::PatchVirtual(patch),
            None => Action::Refuse(lost()),
        };
    }
    if let Some(volume) = claims::volume(claim) {
        return Action::Refuse(foreign(volume));
    }
    if let Err(refusal) = policy::admits(Kind::PersistentVolumeClaim, claim, context) {
        return Action::Refuse(refusal);
    }
    match claims::to_host(claim, context) {
        Ok(host) => Action::Create(host),
        Err(refusal) => Action::Refuse(refusal),
    }
}

fn both(claim: &Value, host: &Value, view: ClaimView<'_>, context: &Context) -> Action<Value> {
    let wanted = match Owner::of_virtual(claim, NAME, context) {
        Ok(wanted) => wanted,
        Err(refusal) => return Action::Refuse(refusal),
    };
    match ours(host, context) {
        Some(found) if found == wanted => {}
        // The volume of an earlier claim of that name is not this one's.
        Some(found) if found.namespace == wanted.namespace && found.name == wanted.name => {
            return if is_deleting(host) {
                Action::Wait(Waiting::Predecessor)
            } else {
                orphan(host, view.knowledge)
            };
        }
        Some(_) | None => return Action::Refuse(taken(host)),
    }
    let deleting = is_deleting(claim);
    if is_deleting(host) && !deleting {
        return Action::DeleteVirtual(delete(claim, None, Cause::HostDeletes));
    }
    if let Some(volume) = claims::volume(claim)
        && claims::volume(host) != Some(volume)
    {
        return Action::Refuse(foreign(volume));
    }
    let mut refused = None;
    if !deleting {
        match claims::update_host(claim, host, context) {
            Ok(Some(patch)) => return Action::PatchHost(patch),
            Ok(None) => {}
            Err(refusal) => refused = Some(refusal),
        }
    }
    follow(claim, host, view, context)
        .unwrap_or_else(|| refused.map_or(Action::Nothing, Action::Refuse))
}

/// What the host has decided, up: first the volume, then the status that says that it is bound.
fn follow(
    claim: &Value,
    host: &Value,
    view: ClaimView<'_>,
    context: &Context,
) -> Option<Action<Value>> {
    let volume = claims::volume(host);
    let shown = view.volume.is_some_and(|volume| {
        persistent_volume::is_ours(volume, context) && persistent_volume::is_for(volume, claim)
    });
    let names = claims::names(claim, Some(host), context);
    let patch = claims::bind(host, claim, volume.filter(|_| shown))
        .or_else(|| claims::status_to_virtual(host, claim, &names));
    if let Some(patch) = patch {
        return Some(Action::PatchVirtual(patch));
    }
    let unbound = volume.is_some() && claims::volume(claim).is_none();
    unbound.then_some(Action::Wait(Waiting::Volume))
}

fn foreign(volume: &str) -> Refusal {
    Refusal::host_access(
        "spec.volumeName",
        format!(
            "the host cluster has not bound this claim to the PersistentVolume {volume:?}, and a \
             virtual cluster may not choose among the host's volumes; leave the field out, and \
             the claim gets a volume of its storage class"
        ),
    )
}

fn lost() -> Refusal {
    Refusal::new(
        Reason::HostGone,
        "status.phase",
        "the claim is gone from the host cluster, and with it its volume; delete this claim and \
         make it again to get a new, empty volume",
    )
}
