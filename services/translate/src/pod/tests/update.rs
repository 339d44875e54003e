//! What of a pod that runs is changed on the host.

use super::*;
use crate::patch::Subresource;

fn update(pod: &Value, host: &Value) -> Option<Patch> {
    update_host(pod, host, &namespace_labels(), &context()).unwrap()
}

#[test]
fn a_fresh_host_pod_needs_no_update() {
    let pod = rich::pod();
    assert_eq!(update(&pod, &host_of(&pod)), None);
    assert_eq!(resize_to_host(&pod, &host_of(&pod)), None);
}

#[test]
fn a_binding_is_no_reason_to_update() {
    let mut pod = pod();
    let host = host_of(&pod);
    pod["spec"]["nodeName"] = "n1".into();
    assert_eq!(update(&pod, &host), None);
}

#[test]
fn changed_labels_annotations_and_images_go_down_in_one_patch() {
    let mut pod = rich::pod();
    let host = host_of(&pod);
    pod["metadata"]["labels"] = json!({"tier": "back"});
    pod["metadata"]["annotations"] = json!({"note": "new"});
    pod["spec"]["containers"][0]["image"] = "nginx:2".into();
    pod["spec"]["tolerations"] = json!([
        {"key": "gpu", "operator": "Exists"}, {"key": "spot", "operator": "Exists"},
    ]);
    pod["spec"]["activeDeadlineSeconds"] = 60.into();
    let patch = update(&pod, &host).unwrap();
    assert_eq!(patch.subresource, None);
    let host = patched(&host, &patch);
    let fresh = host_of(&pod);
    assert_eq!(host["metadata"]["labels"], fresh["metadata"]["labels"]);
    assert_eq!(
        host["metadata"]["annotations"],
        fresh["metadata"]["annotations"]
    );
    for key in ["containers", "tolerations", "activeDeadlineSeconds"] {
        assert_eq!(host["spec"][key], fresh["spec"][key]);
    }
    assert_eq!(update(&pod, &host), None);
}

#[test]
fn what_the_host_s_admission_changed_is_not_fought_over() {
    let pod = pod();
    let mut host = host_of(&pod);
    host["spec"]["containers"][0]["image"] = "mirror.example/nginx:1".into();
    host["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "proxy", "image": "p"}));
    host["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/not-ready"}]);
    host["metadata"]["annotations"]["cni.example/ip"] = "10.0.0.9".into();
    host["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] = "no".into();
    host["metadata"]["labels"]["injected"] = "true".into();
    assert_eq!(update(&pod, &host), None);
}

#[test]
fn tolerations_of_the_host_are_kept_when_the_user_adds_one() {
    let mut pod = pod();
    let mut host = host_of(&pod);
    host["spec"]["tolerations"] = json!([{"key": "host"}]);
    pod["spec"]["tolerations"] = json!([{"key": "user"}]);
    let patch = update(&pod, &host).unwrap();
    assert_eq!(
        patch.body["spec"]["tolerations"],
        json!([{"key": "host"}, {"key": "user"}])
    );
}

#[test]
fn labels_of_ours_changed_by_hand_are_put_back() {
    let pod = pod();
    let fresh = host_of(&pod);
    let mut host = fresh.clone();
    host["metadata"]["labels"]["label.vcluster.dev/app"] = "other".into();
    host["metadata"]["labels"]["label.vcluster.dev/extra"] = "x".into();
    let patch = update(&pod, &host).unwrap();
    assert_eq!(patched(&host, &patch)["metadata"], fresh["metadata"]);
    assert_eq!(patch.body.get("spec"), None);
}

#[test]
fn an_annotation_that_the_user_takes_away_goes() {
    let mut pod = pod();
    let key = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    pod["metadata"]["annotations"] = json!({key: "true"});
    let host = host_of(&pod);
    pod["metadata"]["annotations"] = json!({});
    let host = patched(&host, &update(&pod, &host).unwrap());
    assert_eq!(host["metadata"]["annotations"].get(key), None);
    assert_eq!(update(&pod, &host), None);
}

#[test]
fn ephemeral_containers_are_added_once_and_translated() {
    let pod = rich::pod();
    let host = host_of(&pod);
    assert_eq!(host["spec"].get("ephemeralContainers"), None);
    let patch = ephemeral_to_host(&pod, &host, &context()).0.unwrap();
    assert_eq!(patch.subresource, Some(Subresource::EphemeralContainers));
    let host = patched(&host, &patch);
    let added = &host["spec"]["ephemeralContainers"][0];
    assert_eq!(
        added["env"][0]["valueFrom"]["secretKeyRef"]["name"],
        "debug-key-x-shop-x-demo"
    );
    assert_eq!(ephemeral_to_host(&pod, &host, &context()), (None, None));
}

#[test]
fn a_refused_ephemeral_container_is_told_by_field_and_holds_up_no_other() {
    let pod = pod_with(json!({"ephemeralContainers": [
        {"name": "d", "securityContext": {"privileged": true}},
        {"name": "e"},
        {"name": "f", "securityContext": {"privileged": true}},
    ]}));
    let (patch, refusal) = ephemeral_to_host(&pod, &host_of(&pod), &context());
    let added = patch.unwrap().body["spec"]["ephemeralContainers"].take();
    let names: Vec<_> = added
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["e"]);
    assert_eq!(
        refusal.unwrap().field,
        "spec.ephemeralContainers[0].securityContext.privileged"
    );
}

fn with_resources(resources: &Value) -> Value {
    pod_with(json!({"containers": [
        {"name": "main", "image": "i", "resources": resources},
        {"name": "side", "image": "i", "resources": {"requests": {"cpu": "1"}}},
    ]}))
}

#[test]
fn a_resize_asks_only_for_what_the_user_changed() {
    let before = with_resources(&json!({"requests": {"cpu": "1", "memory": "1Gi"}}));
    let mut host = host_of(&before);
    // The host's administrator overcommits, and limits.
    for n in [0, 1] {
        let resources = &mut host["spec"]["containers"][n]["resources"];
        resources["requests"]["cpu"] = "100m".into();
        resources["limits"] = json!({"memory": "1Gi"});
    }
    assert_eq!(update(&before, &host), None);
    assert_eq!(resize_to_host(&before, &host), None);
    let wanted = with_resources(&json!({"requests": {"cpu": "1", "memory": "2Gi"}}));
    assert_eq!(update(&wanted, &host), None);
    let patch = resize_to_host(&wanted, &host).unwrap();
    assert_eq!(patch.subresource, Some(Subresource::Resize));
    assert_eq!(
        patch.body["spec"],
        json!({"containers": [{"name": "main", "resources": {"requests": {"memory": "2Gi"}}}]})
    );
    let host = patched(&host, &patch);
    let note = resize_to_host(&wanted, &host).unwrap();
    assert_eq!(note, resized(&wanted, &host));
    assert_eq!(note.subresource, None);
    let host = patched(&host, &note);
    assert_eq!(resize_to_host(&wanted, &host), None);
    assert_eq!(update(&wanted, &host), None);
}

#[test]
fn what_the_host_made_of_a_resize_is_its_last_word() {
    let host = host_of(&with_resources(&json!({"requests": {"cpu": "1"}})));
    let wanted = with_resources(&json!({"requests": {"cpu": "2"}}));
    // The answer to the resize: the host's admission has put it back.
    let host = patched(&host, &resized(&wanted, &host));
    assert_eq!(resize_to_host(&wanted, &host), None);
}
