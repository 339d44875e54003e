//! Nodes: the host's, shown inside.

use serde_json::Value;

use super::{
    Action, Cause, Knowledge, Waiting,
    from_host::taken_inside,
    pod::{delete, is_deleting},
};
use crate::{Context, node};

/// The next step about a node: the host's of that name, if it is to be shown, and the virtual one.
/// A node that the tenant made itself is left alone.
pub fn node(
    host: Option<&Value>,
    found: Option<&Value>,
    knowledge: Knowledge,
    context: &Context,
) -> Action<Value> {
    match (host, found) {
        (None, None) => Action::Nothing,
        (Some(host), None) => match knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete => Action::Create(node::to_virtual(host, context)),
        },
        (None, Some(found)) if !node::is_ours(found, context) => Action::Nothing,
        (None, Some(found)) => match knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete if is_deleting(found) => Action::Wait(Waiting::Termination),
            Knowledge::Complete => Action::DeleteVirtual(delete(found, None, Cause::HostGone)),
        },
        (Some(_), Some(found)) if !node::is_ours(found, context) => {
            Action::Refuse(taken_inside(found))
        }
        (Some(_), Some(found)) if is_deleting(found) => Action::Wait(Waiting::Termination),
        (Some(host), Some(found)) => node::update_virtual(host, found, context)
            .or_else(|| node::status_to_virtual(host, found, context))
            .map_or(Action::Nothing, Action::PatchVirtual),
    }
}
