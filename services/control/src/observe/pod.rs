//! What a control-plane pod waits for, in words.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod as PodObject, PodStatus};
use kube::ResourceExt as _;

use crate::observed::Pod;

/// Longest text that is taken over from elsewhere.
const LONGEST: usize = 300;

/// Reads a pod.
pub(super) fn read(pod: &PodObject) -> Pod {
    let name = pod.name_any();
    Pod {
        uid: pod.uid().unwrap_or_default(),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        waits: waits(pod.status.as_ref()).map(|what| format!("pod {name}: {what}")),
        name,
    }
}

fn waits(status: Option<&PodStatus>) -> Option<String> {
    let Some(status) = status else {
        return Some("not seen by a node yet".to_owned());
    };
    let condition = |type_: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == type_)
    };
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return None;
    }
    if let Some(scheduled) = condition("PodScheduled").filter(|c| c.status == "False") {
        let why = scheduled.message.as_deref().or(scheduled.reason.as_deref());
        return Some(cut(format!(
            "cannot be scheduled: {}",
            why.unwrap_or("no reason given")
        )));
    }
    let containers = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    let waiting: Vec<&ContainerStatus> = containers
        .filter(|container| !(container.ready && container.started != Some(false)))
        .collect();
    let trouble = waiting.iter().find_map(|container| trouble(container));
    let first = waiting
        .first()
        .map(|container| format!("{} is starting", container.name));
    Some(
        trouble
            .or(first)
            .unwrap_or_else(|| "waits for a node".to_owned()),
    )
}

/// What keeps a container from starting, where it is more than time.
fn trouble(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if matches!(reason, "PodInitializing" | "ContainerCreating") {
        return None;
    }
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(cut(format!("{} {reason}: {message}", container.name)))
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(status: &serde_json::Value) -> Option<String> {
        let pod = json!({ "metadata": { "name": "demo-0", "uid": "u" }, "status": status });
        read(&serde_json::from_value(pod).unwrap()).waits
    }

    #[test]
    fn a_ready_pod_waits_for_nothing() {
        let status = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(words(&status), None);
    }

    #[test]
    fn what_the_scheduler_says_is_told() {
        let status = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" },
        ] });
        let told = words(&status).unwrap();
        assert_eq!(
            told,
            "pod demo-0: cannot be scheduled: 0/1 nodes are available"
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_told_before_what_merely_starts() {
        let image = |name: &str, reason: &str| {
            json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "waiting": { "reason": reason, "message": "no such image" } } })
        };
        let status = json!({
            "initContainerStatuses": [image("kine", "PodInitializing")],
            "containerStatuses": [image("kube-controller-manager", "ImagePullBackOff")],
        });
        let told = words(&status).unwrap();
        assert_eq!(
            told,
            "pod demo-0: kube-controller-manager ImagePullBackOff: no such image"
        );
    }

    #[test]
    fn the_first_container_that_is_not_up_is_named() {
        let container = |name: &str, ready: bool| {
            json!({ "name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": 0,
                    "started": ready, "state": { "running": {} } })
        };
        let status = json!({
            "initContainerStatuses": [container("kine", true), container("kube-apiserver", false)],
        });
        assert_eq!(
            words(&status).unwrap(),
            "pod demo-0: kube-apiserver is starting"
        );
    }
}
