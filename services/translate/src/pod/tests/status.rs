//! The host pod's status, told inside.

use super::*;

fn names_of(pod: &Value, host: &Value) -> crate::text::Names {
    names(pod, Some(host), &context())
}

fn bring_up(host: &Value, pod: &Value, settled: bool) -> Option<Patch> {
    status_to_virtual(host, pod, || names_of(pod, host), settled)
}

fn running(host: &Value) -> Value {
    let mut host = host.clone();
    host["status"] = json!({
        "phase": "Running",
        "observedGeneration": 1,
        "qosClass": "Burstable",
        "hostIP": "10.0.0.1",
        "podIPs": [{"ip": "10.244.0.3"}],
        "startTime": "2026-01-01T00:00:00Z",
        "resourceClaimStatuses": [{"name": "of-the-host"}],
        "conditions": [
            {"type": "Ready", "status": "False", "observedGeneration": 1,
             "message": "pod web-x-shop-x-demo is not ready"},
            {"type": "PodScheduled", "status": "True"},
        ],
        "containerStatuses": [
            {"name": "main", "ready": true, "volumeMounts": [{"name": "injected", "mountPath": "/x"}],
             "state": {"waiting": {"message": "secret \"keys-x-shop-x-demo\" not found"}}},
            {"name": "proxy", "ready": true},
        ],
    });
    host
}

#[test]
fn the_host_s_status_comes_up_without_what_is_the_host_s_own() {
    let mut pod = pod_with(
        json!({"containers": [{"name": "main", "image": "i", "envFrom": [
        {"secretRef": {"name": "keys"}}]}]}),
    );
    pod["metadata"]["generation"] = 4.into();
    let host = running(&host_of(&pod));
    let patch = bring_up(&host, &pod, true).unwrap();
    let pod = patched(&pod, &patch);
    insta::assert_json_snapshot!("status", pod["status"]);
    assert_eq!(bring_up(&host, &pod, true), None);
}

#[test]
fn the_generation_is_observed_only_when_the_host_has_seen_all() {
    let mut pod = pod();
    pod["metadata"]["generation"] = 4.into();
    pod["status"]["observedGeneration"] = 3.into();
    let host = running(&host_of(&pod));
    let observed = |host: &Value, settled| {
        let pod = patched(&pod, &bring_up(host, &pod, settled).unwrap());
        let condition = pod["status"]["conditions"][0]
            .get("observedGeneration")
            .cloned();
        (pod["status"]["observedGeneration"].clone(), condition)
    };
    assert_eq!(observed(&host, true), (json!(4), Some(json!(4))));
    assert_eq!(observed(&host, false), (json!(3), None));
    let mut behind = host.clone();
    behind["metadata"]["generation"] = 2.into();
    assert_eq!(observed(&behind, true), (json!(3), None));
}

#[test]
fn conditions_of_the_virtual_cluster_stay() {
    let mut pod = pod_with(json!({"readinessGates": [{"conditionType": "example.com/gate"}]}));
    pod["status"]["conditions"] = json!([
        {"type": "example.com/gate", "status": "True"},
        {"type": "example.com/other", "status": "True"},
        {"type": "PodScheduled", "status": "False", "reason": "NotSupported"},
    ]);
    let mut host = host_of(&pod);
    host["status"]["conditions"] = json!([
        {"type": "example.com/gate", "status": "False"},
        {"type": "Initialized", "status": "True"},
    ]);
    let patch = bring_up(&host, &pod, true).unwrap();
    assert_eq!(
        patch.body["metadata"]["resourceVersion"], "7",
        "another writer's condition is at stake"
    );
    let after = patched(&pod, &patch);
    assert_eq!(
        after["status"]["conditions"],
        json!([
            {"type": "Initialized", "status": "True"},
            {"type": "example.com/gate", "status": "True"},
            {"type": "example.com/other", "status": "True"},
        ])
    );
    let down = gates_to_host(&pod, &host).unwrap();
    let host = patched(&host, &down);
    assert_eq!(host["status"]["conditions"][0]["status"], "True");
    assert_eq!(gates_to_host(&pod, &host), None);
    // The gate's controller takes its condition away.
    pod["status"]["conditions"] = json!([]);
    let host = patched(&host, &gates_to_host(&pod, &host).unwrap());
    assert_eq!(host["status"]["conditions"][0]["status"], "False");
    assert_eq!(gates_to_host(&pod, &host), None);
}

#[test]
fn an_empty_status_says_nothing() {
    let pod = pod();
    let mut host = host_of(&pod);
    host["status"] = json!({});
    assert_eq!(bring_up(&host, &pod, true), None);
    host["status"] = json!({"phase": "Pending", "qosClass": "Guaranteed"});
    assert_eq!(bring_up(&host, &pod, true), None);
}

#[test]
fn the_moment_of_a_binding_comes_up_with_what_the_kubelet_says() {
    let at = |second: u32| json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": second, "lastProbeTime": null});
    let mut pod = pod();
    pod["status"]["conditions"] = json!([at(1)]);
    let mut host = host_of(&pod);
    host["status"]["conditions"] = json!([at(2)]);
    assert_eq!(bring_up(&host, &pod, true), None);
    host["status"]["conditions"] = json!([at(2), {"type": "Initialized", "status": "True"}]);
    let after = patched(&pod, &bring_up(&host, &pod, true).unwrap());
    assert_eq!(after["status"]["conditions"], host["status"]["conditions"]);
    pod["status"]["conditions"][0]["status"] = "False".into();
    host["status"]["conditions"] = json!([at(2)]);
    assert!(bring_up(&host, &pod, true).is_some());
}

#[test]
fn a_bound_pod_is_not_nominated_anew() {
    let mut pod = pod();
    let mut host = host_of(&pod);
    host["status"]["nominatedNodeName"] = "n2".into();
    assert!(bring_up(&host, &pod, true).is_some());
    pod["spec"]["nodeName"] = "n1".into();
    assert_eq!(bring_up(&host, &pod, true), None);
}

#[test]
fn a_refusal_is_a_condition_once() {
    let refusal = refusal(json!({"hostPID": true}));
    let now = "2026-01-01T00:00:00Z";
    let patch = refused(&pod(), &refusal, now).unwrap();
    let pod = patched(&pod(), &patch);
    assert_eq!(
        pod["status"]["conditions"][0]["reason"],
        "HostAccessRefused"
    );
    assert_eq!(refused(&pod, &refusal, "2026-01-02T00:00:00Z"), None);
    let other = super::refusal(json!({"hostIPC": true}));
    let patch = refused(&pod, &other, "2026-01-02T00:00:00Z").unwrap();
    assert_eq!(
        patch.body["status"]["conditions"][0]["lastTransitionTime"],
        now
    );
}

#[test]
fn a_binding_is_due_until_the_virtual_pod_has_a_node() {
    let mut pod = pod();
    let mut host = host_of(&pod);
    assert_eq!(binding(&host, &pod), None);
    host["spec"]["nodeName"] = "n1".into();
    let due = binding(&host, &pod).unwrap();
    assert_eq!(due.node, "n1");
    assert_eq!(due.body["metadata"]["uid"], pod["metadata"]["uid"]);
    pod["spec"]["nodeName"] = "n1".into();
    assert_eq!(binding(&host, &pod), None);
}

#[test]
fn a_refusal_neither_fights_the_host_s_conditions_nor_outlives_its_cause() {
    let mut host = host_of(&pod());
    host["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
    let pod = patched(&pod(), &bring_up(&host, &pod(), true).unwrap());
    let refusal = refusal(json!({"hostPID": true}));
    let refused_pod = patched(
        &pod,
        &refused(&pod, &refusal, "2026-01-01T00:00:00Z").unwrap(),
    );
    assert_eq!(bring_up(&host, &refused_pod, false), None);
    let patch = bring_up(&host, &refused_pod, true).unwrap();
    assert_eq!(patched(&refused_pod, &patch)["status"], pod["status"]);
}
