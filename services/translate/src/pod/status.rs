//! The status of a pod: up from the host, except what belongs to the virtual cluster.

use std::cell::LazyCell;

use serde_json::{Map, Value, json};

use super::hosts;
use crate::{
    Patch, Refusal,
    json::{array, array_mut, at, is_set, merge_patch, object, text},
    patch::{Format, Subresource},
    text::Names,
};

/// Fields of a PodStatus that stay as the virtual API server has them: `qosClass` is immutable,
/// the others name objects of the host.
const KEPT: [&str; 4] = [
    "qosClass",
    "resourceClaimStatuses",
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
];
/// Condition of a virtual pod that is not on the host as it asks to be: `False`, with the reason. A
/// type of its own, so that it and the host's conditions never overwrite each other.
pub const SYNCED: &str = "vcluster.dev/Synced";
/// Condition that an API server itself sets as it binds a pod.
pub const BOUND: &str = "PodScheduled";
/// Conditions that only the host's scheduler and kubelet set: gone there means gone.
const HOST_CONDITIONS: [&str; 8] = [
    "AllContainersRestarting",
    "ContainersReady",
    "Initialized",
    "PodReadyToStartContainers",
    "PodResizeInProgress",
    "PodResizePending",
    "PodScheduled",
    "Ready",
];
/// The lists of container statuses, and the lists of containers that they speak of.
const CONTAINER_STATUSES: [(&str, &str); 3] = [
    ("containerStatuses", "/spec/containers"),
    ("initContainerStatuses", "/spec/initContainers"),
    ("ephemeralContainerStatuses", "/spec/ephemeralContainers"),
];

/// The change that brings a virtual pod's status to that of its host pod; nothing if it is there.
///
/// `settled` says that the host pod is as the virtual one now asks (no update is left to do):
/// only then has the host's kubelet seen the virtual pod's generation, and only then does a
/// condition of [`refused`] go. Conditions of readiness
/// gates, and those of a type that no component of the host sets, are the virtual cluster's own
/// and stay; containers that the host injected never show. `names` are asked for only if there is a message.
pub fn status_to_virtual(
    host: &Value,
    pod: &Value,
    names: impl FnOnce() -> Names,
    settled: bool,
) -> Option<Patch> {
    let found = object(host, "/status").filter(|status| !status.is_empty())?;
    let mut status = found.clone();
    let empty = Map::new();
    let previous = object(pod, "/status").unwrap_or(&empty);
    for key in KEPT {
        carry(&mut status, key, previous.get(key));
    }
    let volumes = array(pod, "/spec/volumes");
    for (key, containers) in CONTAINER_STATUSES {
        retain_named(&mut status, key, array(pod, containers));
        for container in array_mut(&mut status, key).filter_map(Value::as_object_mut) {
            retain_named(container, "volumeMounts", volumes);
        }
    }
    retain_named(&mut status, "volumeHealth", volumes);
    if text(pod, "/spec/nodeName").is_some() {
        // An API server refuses a new nomination of a bound pod.
        carry(
            &mut status,
            "nominatedNodeName",
            previous
                .get("nominatedNodeName")
                .filter(|n| found.get("nominatedNodeName") == Some(n)),
        );
    }
    let generations = Generations {
        host: at(host, "/metadata/generation"),
        pod: at(pod, "/metadata/generation"),
        settled,
    };
    generations.map(&mut status, previous.get("observedGeneration"));
    let (conditions, foreign) = conditions(host, pod, &generations);
    // An empty list is not stored.
    let conditions = (!conditions.is_empty()).then(|| conditions.into());
    carry(&mut status, "conditions", conditions.as_ref());

    let mut status = Value::Object(status);
    translate_texts(&mut status, &LazyCell::new(names));
    let change = merge_patch(&Value::Object(previous.clone()), &status)?;
    if tells_only_when_bound(&change, array(pod, "/status/conditions")) {
        return None;
    }
    let mut body = json!({ "status": change });
    if foreign && body.pointer("/status/conditions").is_some() {
        // The list is written whole: another writer's condition must not be lost.
        body["metadata"] = json!({"resourceVersion": pod.pointer("/metadata/resourceVersion")});
    }
    Some(patch(pod, Format::Merge, body))
}

/// Whether a change says nothing but at which moment the host's pod was bound. The binding of the virtual pod has set
/// the condition [`BOUND`] there already; the host's moment comes up with what the kubelet says next.
fn tells_only_when_bound(change: &Value, previous: &[Value]) -> bool {
    let Some(change) = change.as_object() else {
        return false;
    };
    let conditions = change.get("conditions").and_then(Value::as_array);
    let Some(conditions) = conditions.filter(|_| change.len() == 1) else {
        return false;
    };
    let is_same = |(new, old): (&Value, &Value)| {
        let says = |key: &str| {
            new.get(key).filter(|value| !value.is_null())
                == old.get(key).filter(|value| !value.is_null())
        };
        new == old
            || (text(new, "/type") == Some(BOUND)
                && ["type", "status", "reason", "message"]
                    .into_iter()
                    .all(says))
    };
    conditions.len() == previous.len() && conditions.iter().zip(previous).all(is_same)
}

pub(super) fn patch(object: &Value, format: Format, body: Value) -> Patch {
    let uid = text(object, "/metadata/uid").unwrap_or_default();
    Patch::new(Some(Subresource::Status), format, uid, body)
}

fn carry(status: &mut Map<String, Value>, key: &str, value: Option<&Value>) {
    match value {
        Some(value) => status.insert(key.to_owned(), value.clone()),
        None => status.remove(key),
    };
}

/// Drops the members of a list that speak of something that the virtual pod does not have.
fn retain_named(status: &mut Map<String, Value>, key: &str, known: &[Value]) {
    if let Some(Value::Array(list)) = status.get_mut(key) {
        list.retain(|member| {
            let name = text(member, "/name");
            known.iter().any(|known| text(known, "/name") == name)
        });
        if list.is_empty() {
            status.remove(key);
        }
    }
}

/// Generations count separately on each side.
struct Generations<'a> {
    host: Option<&'a Value>,
    pod: Option<&'a Value>,
    settled: bool,
}

impl Generations<'_> {
    /// Replaces the host's `observedGeneration` in a status or condition: it is the virtual pod's
    /// generation if the host has seen all there is, and otherwise what it was.
    fn map(&self, holder: &mut Map<String, Value>, previous: Option<&Value>) {
        let key = "observedGeneration";
        let current = self.settled && self.host.is_some() && self.host == holder.get(key);
        carry(holder, key, if current { self.pod } else { previous });
    }
}

/// The virtual pod's conditions, and whether any of them is not from the host.
fn conditions(host: &Value, pod: &Value, generations: &Generations<'_>) -> (Vec<Value>, bool) {
    let gates = gates(pod);
    let previous = array(pod, "/status/conditions");
    let mut all: Vec<Value> = Vec::new();
    for condition in array(host, "/status/conditions") {
        let type_ = text(condition, "/type").unwrap_or_default();
        if gates.contains(&type_) {
            continue;
        }
        let mut condition = condition.clone();
        if let Some(condition) = condition.as_object_mut() {
            let previous = of_type(previous, type_).and_then(|c| c.get("observedGeneration"));
            generations.map(condition, previous);
        }
        all.push(condition);
    }
    let from_host = all.len();
    for condition in previous {
        let type_ = text(condition, "/type").unwrap_or_default();
        let solved = type_ == SYNCED && generations.settled;
        let own = gates.contains(&type_) || !HOST_CONDITIONS.contains(&type_);
        if own && !solved && of_type(&all, type_).is_none() {
            all.push(condition.clone());
        }
    }
    let foreign = all.len() > from_host || !gates.is_empty();
    (all, foreign)
}

fn gates(pod: &Value) -> Vec<&str> {
    array(pod, "/spec/readinessGates")
        .iter()
        .filter_map(|gate| text(gate, "/conditionType"))
        .collect()
}

fn of_type<'a>(conditions: &'a [Value], type_: &str) -> Option<&'a Value> {
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(type_))
}

/// Puts host names back in every `message`, however deep: of the pod, its conditions and its
/// containers' states.
fn translate_texts<F: FnOnce() -> Names>(value: &mut Value, names: &LazyCell<Names, F>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("message", Value::String(text)) => {
                        *text = without_ours(&names.translate(text));
                    }
                    (_, value) => translate_texts(value, names),
                }
            }
        }
        Value::Array(list) => {
            for value in list {
                translate_texts(value, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A condition's list of containers that are awaited, without ours, which is the first.
fn without_ours(text: &str) -> String {
    text.replace(&format!("[{} ", hosts::NAME), "[")
        .replace(&format!("[{}]", hosts::NAME), "[]")
}

/// The conditions of readiness gates that the host pod still lacks: set inside the virtual cluster,
/// read by the host's kubelet when it says whether the pod is ready. One that was taken away inside
/// becomes `False`, which to the kubelet is the same. Nothing if it has them.
pub fn gates_to_host(pod: &Value, host: &Value) -> Option<Patch> {
    let inside = array(pod, "/status/conditions");
    let outside = array(host, "/status/conditions");
    let missing: Vec<Value> = gates(pod)
        .into_iter()
        .filter_map(|gate| {
            let open = || of_type(outside, gate).filter(|c| text(c, "/status") != Some("False"));
            let Some(found) = of_type(inside, gate) else {
                return open().map(|_| json!({"type": gate, "status": "False"}));
            };
            let mut condition = found.clone();
            // A generation of the virtual pod; a null that the host would not keep.
            condition.as_object_mut()?.remove("observedGeneration");
            let same = |key: &str| {
                let found = of_type(outside, gate).and_then(|found| found.get(key));
                found.unwrap_or(&Value::Null) == condition.get(key).unwrap_or(&Value::Null)
            };
            let known = ["status", "reason", "message"].into_iter().all(same);
            (!known).then_some(condition)
        })
        .collect();
    if missing.is_empty() {
        return None;
    }
    let body = json!({"status": {"conditions": missing}});
    Some(patch(host, Format::Strategic, body))
}

/// The condition [`SYNCED`] that says on the virtual pod why it, or its last change, is not on the
/// host; nothing if it says so already. It goes with the first status that comes up when all is
/// well. `now` is the time in RFC 3339, for a condition that turns.
pub fn refused(pod: &Value, refusal: &Refusal, now: &str) -> Option<Patch> {
    let previous = array(pod, "/status/conditions");
    let found = of_type(previous, SYNCED);
    let since = found
        .filter(|found| text(found, "/status") == Some("False"))
        .and_then(|found| text(found, "/lastTransitionTime"))
        .unwrap_or(now);
    let message = refusal.to_string();
    let said = found.is_some_and(|found| {
        text(found, "/status") == Some("False")
            && text(found, "/reason") == Some(refusal.reason.as_str())
            && text(found, "/message") == Some(message.as_str())
            && is_set(found, "/lastTransitionTime")
    });
    if said {
        return None;
    }
    let condition = json!({
        "type": SYNCED,
        "status": "False",
        "reason": refusal.reason.as_str(),
        "message": message,
        "lastTransitionTime": since,
    });
    let body = json!({"status": {"conditions": [condition]}});
    Some(patch(pod, Format::Strategic, body))
}
