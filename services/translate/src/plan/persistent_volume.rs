//! PersistentVolumes: the host's that belong to claims of the virtual cluster, shown inside.

use serde_json::Value;

use super::{
    Action, Cause, Knowledge, Waiting,
    from_host::taken_inside,
    pod::{delete, is_deleting},
};
use crate::{Context, Owner, Refusal, persistent_volume as volumes};

/// What was seen of one volume.
#[derive(Debug, Clone, Copy)]
pub struct VolumeView<'a> {
    /// The host's volume of that name, whosever it is.
    pub host: Option<&'a Value>,
    /// The virtual claim whose host claim, by name and UID, is the one that the host's volume names.
    pub claim: Option<&'a Owner>,
    /// The virtual volume of that name, whosever it is.
    pub volume: Option<&'a Value>,
    /// Whether what was not seen is absent.
    pub knowledge: Knowledge,
}

/// The next step about a volume. Nothing of it is ever written to the host.
pub fn persistent_volume(view: VolumeView<'_>, context: &Context) -> Action<Value> {
    let own = view
        .volume
        .filter(|volume| volumes::is_ours(volume, context));
    // Whose a volume of the host is: by the claim that has it, or by what was shown of it before.
    let host = view.host.filter(|host| match own {
        Some(own) => volumes::mirrors(own, host),
        None => view.claim.is_some(),
    });
    match (host, view.volume, own) {
        (None, None, _) => Action::Nothing,
        (Some(host), None, _) => match (view.claim, view.knowledge) {
            (None, _) => Action::Nothing,
            (Some(_), Knowledge::Partial) => Action::Wait(Waiting::Lists),
            (Some(claim), Knowledge::Complete) => {
                Action::Create(volumes::to_virtual(host, claim, context))
            }
        },
        (None, Some(_), None) => Action::Refuse(unbound()),
        (Some(_), Some(volume), None) => Action::Refuse(taken_inside(volume)),
        (None, Some(_), Some(own)) => gone(own, view.knowledge),
        (Some(_), Some(_), Some(own)) if is_deleting(own) => Action::Wait(Waiting::Termination),
        (Some(_), Some(_), Some(own))
            if view.claim.is_some_and(|claim| !volumes::is_of(own, claim)) =>
        {
            gone(own, view.knowledge)
        }
        (Some(host), Some(_), Some(own)) => volumes::update_virtual(host, own)
            .or_else(|| volumes::status_to_virtual(host, own))
            .map_or(Action::Nothing, Action::PatchVirtual),
    }
}

fn gone(own: &Value, knowledge: Knowledge) -> Action<Value> {
    if knowledge == Knowledge::Partial {
        return Action::Wait(Waiting::Lists);
    }
    match volumes::release(own) {
        Some(patch) => Action::PatchVirtual(patch),
        None if is_deleting(own) => Action::Wait(Waiting::Termination),
        None => Action::DeleteVirtual(delete(own, None, Cause::HostGone)),
    }
}

/// A volume that a tenant made. It stays as it is; nobody binds it.
fn unbound() -> Refusal {
    Refusal::not_supported(
        "spec",
        "no claim will be bound to this PersistentVolume: storage is the host cluster's, and claims \
         get their volumes by storage class; delete it, and name a class in the claim",
    )
}
