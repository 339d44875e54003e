//! Decisions about pods and nodes, case by case.

use serde_json::{Value, json};

use super::*;
use crate::{
    Kind,
    fixture::{context, host_of, namespace_labels, pod, pod_with},
    kind::Translation,
    patch::Subresource,
    pod::HostPod,
    refusal::Reason,
};

mod described;
mod model;
mod objects;
mod volumes;

fn decide(pod: Option<&Value>, host: Option<&Value>, knowledge: Knowledge) -> Action<HostPod> {
    decide_on_node(pod, host, knowledge, false)
}

fn decide_on_node(
    pod: Option<&Value>,
    host: Option<&Value>,
    knowledge: Knowledge,
    node_lost: bool,
) -> Action<HostPod> {
    let view = PodView {
        pod,
        host,
        namespace_labels: &namespace_labels(),
        knowledge,
        node_lost,
    };
    super::pod(view, &context())
}

fn complete(pod: Option<&Value>, host: Option<&Value>) -> Action<HostPod> {
    decide(pod, host, Knowledge::Complete)
}

fn deleting(object: &Value, grace: i64) -> Value {
    let mut object = object.clone();
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
    object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
    object
}

fn on_node(pod: &Value, node: &str) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = node.into();
    pod
}

fn delete_of(object: &Value, grace_seconds: Option<i64>, cause: Cause) -> Delete {
    Delete {
        uid: object["metadata"]["uid"].as_str().unwrap().to_owned(),
        grace_seconds,
        cause,
    }
}

fn started(pod: &Value) -> Value {
    let mut pod = on_node(pod, "n1");
    pod["status"] = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z"});
    pod
}

#[test]
fn a_pod_is_made_only_when_it_is_known_to_be_missing() {
    let pod = pod();
    assert_eq!(
        decide(Some(&pod), None, Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    assert!(matches!(complete(Some(&pod), None), Action::Create(_)));
}

#[test]
fn gates_and_refusals_are_told() {
    let gated = pod_with(json!({"schedulingGates": [{"name": "g"}]}));
    assert_eq!(
        complete(Some(&gated), None),
        Action::Wait(Waiting::Gates(vec!["g".to_owned()]))
    );
    let mut claimed =
        pod_with(json!({"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}]}));
    assert_eq!(
        complete(Some(&claimed), None),
        Action::Wait(Waiting::Claims(vec!["gpu".to_owned()]))
    );
    claimed["status"]["resourceClaimStatuses"] =
        json!([{"name": "gpu", "resourceClaimName": "web-gpu-7k2"}]);
    let Action::Create(host) = complete(Some(&claimed), None) else {
        panic!("its claim is made")
    };
    assert_eq!(
        host.object["spec"]["resourceClaims"],
        json!([{"name": "gpu", "resourceClaimName": "web-gpu-7k2-x-shop-x-demo"}])
    );
    let refused = pod_with(json!({"hostPID": true}));
    assert!(matches!(complete(Some(&refused), None), Action::Refuse(_)));
}

#[test]
fn the_node_is_told_before_the_status() {
    let pod = pod();
    let mut host = on_node(&host_of(&pod), "n1");
    host["status"]["phase"] = "Running".into();
    let Action::Bind(binding) = complete(Some(&pod), Some(&host)) else {
        panic!("not bound")
    };
    assert_eq!(binding.node, "n1");
    assert!(matches!(
        complete(Some(&on_node(&pod, "n1")), Some(&host)),
        Action::PatchVirtual(_)
    ));
}

#[test]
fn a_deletion_from_above_is_as_graceful_as_it_was_asked_for() {
    let pod = on_node(&pod(), "n1");
    let host = on_node(&host_of(&pod), "n1");
    let delete = |object, grace| Action::DeleteHost(delete_of(object, grace, Cause::Deleting));
    let decide = |pod: &Value, host: &Value| complete(Some(pod), Some(host));
    assert_eq!(decide(&deleting(&pod, 30), &host), delete(&host, Some(30)));
    let ending = deleting(&host, 30);
    assert_eq!(
        decide(&deleting(&pod, 30), &ending),
        Action::Wait(Waiting::Termination)
    );
    assert_eq!(
        decide(&deleting(&pod, 5), &ending),
        delete(&ending, Some(5))
    );
    // A node must have ended the containers before the pod goes.
    assert_eq!(decide(&deleting(&pod, 0), &host), delete(&host, Some(1)));
    assert_eq!(
        decide(&deleting(&pod, 0), &deleting(&host, 1)),
        Action::Wait(Waiting::Termination)
    );
}

#[test]
fn an_unbound_host_pod_is_deleted_without_grace() {
    let pod = deleting(&pod(), 0);
    let host = host_of(&pod);
    assert_eq!(
        complete(Some(&pod), Some(&host)),
        Action::DeleteHost(delete_of(&host, Some(0), Cause::Deleting))
    );
}

#[test]
fn a_deletion_from_above_ends_when_the_host_pod_is_gone() {
    let pod = deleting(&started(&pod()), 30);
    assert_eq!(
        complete(Some(&pod), None),
        Action::DeleteVirtual(delete_of(&pod, Some(0), Cause::Deleting))
    );
    assert_eq!(
        decide(Some(&pod), None, Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
}

#[test]
fn a_pod_that_a_finalizer_holds_is_told_how_it_ended_though_nobody_saw_it() {
    let mut pod = deleting(&started(&pod()), 0);
    pod["metadata"]["resourceVersion"] = "7".into();
    pod["status"]["containerStatuses"] = json!([
        {"name": "main", "ready": true, "started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}}},
        {"name": "done", "ready": false, "state": {"terminated": {"exitCode": 0}}},
    ]);
    pod["status"]["conditions"] = json!([
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"},
        {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
    ]);
    assert_eq!(
        decide(Some(&pod), None, Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    let Action::PatchVirtual(patch) = complete(Some(&pod), None) else {
        panic!("nobody is told")
    };
    assert_eq!(patch.subresource, Some(Subresource::Status));
    assert_eq!(patch.body["metadata"]["resourceVersion"], "7");
    let status = &patch.body["status"];
    assert_eq!(status["phase"], "Failed");
    let [main, done] = [0, 1].map(|index| &status["containerStatuses"][index]);
    assert_eq!(main["ready"], false);
    assert_eq!(
        main["state"],
        json!({"terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": "2026-01-01T00:00:01Z",
            "finishedAt": "2026-01-01T00:00:30Z",
            "message": "The container could not be located when the pod was deleted",
        }})
    );
    assert_eq!(done["state"], json!({"terminated": {"exitCode": 0}}));
    assert_eq!(
        status["conditions"],
        json!([
            {"type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": "2026-01-01T00:00:30Z"},
            {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        ])
    );
    pod["status"]["phase"] = "Failed".into();
    assert_eq!(complete(Some(&pod), None), Action::Nothing, "once");
}

#[test]
fn the_status_still_comes_up_while_a_pod_ends() {
    let pod = deleting(&started(&pod()), 30);
    let mut host = deleting(&on_node(&host_of(&pod), "n1"), 30);
    host["status"]["phase"] = "Failed".into();
    assert!(matches!(
        complete(Some(&pod), Some(&host)),
        Action::PatchVirtual(_)
    ));
}

#[test]
fn a_deletion_from_below_starts_that_of_the_virtual_pod_at_once() {
    let pod = started(&pod());
    let host = on_node(&host_of(&pod), "n1");
    for (host_grace, grace) in [(30, 30), (0, 1)] {
        assert_eq!(
            complete(Some(&pod), Some(&deleting(&host, host_grace))),
            Action::DeleteVirtual(delete_of(&pod, Some(grace), Cause::HostDeletes))
        );
    }
}

#[test]
fn a_pod_whose_host_pod_vanished_is_taken_away_only_on_certain_knowledge() {
    let ran = started(&pod());
    assert_eq!(
        decide(Some(&ran), None, Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    assert_eq!(
        complete(Some(&ran), None),
        Action::DeleteVirtual(delete_of(&ran, Some(0), Cause::HostGone))
    );
    // Bound, but never seen to start: nothing is lost by making it again, on the same node.
    assert!(matches!(
        complete(Some(&on_node(&pod(), "n1")), None),
        Action::Create(_)
    ));
}

#[test]
fn a_finished_pod_is_a_record_and_stays() {
    for phase in ["Succeeded", "Failed"] {
        let mut pod = started(&pod());
        pod["status"]["phase"] = phase.into();
        assert_eq!(complete(Some(&pod), None), Action::Nothing);
        let mut host = deleting(&on_node(&host_of(&pod), "n1"), 30);
        host["status"] = pod["status"].clone();
        assert_eq!(
            complete(Some(&pod), Some(&host)),
            Action::Wait(Waiting::Termination)
        );
    }
}

#[test]
fn a_host_pod_without_its_virtual_pod_goes_by_uid() {
    let host = host_of(&pod());
    assert_eq!(
        decide(None, Some(&host), Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    assert_eq!(
        complete(None, Some(&host)),
        Action::DeleteHost(delete_of(&host, None, Cause::Orphan))
    );
    assert_eq!(
        complete(None, Some(&deleting(&host, 30))),
        Action::Wait(Waiting::Termination)
    );
}

#[test]
fn a_new_pod_of_an_old_name_waits_for_the_old_one() {
    let mut new = pod();
    new["metadata"]["uid"] = "another".into();
    let old = host_of(&pod());
    assert_eq!(
        decide(Some(&new), Some(&old), Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    assert_eq!(
        complete(Some(&new), Some(&old)),
        Action::DeleteHost(delete_of(&old, None, Cause::Orphan))
    );
    assert_eq!(
        complete(Some(&new), Some(&deleting(&old, 30))),
        Action::Wait(Waiting::Predecessor)
    );
}

#[test]
fn a_lost_node_does_not_hold_a_name_for_ever() {
    let pod = started(&pod());
    let host = on_node(&host_of(&pod), "n1");
    let mut new = pod.clone();
    new["metadata"]["uid"] = "another".into();
    let lost = |pod: Option<&Value>, host: &Value, knowledge| {
        decide_on_node(pod, Some(host), knowledge, true)
    };
    let delete = |host: &Value, grace| Action::DeleteHost(delete_of(host, grace, Cause::Orphan));
    let ending = deleting(&host, 30);
    // Somebody forced the virtual pod away: first gracefully, then as it was asked for.
    for gone in [None, Some(&new)] {
        assert_eq!(lost(gone, &host, Knowledge::Complete), delete(&host, None));
        assert_eq!(
            lost(gone, &ending, Knowledge::Complete),
            delete(&ending, Some(0))
        );
        assert!(matches!(
            lost(gone, &ending, Knowledge::Partial),
            Action::Wait(_)
        ));
        assert!(matches!(
            lost(gone, &deleting(&host, 0), Knowledge::Complete),
            Action::Wait(_)
        ));
    }
    // Nobody forced it: its containers may run, and another must not begin.
    assert!(matches!(
        lost(Some(&deleting(&pod, 30)), &ending, Knowledge::Complete),
        Action::PatchVirtual(_) | Action::Wait(Waiting::Termination)
    ));
    assert_eq!(
        lost(Some(&pod), &ending, Knowledge::Complete),
        Action::DeleteVirtual(delete_of(&pod, Some(30), Cause::HostDeletes))
    );
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let pod = pod();
    let ours = host_of(&pod);
    let changed = |pointer: &str, value: &str| {
        let mut host = ours.clone();
        *host.pointer_mut(pointer).unwrap() = value.into();
        host
    };
    let mut bare = ours.clone();
    bare["metadata"]["annotations"] = json!({});
    let strangers = [
        bare,
        changed("/metadata/annotations/vcluster.dev~1cluster-uid", "other"),
        changed("/metadata/annotations/vcluster.dev~1kind", "Secret"),
        changed("/metadata/annotations/vcluster.dev~1name", "other"),
        changed("/metadata/annotations/vcluster.dev~1namespace", "other"),
        changed("/metadata/namespace", "other"),
        changed("/metadata/name", "a-copy"),
    ];
    for stranger in strangers {
        assert_eq!(complete(None, Some(&stranger)), Action::Nothing);
        let mut deleted = deleting(&pod, 30);
        for pod in [&pod, &deleted.clone()] {
            let Action::Refuse(refusal) = complete(Some(pod), Some(&stranger)) else {
                panic!("not refused: {stranger}")
            };
            assert_eq!(refusal.reason, Reason::NameTaken);
        }
        deleted["metadata"]["uid"] = "another".into();
        assert!(matches!(
            complete(Some(&deleted), Some(&stranger)),
            Action::Refuse(_)
        ));
    }
}

#[test]
fn a_pod_bound_to_another_node_is_replaced() {
    let pod = on_node(&pod(), "n2");
    let host = on_node(&host_of(&pod), "n1");
    assert_eq!(
        complete(Some(&pod), Some(&host)),
        Action::DeleteVirtual(delete_of(&pod, None, Cause::NodeDiffers))
    );
}

#[test]
fn a_refused_change_does_not_hold_up_the_status() {
    let made = pod();
    let host = {
        let mut host = on_node(&host_of(&made), "n1");
        host["status"]["phase"] = "Running".into();
        host
    };
    let mut pod = on_node(&made, "n1");
    pod["spec"]["ephemeralContainers"] =
        json!([{"name": "d", "securityContext": {"privileged": true}}]);
    let Action::PatchVirtual(patch) = complete(Some(&pod), Some(&host)) else {
        panic!("status held up")
    };
    let pod = crate::fixture::patched(&pod, &patch);
    assert!(matches!(
        complete(Some(&pod), Some(&host)),
        Action::Refuse(_)
    ));
}
