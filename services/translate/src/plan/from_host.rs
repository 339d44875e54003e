//! Objects of the host that are shown inside, as the descriptions of their kinds say.

use serde_json::Value;

use super::{
    Action, Cause, Knowledge, Waiting,
    pod::{delete, is_deleting},
};
use crate::{
    Change, Context, Kind, Refusal, change, json::text, kind::FromHost, mirror, refusal::Reason,
};

/// The next step about an object of the host, if it is there, and the virtual object of its name.
/// One that the tenant made itself is left alone.
pub fn from_host(
    kind: Kind,
    rules: &FromHost,
    host: Option<&Value>,
    found: Option<&Value>,
    knowledge: Knowledge,
    context: &Context,
) -> Action<Value> {
    let wanted = host.and_then(|host| mirror::of(kind, rules, host, context));
    match (wanted, found) {
        (None, None) => Action::Nothing,
        (Some(wanted), None) => match knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete => Action::Create(wanted),
        },
        (None, Some(found)) if !mirror::is_ours(found, context) => Action::Nothing,
        (None, Some(found)) => match knowledge {
            Knowledge::Partial => Action::Wait(Waiting::Lists),
            Knowledge::Complete if is_deleting(found) => Action::Wait(Waiting::Termination),
            Knowledge::Complete => Action::DeleteVirtual(delete(found, None, Cause::HostGone)),
        },
        (Some(_), Some(found)) if !mirror::is_ours(found, context) => {
            Action::Refuse(taken_inside(found))
        }
        (Some(_), Some(found)) if is_deleting(found) => Action::Wait(Waiting::Termination),
        (Some(wanted), Some(found)) => {
            match change::mirror(found, &wanted, rules.fields, rules.frozen) {
                Change::None => Action::Nothing,
                Change::Patch(patch) => Action::PatchVirtual(patch),
                Change::Replace => Action::DeleteVirtual(delete(found, None, Cause::Replace)),
            }
        }
    }
}

/// The tenant's own object has the name of the host's.
pub(super) fn taken_inside(found: &Value) -> Refusal {
    let name = text(found, "/metadata/name").unwrap_or_default();
    Refusal::new(
        Reason::NameTaken,
        "metadata.name",
        format!(
            "the host's {name:?} is not shown, because this object was made inside under the same \
             name; delete it to see the host's"
        ),
    )
}
