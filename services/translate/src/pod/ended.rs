//! The last status of a pod whose host pod is gone without having told one.

use serde_json::{Map, Value, json};

use super::status::patch;
use crate::{
    Patch,
    json::{array, text},
    patch::Format,
};

/// The lists of container statuses.
const STATUSES: [&str; 3] = [
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
];
/// What a kubelet says of a container that it does not find any more.
const REASON: &str = "ContainerStatusUnknown";
const EXIT_CODE: i32 = 137;

/// The change by which a pod that is being deleted, and has no host pod any more, is told to have failed; nothing if it
/// is told already how it ended.
///
/// A kubelet, or the controller that collects pods of nodes that are gone, tells it before the object may go: whoever
/// keeps the object by a finalizer waits for it, as a Job that replaces failed pods does.
pub fn ended(pod: &Value) -> Option<Patch> {
    if matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed")) {
        return None;
    }
    let time = text(pod, "/metadata/deletionTimestamp")?;
    let mut status = Map::new();
    status.insert("phase".to_owned(), "Failed".into());
    for list in STATUSES {
        let mut all = array(pod, &format!("/status/{list}")).to_vec();
        for container in &mut all {
            end(container, time);
        }
        if !all.is_empty() {
            status.insert(list.to_owned(), all.into());
        }
    }
    let mut conditions = array(pod, "/status/conditions").to_vec();
    for condition in &mut conditions {
        let is_of_readiness = matches!(text(condition, "/type"), Some("Ready" | "ContainersReady"));
        if is_of_readiness && condition["status"] != "False" {
            condition["status"] = "False".into();
            condition["reason"] = "PodFailed".into();
            condition["lastTransitionTime"] = time.into();
        }
    }
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), conditions.into());
    }
    // The lists are written whole: another writer's part must not be lost.
    let version = pod.pointer("/metadata/resourceVersion");
    let body = json!({"metadata": {"resourceVersion": version}, "status": status});
    Some(patch(pod, Format::Merge, body))
}

fn end(container: &mut Value, time: &str) {
    if container.pointer("/state/terminated").is_some() {
        return;
    }
    let started = container.pointer("/state/running/startedAt").cloned();
    let Some(members) = container.as_object_mut() else {
        return;
    };
    let mut terminated = json!({
        "exitCode": EXIT_CODE, "reason": REASON, "finishedAt": time,
        "message": "The container could not be located when the pod was deleted",
    });
    if let Some(started) = started {
        terminated["startedAt"] = started;
    }
    members.insert("state".to_owned(), json!({"terminated": terminated}));
    members.insert("ready".to_owned(), false.into());
    members.insert("started".to_owned(), false.into());
}
