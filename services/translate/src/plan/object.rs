//! ConfigMaps and Secrets: on the host as long as a pod uses them.

use serde_json::Value;

use super::{
    Action, Cause, Delete, Knowledge, Waiting,
    pod::{delete, is_deleting, taken},
};
use crate::{
    Context, Owner, Refusal, config_map, owner,
    pod::ReferenceKind,
    secret::{self, Change},
};

impl ReferenceKind {
    /// Name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn to_host(self, object: &Value, context: &Context) -> Result<Value, Refusal> {
        match self {
            Self::ConfigMap => config_map::to_host(object, context),
            Self::Secret => secret::to_host(object, context),
        }
    }

    fn update_host(
        self,
        object: &Value,
        host: &Value,
        context: &Context,
    ) -> Result<Change, Refusal> {
        match self {
            Self::ConfigMap => config_map::update_host(object, host, context),
            Self::Secret => secret::update_host(object, host, context),
        }
    }
}

/// The next step about a ConfigMap or Secret: the virtual object, the host object of its host
/// name, and whether any virtual pod of its namespace refers to it.
///
/// A new virtual object of an old name takes the host object over rather than away from the pods
/// that are just starting with it.
pub fn object(
    kind: ReferenceKind,
    object: Option<&Value>,
    host: Option<&Value>,
    in_use: bool,
    knowledge: Knowledge,
    context: &Context,
) -> Action<Value> {
    let cause = object.map_or(Cause::Orphan, |_| Cause::Unused);
    match (object.filter(|_| in_use), host) {
        (None, None) => Action::Nothing,
        (None, Some(host)) => unwanted(kind, host, cause, knowledge, context),
        (Some(object), None) => match (knowledge, kind.to_host(object, context)) {
            (Knowledge::Partial, _) => Action::Wait(Waiting::Lists),
            (Knowledge::Complete, Ok(host)) => Action::Create(host),
            (Knowledge::Complete, Err(refusal)) => Action::Refuse(refusal),
        },
        (Some(object), Some(host)) => both(kind, object, host, context),
    }
}

fn unwanted(
    kind: ReferenceKind,
    host: &Value,
    cause: Cause,
    knowledge: Knowledge,
    context: &Context,
) -> Action<Value> {
    if ours(kind, host, context).is_none() {
        return Action::Nothing;
    }
    match knowledge {
        Knowledge::Partial => Action::Wait(Waiting::Lists),
        Knowledge::Complete if is_deleting(host) => Action::Wait(Waiting::Termination),
        Knowledge::Complete => Action::DeleteHost(delete(host, None, cause)),
    }
}

fn ours(kind: ReferenceKind, host: &Value, context: &Context) -> Option<Owner> {
    owner::of_ours(host, context).filter(|owner| owner.kind == kind.as_str())
}

fn both(kind: ReferenceKind, object: &Value, host: &Value, context: &Context) -> Action<Value> {
    let wanted = match Owner::of_virtual(object, kind.as_str(), context) {
        Ok(wanted) => wanted,
        Err(refusal) => return Action::Refuse(refusal),
    };
    let ours = ours(kind, host, context)
        .is_some_and(|found| found.namespace == wanted.namespace && found.name == wanted.name);
    if !ours {
        return Action::Refuse(taken(host));
    }
    if is_deleting(host) {
        return Action::Wait(Waiting::Predecessor);
    }
    match kind.update_host(object, host, context) {
        Ok(Change::None) => Action::Nothing,
        Ok(Change::Patch(patch)) => Action::PatchHost(patch),
        Ok(Change::Replace) => Action::DeleteHost(delete(host, None, Cause::Replace)),
        Err(refusal) => Action::Refuse(refusal),
    }
}

/// Whether the host Secret with a pod's tokens is to be deleted: its virtual pod is gone, or
/// another took its name. Making and renewing it takes requests to the virtual API server first;
/// that is the engine's.
pub fn token_secret(
    pod: Option<&Value>,
    secret: &Value,
    knowledge: Knowledge,
    context: &Context,
) -> Option<Delete> {
    let found = owner::of_ours(secret, context).filter(|owner| owner.kind == "Pod")?;
    let lives = pod
        .and_then(|pod| Owner::of_virtual(pod, "Pod", context).ok())
        .is_some_and(|wanted| wanted == found);
    let gone = !lives && knowledge == Knowledge::Complete && !is_deleting(secret);
    gone.then(|| delete(secret, None, Cause::Orphan))
}
