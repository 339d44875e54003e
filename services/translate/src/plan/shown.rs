//! Custom resources of the host that are shown inside, read only.

use serde_json::Value;

use super::{
    Action, Cause, Knowledge, Waiting,
    pod::{delete, is_deleting, taken},
};
use crate::{
    Context,
    custom::{Shown, Synced},
    mirror,
};

/// What was seen of one, on both sides.
#[derive(Debug, Clone, Copy)]
pub struct ShownView<'a> {
    /// The host object.
    pub host: Option<&'a Value>,
    /// The virtual object of its name.
    pub found: Option<&'a Value>,
    /// Whether what was not seen is absent.
    pub knowledge: Knowledge,
}

/// The next step about one. One that the tenant made himself is left alone.
pub fn shown(synced: &Synced, view: ShownView<'_>, context: &Context) -> Action<Value> {
    let wanted = view.host.and_then(|host| Shown::of(host, synced, context));
    match (wanted, view.found) {
        (None, None) => Action::Nothing,
        (Some(wanted), None) => match view.knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete => Action::Create(wanted.object),
        },
        (None, Some(found)) if !mirror::is_ours(found, context) => Action::Nothing,
        (None, Some(found)) => match view.knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete if is_deleting(found) => Action::Wait(Waiting::Termination),
            Knowledge::Complete => Action::DeleteVirtual(delete(found, None, Cause::HostGone)),
        },
        (Some(_), Some(found)) if !mirror::is_ours(found, context) => Action::Refuse(taken(found)),
        (Some(_), Some(found)) if is_deleting(found) => Action::Wait(Waiting::Termination),
        (Some(wanted), Some(found)) => match wanted.difference(found, synced) {
            None => Action::Nothing,
            Some(patch) => Action::PatchVirtual(patch),
        },
    }
}
