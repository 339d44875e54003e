//! What goes down of a snapshot and what comes up.

use serde_json::{Value, json};

use super::*;
use crate::fixture::{context, patched};

fn snapshot(spec: &Value) -> Value {
    json!({
        "metadata": {
            "name": "monday", "namespace": "shop", "uid": "5a9", "labels": {"app": "db"},
            "annotations": {"example.com/act": "here"}, "finalizers": ["f"],
        },
        "spec": spec,
    })
}

fn of_claim() -> Value {
    snapshot(&json!({
        "volumeSnapshotClassName": "fast",
        "source": {"persistentVolumeClaimName": "data", "sourceOfTomorrow": "x"},
    }))
}

#[test]
fn a_snapshot_is_taken_of_the_host_s_claim() {
    let host = to_host(&of_claim(), &context()).unwrap();
    assert_eq!(host["metadata"]["name"], "monday-x-shop-x-demo");
    assert_eq!(
        host["spec"],
        json!({
            "volumeSnapshotClassName": "fast",
            "source": {"persistentVolumeClaimName": "data-x-shop-x-demo"},
        })
    );
    assert_eq!(host["metadata"]["labels"]["label.vcluster.dev/app"], "db");
    assert!(!host.to_string().contains("example.com/act"));
    assert_eq!(
        update_host(&of_claim(), &host, &context()),
        Ok(Change::None)
    );
}

#[test]
fn a_snapshot_of_the_host_s_own_is_refused() {
    let foreign = snapshot(&json!({"source": {"volumeSnapshotContentName": "a-neighbours"}}));
    let refusal = to_host(&foreign, &context()).unwrap_err();
    assert_eq!(refusal.field, "spec.source.volumeSnapshotContentName");
    assert_eq!(refusal.reason, Reason::HostAccess);
    for claim in [json!({}), json!({"persistentVolumeClaimName": ""})] {
        let empty = to_host(&snapshot(&json!({ "source": claim })), &context()).unwrap_err();
        assert_eq!(empty.reason, Reason::Invalid);
    }
}

#[test]
fn what_was_taken_is_not_taken_again() {
    let mut taken = of_claim();
    let host = to_host(&taken, &context()).unwrap();
    taken["status"] = json!({"readyToUse": true, "boundVolumeSnapshotContentName": "content"});
    let refusal = to_host(&taken, &context()).unwrap_err();
    assert_eq!(refusal.reason, Reason::HostGone);
    assert_eq!(update_host(&taken, &host, &context()), Ok(Change::None));
}

#[test]
fn the_class_that_the_host_chose_and_its_status_come_up() {
    let mut found = of_claim();
    let mut host = to_host(&found, &context()).unwrap();
    found["spec"]["volumeSnapshotClassName"] = Value::Null;
    host["status"] = json!({
        "boundVolumeSnapshotContentName": "snapcontent-1", "readyToUse": true, "restoreSize": "1Gi",
        "volumeGroupSnapshotName": "the-host-s",
        "error": {"message": "claim team-a/data-x-shop-x-demo was busy"},
    });
    let chosen = patched(&found, &to_virtual(&host, &found, &context()).unwrap());
    assert_eq!(chosen["spec"]["volumeSnapshotClassName"], "fast");
    assert_eq!(chosen.get("status"), None);
    let told = patched(&chosen, &to_virtual(&host, &chosen, &context()).unwrap());
    assert_eq!(
        told["status"],
        json!({
            "boundVolumeSnapshotContentName": "snapcontent-1", "readyToUse": true, "restoreSize": "1Gi",
            "error": {"message": "claim shop/data was busy"},
        })
    );
    assert_eq!(to_virtual(&host, &told, &context()), None);
    host["status"]["error"] = Value::Null;
    let well = patched(&told, &to_virtual(&host, &told, &context()).unwrap());
    assert_eq!(well["status"].get("error"), None);
}
