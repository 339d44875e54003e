//! Objects that go to the host, as the descriptions of their kinds say.

use serde_json::Value;

use super::{
    Action, Cause, Delete, Knowledge, Waiting,
    pod::{delete, is_deleting, taken},
};
use crate::{
    Change, Context, Kind, Owner, Refusal,
    kind::{Successor, ToHost},
    owner, policy,
};

/// What was seen of one virtual object and of the host object that bears its host name.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The virtual object.
    pub object: Option<&'a Value>,
    /// The host object of its host name, whosever it is.
    pub host: Option<&'a Value>,
    /// Whether it is needed: for kinds that go to the host only if something uses them, that
    /// something does.
    pub needed: bool,
    /// Whether what was not seen is absent.
    pub knowledge: Knowledge,
}

/// The next step about an object of a kind that goes to the host.
///
/// An object that is being deleted inside stays on the host until it is gone inside: somebody's
/// finalizer may still need it.
pub fn to_host(kind: Kind, rules: &ToHost, view: View<'_>, context: &Context) -> Action<Value> {
    let wanted = view
        .object
        .filter(|object| view.needed && (rules.wanted)(object, context));
    match (wanted, view.host) {
        (None, None) => Action::Nothing,
        (None, Some(host)) => unwanted(kind, host, view, context),
        (Some(object), None) => match (view.knowledge, made(kind, rules, object, context)) {
            (Knowledge::Partial, _) => Action::Wait(Waiting::Lists),
            (Knowledge::Complete, Ok(host)) => Action::Create(host),
            (Knowledge::Complete, Err(refusal)) => Action::Refuse(refusal),
        },
        (Some(object), Some(host)) => match policy::admits(kind, object, context) {
            Err(refusal) if !policy::keeps(kind) => withheld(kind, host, refusal, view, context),
            Ok(()) | Err(_) => both(kind, rules, object, host, view.knowledge, context),
        },
    }
}

fn made(kind: Kind, rules: &ToHost, object: &Value, context: &Context) -> Result<Value, Refusal> {
    policy::admits(kind, object, context)?;
    (rules.make)(object, context)
}

/// What the policy keeps inside is taken from the host; why is told once that is done.
fn withheld(
    kind: Kind,
    host: &Value,
    refusal: Refusal,
    view: View<'_>,
    context: &Context,
) -> Action<Value> {
    match ours(kind, host, context) {
        Some(_) => certainly(view.knowledge, host, delete(host, None, Cause::Unused)),
        None => Action::Refuse(refusal),
    }
}

fn unwanted(kind: Kind, host: &Value, view: View<'_>, context: &Context) -> Action<Value> {
    if ours(kind, host, context).is_none() {
        return Action::Nothing;
    }
    let cause = view.object.map_or(Cause::Orphan, |_| Cause::Unused);
    certainly(view.knowledge, host, delete(host, None, cause))
}

/// Deletes a host object of ours if that is certain to be right.
fn certainly(knowledge: Knowledge, host: &Value, delete: Delete) -> Action<Value> {
    match knowledge {
        Knowledge::Partial => Action::Wait(Waiting::Lists),
        Knowledge::Complete if is_deleting(host) => Action::Wait(Waiting::Termination),
        Knowledge::Complete => Action::DeleteHost(delete),
    }
}

fn ours(kind: Kind, host: &Value, context: &Context) -> Option<Owner> {
    owner::of_ours(host, context).filter(|owner| owner.kind == kind.as_str())
}

fn both(
    kind: Kind,
    rules: &ToHost,
    object: &Value,
    host: &Value,
    knowledge: Knowledge,
    context: &Context,
) -> Action<Value> {
    let wanted = match Owner::of_virtual(object, kind.as_str(), context) {
        Ok(wanted) => wanted,
        Err(refusal) => return Action::Refuse(refusal),
    };
    let Some(found) = ours(kind, host, context)
        .filter(|found| found.namespace == wanted.namespace && found.name == wanted.name)
    else {
        return Action::Refuse(taken(host));
    };
    if is_deleting(host) {
        return Action::Wait(Waiting::Predecessor);
    }
    if found.uid != wanted.uid && rules.successor == Successor::Replaces {
        return certainly(knowledge, host, delete(host, None, Cause::Orphan));
    }
    let refused = match (rules.update)(object, host, context) {
        Ok(Change::None) => None,
        Ok(Change::Patch(patch)) => return Action::PatchHost(patch),
        Ok(Change::Replace) => return Action::DeleteHost(delete(host, None, Cause::Replace)),
        Err(refusal) => Some(refusal),
    };
    // What is refused does not hold the status up.
    let status = rules
        .status
        .and_then(|status| status(host, object, context));
    match (status, refused) {
        (Some(patch), _) => Action::PatchVirtual(patch),
        (None, Some(refusal)) => Action::Refuse(refusal),
        (None, None) => Action::Nothing,
    }
}
