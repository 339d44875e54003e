//! Pods: made, followed, and taken away from either side.

use serde_json::{Map, Value};

use super::{Action, Cause, Delete, Knowledge, Waiting};
use crate::{
    Context, Kind, Owner, Refusal,
    json::{is_set, text},
    owner,
    pod::{self, HostPod, Verdict},
    policy,
    refusal::Reason,
};

/// What was seen of one virtual pod and of the host object that bears its host name.
#[derive(Debug, Clone, Copy)]
pub struct PodView<'a> {
    /// The virtual pod.
    pub pod: Option<&'a Value>,
    /// The host pod of its host name, whosever it is.
    pub host: Option<&'a Value>,
    /// Labels of its virtual namespace.
    pub namespace_labels: &'a Map<String, Value>,
    /// Whether what was not seen is absent.
    pub knowledge: Knowledge,
    /// Whether the host pod's node has gone silent, so that nobody ends its containers.
    pub node_lost: bool,
}

/// The next step about a pod.
pub fn pod(view: PodView<'_>, context: &Context) -> Action<HostPod> {
    match (view.pod, view.host) {
        (None, None) => Action::Nothing,
        (Some(pod), None) => only_virtual(pod, view, context),
        (None, Some(host)) => match ours(host, context) {
            Some(_) => orphan(host, view, Waiting::Termination),
            None => Action::Nothing,
        },
        (Some(pod), Some(host)) => both(pod, host, view, context),
    }
}

fn ours(host: &Value, context: &Context) -> Option<Owner> {
    owner::of_ours(host, context).filter(|owner| owner.kind == "Pod")
}

/// The host pod of a virtual pod that is gone: it ends as gracefully as it asks for, and nothing
/// hastens one that is already ending. Only on a lost node nothing would ever end it: there the
/// virtual pod is gone because somebody forced it, and that holds here too.
fn orphan(host: &Value, view: PodView<'_>, ending: Waiting) -> Action<HostPod> {
    match view.knowledge {
        Knowledge::Partial => Action::Wait(Waiting::Lists),
        Knowledge::Complete if !is_deleting(host) => {
            Action::DeleteHost(delete(host, None, Cause::Orphan))
        }
        Knowledge::Complete if view.node_lost && grace(host) != Some(0) => {
            Action::DeleteHost(delete(host, Some(0), Cause::Orphan))
        }
        Knowledge::Complete => Action::Wait(ending),
    }
}

fn only_virtual(pod: &Value, view: PodView<'_>, context: &Context) -> Action<HostPod> {
    match view.knowledge {
        Knowledge::Partial => return Action::Wait(Waiting::Lists),
        Knowledge::Complete => {}
    }
    if is_deleting(pod) {
        // Nothing runs any more. With no grace left, somebody's finalizer keeps it, who may wait for its end.
        return match grace(pod) {
            Some(0) => pod::ended(pod).map_or(Action::Nothing, Action::PatchVirtual),
            Some(_) | None => Action::DeleteVirtual(delete(pod, Some(0), Cause::Deleting)),
        };
    }
    if is_finished(pod) {
        // A record of what ran; its owner decides how long to keep it.
        return Action::Nothing;
    }
    if is_set(pod, "/status/startTime") {
        // Its containers ran and are gone: only a new pod can take its place.
        return Action::DeleteVirtual(delete(pod, Some(0), Cause::HostGone));
    }
    if let Err(refusal) = policy::admits(Kind::Pod, pod, context) {
        return Action::Refuse(refusal);
    }
    match pod::to_host(pod, view.namespace_labels, context) {
        Ok(host) => Action::Create(host),
        Err(Verdict::Gated(gates)) => Action::Wait(Waiting::Gates(gates)),
        Err(Verdict::Unclaimed(entries)) => Action::Wait(Waiting::Claims(entries)),
        Err(Verdict::Refused(refusal)) => Action::Refuse(refusal),
    }
}

fn both(pod: &Value, host: &Value, view: PodView<'_>, context: &Context) -> Action<HostPod> {
    let wanted = match Owner::of_virtual(pod, "Pod", context) {
        Ok(wanted) => wanted,
        Err(refusal) => return Action::Refuse(refusal),
    };
    match ours(host, context) {
        Some(found) if found == wanted => {}
        // Made for an earlier pod of that name.
        Some(found) if found.namespace == wanted.namespace && found.name == wanted.name => {
            return match view.knowledge {
                Knowledge::Partial if is_deleting(host) => Action::Wait(Waiting::Predecessor),
                Knowledge::Partial | Knowledge::Complete => {
                    orphan(host, view, Waiting::Predecessor)
                }
            };
        }
        Some(_) | None => return Action::Refuse(taken(host)),
    }
    if is_deleting(pod) {
        return deleting(pod, host, context);
    }
    if is_deleting(host) {
        return deleted_below(pod, host, context);
    }
    if let Some(binding) = pod::binding(host, pod) {
        return Action::Bind(binding);
    }
    let node = |pod| text(pod, "/spec/nodeName");
    if node(host).is_some_and(|host| node(pod) != Some(host)) {
        return Action::DeleteVirtual(delete(pod, None, Cause::NodeDiffers));
    }
    follow(pod, host, view, context)
}

/// An object that is not ours has the name.
pub(super) fn taken(host: &Value) -> Refusal {
    let name = text(host, "/metadata/name").unwrap_or_default();
    Refusal::new(
        Reason::NameTaken,
        "metadata.name",
        format!(
            "its name on the host, {name:?}, belongs to an object that was not made for it; use \
             another name"
        ),
    )
}

/// From above: the host pod ends within the same time, and its last status is still told.
fn deleting(pod: &Value, host: &Value, context: &Context) -> Action<HostPod> {
    // No grace at all would remove the host pod before its node has ended the containers.
    let least = i64::from(text(host, "/spec/nodeName").is_some());
    let wanted = grace(pod).map(|grace| grace.max(least));
    if !is_deleting(host) {
        return Action::DeleteHost(delete(host, wanted, Cause::Deleting));
    }
    if let (Some(wanted), Some(found)) = (wanted, grace(host))
        && wanted < found
    {
        return Action::DeleteHost(delete(host, Some(wanted), Cause::Deleting));
    }
    let names = || pod::names(pod, Some(host), context);
    match pod::status_to_virtual(host, pod, names, false) {
        Some(patch) => Action::PatchVirtual(patch),
        None => Action::Wait(Waiting::Termination),
    }
}

/// From below: the host ends the pod, so its controllers must hear of it at once. A pod that had
/// already finished is a record, and stays.
fn deleted_below(pod: &Value, host: &Value, context: &Context) -> Action<HostPod> {
    if is_finished(host) || is_finished(pod) {
        let names = || pod::names(pod, Some(host), context);
        return match pod::status_to_virtual(host, pod, names, false) {
            Some(patch) => Action::PatchVirtual(patch),
            None => Action::Wait(Waiting::Termination),
        };
    }
    let grace = grace(host).map(|grace| grace.max(1));
    Action::DeleteVirtual(delete(pod, grace, Cause::HostDeletes))
}

/// Both live: changes go down, then the status comes up. What is refused holds up neither.
fn follow(pod: &Value, host: &Value, view: PodView<'_>, context: &Context) -> Action<HostPod> {
    let mut refused = None;
    match pod::update_host(pod, host, view.namespace_labels, context) {
        Ok(Some(patch)) => return Action::PatchHost(patch),
        Ok(None) | Err(Verdict::Gated(_) | Verdict::Unclaimed(_)) => {}
        Err(Verdict::Refused(refusal)) => refused = Some(refusal),
    }
    let (missing, forbidden) = pod::ephemeral_to_host(pod, host, context);
    if let Some(patch) = missing.filter(|_| !is_finished(host)) {
        return Action::PatchHost(patch);
    }
    refused = refused.or(forbidden);
    let resize = pod::resize_to_host(pod, host).filter(|_| !is_finished(host));
    if let Some(patch) = resize {
        return Action::PatchHost(patch);
    }
    if let Some(patch) = pod::gates_to_host(pod, host) {
        return Action::PatchHost(patch);
    }
    let names = || pod::names(pod, Some(host), context);
    if let Some(patch) = pod::status_to_virtual(host, pod, names, refused.is_none()) {
        return Action::PatchVirtual(patch);
    }
    refused.map_or(Action::Nothing, Action::Refuse)
}

pub(super) fn is_deleting(object: &Value) -> bool {
    is_set(object, "/metadata/deletionTimestamp")
}

fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"))
}

fn grace(object: &Value) -> Option<i64> {
    object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
}

pub(super) fn delete(object: &Value, grace_seconds: Option<i64>, cause: Cause) -> Delete {
    Delete {
        uid: text(object, "/metadata/uid").unwrap_or_default().to_owned(),
        grace_seconds,
        cause,
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
