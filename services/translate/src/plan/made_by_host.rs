//! Secrets and ConfigMaps that a controller of the host makes, and their copies inside.

use serde_json::Value;

use super::{
    Action, Cause, Knowledge, Waiting,
    pod::{delete, is_deleting},
};
use crate::{Change, Context, Kind, Refusal, made_by_host as made, owner, refusal::Reason};

/// What was seen of one, on both sides.
#[derive(Debug, Clone, Copy)]
pub struct MadeView<'a> {
    /// Virtual namespace and name.
    pub name: (&'a str, &'a str),
    /// The virtual object.
    pub object: Option<&'a Value>,
    /// The host object of its host name, read for this decision.
    pub host: Option<&'a Value>,
    /// Whether an object names it as made by the host now.
    pub is_named: bool,
    /// Whether what was not seen inside is absent.
    pub knowledge: Knowledge,
}

/// The next step about one. What the host made is never written, as it is not ours. What was ours, from a time when
/// the tenant made the object himself, is in the way of it, and goes with the tenant's.
pub fn made_by_host(kind: Kind, view: MadeView<'_>, context: &Context) -> Action<Value> {
    let copy = view.object.filter(|object| made::is_copy(object, context));
    match (view.host, view.object, copy) {
        (_, Some(_), None) => Action::Refuse(own()),
        (Some(host), None, _) if owner::of_ours(host, context).is_some() => match view.knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete if is_deleting(host) => Action::Wait(Waiting::Termination),
            Knowledge::Complete => Action::DeleteHost(delete(host, None, Cause::Orphan)),
        },
        (Some(host), Some(_), _) if owner::of_ours(host, context).is_some() => {
            Action::Refuse(own())
        }
        (_, Some(object), Some(_)) if is_deleting(object) => Action::Wait(Waiting::Termination),
        (None, None, _) => Action::Nothing,
        (None, Some(object), Some(_)) => match view.knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete => Action::DeleteVirtual(delete(object, None, Cause::HostGone)),
        },
        (Some(host), None, _) => match (view.knowledge, copy_of(kind, &view, host, context)) {
            _ if !view.is_named || is_deleting(host) => Action::Nothing,
            (Knowledge::Partial, _) => Action::Wait(Waiting::Lists),
            (Knowledge::Complete, Ok(copy)) => Action::Create(copy),
            (Knowledge::Complete, Err(refusal)) => Action::Refuse(refusal),
        },
        (Some(host), Some(object), Some(_)) => match copy_of(kind, &view, host, context) {
            Err(refusal) => Action::Refuse(refusal),
            Ok(wanted) => match made::difference(kind, object, &wanted) {
                Change::None => Action::Nothing,
                Change::Patch(patch) => Action::PatchVirtual(patch),
                Change::Replace => Action::DeleteVirtual(delete(object, None, Cause::Replace)),
            },
        },
    }
}

fn copy_of(
    kind: Kind,
    view: &MadeView<'_>,
    host: &Value,
    context: &Context,
) -> Result<Value, Refusal> {
    let (namespace, name) = view.name;
    made::copy(kind, namespace, name, host, context)
}

/// The tenant made one of that name himself.
fn own() -> Refusal {
    Refusal::new(
        Reason::NameTaken,
        "metadata.name",
        "a rule says that the host makes this object, and it exists in the virtual cluster already: delete it, and \
         the host's comes up",
    )
}
