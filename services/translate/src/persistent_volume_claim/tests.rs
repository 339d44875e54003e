//! Claims on the host, and what comes up from them.

use serde_json::{Value, json};

use super::*;
use crate::{
    fixture::{context, patched, pod},
    refusal::Reason,
};

fn claim() -> Value {
    claim_with(json!({}))
}

fn claim_with(spec: Value) -> Value {
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data", "namespace": "shop", "uid": "c1a1", "resourceVersion": "7",
            "labels": {"app": "db"},
            "annotations": {
                "volumeType": "local",
                "example.com/import-volume": "a-neighbours",
                "volume.kubernetes.io/selected-node": "n1",
                "volume.kubernetes.io/storage-provisioner": "p",
            },
            "finalizers": ["kubernetes.io/pvc-protection"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1"}],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    });
    let Value::Object(spec) = spec else { panic!() };
    claim["spec"].as_object_mut().unwrap().extend(spec);
    claim
}

fn host_of(claim: &Value) -> Value {
    let mut host = to_host(claim, &context()).unwrap();
    host["metadata"]["uid"] = "b057".into();
    host["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    host["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes".into();
    host["status"] = json!({"phase": "Pending"});
    host
}

#[test]
fn a_claim_is_translated_whole() {
    let claim = claim_with(json!({
        "storageClassName": "fast",
        "volumeAttributesClassName": "gold",
        "fieldOfTomorrow": {"a": 1},
        "dataSource": {"kind": "PersistentVolumeClaim", "name": "monday"},
        "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "monday"},
    }));
    insta::assert_json_snapshot!("claim", to_host(&claim, &context()).unwrap());
}

#[test]
fn an_absent_class_is_the_host_s_default_and_an_empty_one_is_none() {
    let class = |claim: &Value| {
        to_host(claim, &context()).unwrap()["spec"]
            .get("storageClassName")
            .cloned()
    };
    assert_eq!(class(&claim()), None);
    assert_eq!(class(&claim_with(json!({"storageClassName": null}))), None);
    assert_eq!(
        class(&claim_with(json!({"storageClassName": ""}))),
        Some("".into())
    );
    let mut old = claim();
    old["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"] = "slow".into();
    assert_eq!(class(&old), Some("slow".into()));
}

#[test]
fn sources_are_claims_and_snapshots_of_the_same_namespace() {
    let with = |source: Value| to_host(&claim_with(json!({"dataSourceRef": source})), &context());
    let own =
        with(json!({"kind": "PersistentVolumeClaim", "name": "old", "namespace": "shop"})).unwrap();
    assert_eq!(
        own["spec"]["dataSourceRef"],
        json!({"kind": "PersistentVolumeClaim", "name": "old-x-shop-x-demo"})
    );
    let snapshot =
        json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "monday"});
    let restored = with(snapshot).unwrap();
    assert_eq!(
        restored["spec"]["dataSourceRef"],
        json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "monday-x-shop-x-demo"})
    );
    let refused = [
        (
            json!({"kind": "VolumeSnapshot", "name": "monday"}),
            "spec.dataSourceRef",
            Reason::NotSupported,
        ),
        (
            json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshotContent", "name": "monday"}),
            "spec.dataSourceRef",
            Reason::NotSupported,
        ),
        (
            json!({"apiGroup": "example.com", "kind": "Populator", "name": "p"}),
            "spec.dataSourceRef",
            Reason::NotSupported,
        ),
        // The kind alone is not the kind.
        (
            json!({"apiGroup": "example.com", "kind": "PersistentVolumeClaim", "name": "p"}),
            "spec.dataSourceRef",
            Reason::NotSupported,
        ),
        (
            json!({"kind": "PersistentVolumeClaim", "name": "p", "namespace": "bank"}),
            "spec.dataSourceRef.namespace",
            Reason::NotSupported,
        ),
        (
            json!({"kind": "PersistentVolumeClaim"}),
            "spec.dataSourceRef.name",
            Reason::Invalid,
        ),
    ];
    for (source, field, reason) in refused {
        let refusal = with(source).unwrap_err();
        assert_eq!((refusal.field.as_str(), refusal.reason), (field, reason));
    }
}

#[test]
fn a_choice_among_the_host_s_volumes_never_reaches_the_host() {
    let selector = claim_with(json!({"selector": {}}));
    let refusal = to_host(&selector, &context()).unwrap_err();
    assert_eq!(refusal.field, "spec.selector");
    assert_eq!(refusal.reason, Reason::HostAccess);
    let named = claim_with(json!({"volumeName": "a-neighbours"}));
    let host = to_host(&named, &context()).unwrap();
    assert!(host["spec"].get("volumeName").is_none());
}

#[test]
fn growth_labels_and_attributes_follow_and_nothing_else_is_written() {
    let mut claim = claim();
    let host = host_of(&claim);
    assert_eq!(update_host(&claim, &host, &context()).unwrap(), None);
    claim["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    claim["spec"]["volumeAttributesClassName"] = "gold".into();
    claim["metadata"]["labels"] = json!({"tier": "back"});
    let patch = update_host(&claim, &host, &context()).unwrap().unwrap();
    let host = patched(&host, &patch);
    assert_eq!(host["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(host["spec"]["volumeAttributesClassName"], "gold");
    let labels = &host["metadata"]["labels"];
    assert_eq!(labels["label.vcluster.dev/tier"], "back");
    assert!(labels.get("label.vcluster.dev/app").is_none());
    let annotations = &host["metadata"]["annotations"];
    assert_eq!(
        annotations["pv.kubernetes.io/bind-completed"], "yes",
        "the host's own stay"
    );
    assert_eq!(update_host(&claim, &host, &context()).unwrap(), None);
}

#[test]
fn an_annotation_that_the_user_takes_away_goes() {
    let mut claim = claim();
    let host = host_of(&claim);
    assert_eq!(host["metadata"]["annotations"]["volumeType"], "local");
    claim["metadata"]["annotations"] = json!({});
    let patch = update_host(&claim, &host, &context()).unwrap().unwrap();
    let host = patched(&host, &patch);
    assert_eq!(host["metadata"]["annotations"].get("volumeType"), None);
    assert_eq!(update_host(&claim, &host, &context()).unwrap(), None);
}

#[test]
fn a_size_that_the_host_rounded_up_is_not_fought_over() {
    let claim = claim();
    let mut host = host_of(&claim);
    host["spec"]["resources"]["requests"]["storage"] = "4Gi".into();
    assert_eq!(update_host(&claim, &host, &context()).unwrap(), None);
}

#[test]
fn volume_and_class_come_up_once() {
    let found = claim();
    let mut host = host_of(&found);
    assert_eq!(bind(&host, &found, None), None);
    host["spec"]["storageClassName"] = "standard".into();
    host["spec"]["volumeName"] = "pv-1".into();
    let before = patched(&found, &bind(&host, &found, None).unwrap());
    assert_eq!(before["spec"]["storageClassName"], "standard");
    assert!(before["spec"].get("volumeName").is_none());
    let bound = patched(&before, &bind(&host, &before, Some("pv-1")).unwrap());
    assert_eq!(bound["spec"]["volumeName"], "pv-1");
    assert_eq!(
        bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"],
        "yes"
    );
    assert_eq!(bind(&host, &bound, Some("pv-1")), None);
    // A class by annotation cannot be moved to the field.
    let mut old = claim();
    old["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"] = "slow".into();
    assert_eq!(bind(&host, &old, None), None);
}

#[test]
fn the_status_comes_up_whole_and_bound_only_with_its_volume() {
    let mut found = claim();
    let mut host = host_of(&found);
    host["spec"]["volumeName"] = "pv-1".into();
    host["status"] = json!({
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "allocatedResources": {"storage": "2Gi"},
        "conditions": [{"type": "Resizing", "status": "True",
            "message": "claim team-a/data-x-shop-x-demo waits"}],
    });
    let names = names(&found, Some(&host), &context());
    let early = patched(&found, &status_to_virtual(&host, &found, &names).unwrap());
    assert_eq!(early["status"]["phase"], "Pending");
    found["spec"]["volumeName"] = "pv-1".into();
    let shown = patched(&found, &status_to_virtual(&host, &found, &names).unwrap());
    assert_eq!(shown["status"]["phase"], "Bound");
    assert_eq!(shown["status"]["capacity"], json!({"storage": "1Gi"}));
    assert_eq!(
        shown["status"]["conditions"][0]["message"],
        "claim shop/data waits"
    );
    assert_eq!(status_to_virtual(&host, &shown, &names), None);
    host["status"] = json!({"phase": "Lost"});
    let lost = patched(&shown, &status_to_virtual(&host, &shown, &names).unwrap());
    assert_eq!(lost["status"], json!({"phase": "Lost"}));
}

#[test]
fn conditions_of_controllers_inside_stay_and_whether_pods_use_it_is_said_inside() {
    let condition = |type_: &str, status: &str| json!({"type": type_, "status": status});
    let mut found = claim();
    found["status"]["conditions"] = json!([
        condition("Unused", "False"),
        condition("Resizing", "True"),
        condition("example.com/Backed", "True"),
    ]);
    let mut host = host_of(&found);
    host["status"]["conditions"] = json!([
        condition("Unused", "True"),
        condition("FileSystemResizePending", "True")
    ]);
    let names = names(&found, Some(&host), &context());
    let patch = status_to_virtual(&host, &found, &names).unwrap();
    assert_eq!(patch.body["metadata"]["resourceVersion"], "7");
    let shown = patched(&found, &patch);
    assert_eq!(
        shown["status"]["conditions"],
        json!([
            condition("FileSystemResizePending", "True"),
            condition("Unused", "False"),
            condition("example.com/Backed", "True"),
        ])
    );
    assert_eq!(status_to_virtual(&host, &shown, &names), None);
}

#[test]
fn only_a_claim_that_was_made_for_the_pod_is_the_pod_s() {
    let pod = pod();
    let mut claim = claim();
    assert!(!is_of_pod(&claim, &pod));
    claim["metadata"]["ownerReferences"] =
        json!([{"kind": "Pod", "uid": pod["metadata"]["uid"], "controller": true}]);
    assert!(is_of_pod(&claim, &pod));
    claim["metadata"]["ownerReferences"][0]["uid"] = "another".into();
    assert!(!is_of_pod(&claim, &pod));
    assert!(!is_of_pod(&json!({}), &json!({})));
}
