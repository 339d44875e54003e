//! Volumes of the host as they show inside.

use serde_json::{Value, json};

use super::*;
use crate::fixture::{context, patched};

fn claim() -> Owner {
    Owner {
        cluster_uid: context().cluster_uid,
        kind: "PersistentVolumeClaim".to_owned(),
        namespace: "shop".to_owned(),
        name: "data".to_owned(),
        uid: "c1a1".to_owned(),
    }
}

fn host(source: Value) -> Value {
    let mut host = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-1", "uid": "b057", "labels": {"rack": "7"},
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "driver.example.com",
                "volume.kubernetes.io/provisioner-deletion-secret-name": "key",
            },
            "finalizers": ["kubernetes.io/pv-protection"],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "team-a",
                "name": "data-x-shop-x-demo", "uid": "b05c", "resourceVersion": "9"},
            "mountOptions": ["password=secret"],
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "fast",
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Bound", "message": "10.0.0.1 is slow"},
    });
    let Value::Object(source) = source else {
        panic!()
    };
    host["spec"].as_object_mut().unwrap().extend(source);
    host
}

fn csi() -> Value {
    json!({"csi": {
        "driver": "driver.example.com",
        "volumeHandle": "vol-1",
        "fsType": "ext4",
        "volumeAttributes": {"server": "10.0.0.1", "token": "secret"},
        "nodeStageSecretRef": {"name": "key", "namespace": "storage"},
        "controllerExpandSecretRef": {"name": "key", "namespace": "storage"},
    }})
}

fn stored(host: &Value) -> Value {
    let mut volume = to_virtual(host, &claim(), &context());
    volume["metadata"]["uid"] = "5a1e".into();
    volume["status"] = json!({"phase": "Pending"});
    volume
}

#[test]
fn a_volume_is_shown_with_its_claim_and_without_what_reaches_its_storage() {
    insta::assert_json_snapshot!("volume", to_virtual(&host(csi()), &claim(), &context()));
}

#[test]
fn every_source_but_csi_is_hidden() {
    let sources = [
        json!({"hostPath": {"path": "/srv/team-a"}}),
        json!({"local": {"path": "/mnt/secret"}}),
        json!({"nfs": {"server": "10.0.0.1", "path": "/secret"}}),
        json!({"iscsi": {"targetPortal": "10.0.0.1", "secretRef": {"name": "secret"}}}),
        json!({"cephfs": {"monitors": ["10.0.0.1"], "secretRef": {"name": "secret"}}}),
        json!({"rbd": {"monitors": ["10.0.0.1"], "secretRef": {"name": "secret"}}}),
        json!({"sourceOfTomorrow": {"token": "secret"}}),
    ];
    for source in sources {
        let kind = source.as_object().unwrap().keys().next().unwrap().clone();
        let shown = to_virtual(&host(source), &claim(), &context());
        assert_eq!(
            shown["spec"]["csi"],
            json!({"driver": HIDDEN_DRIVER, "volumeHandle": "pvc-1", "volumeAttributes": {"source": kind}})
        );
        let text = shown.to_string();
        for hidden in ["secret", "10.0.0.1", "/srv", "team-a"] {
            assert!(!text.contains(hidden), "{kind} shows {hidden}");
        }
    }
}

#[test]
fn a_shown_volume_follows_the_host_s() {
    let mut host = host(csi());
    let volume = stored(&host);
    assert!(is_ours(&volume, &context()) && mirrors(&volume, &host));
    assert_eq!(update_virtual(&host, &volume), None);
    let volume = patched(&volume, &status_to_virtual(&host, &volume).unwrap());
    assert_eq!(volume["status"]["phase"], "Bound");
    assert_eq!(status_to_virtual(&host, &volume), None);
    host["spec"]["capacity"]["storage"] = "2Gi".into();
    host["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into();
    let volume = patched(&volume, &update_virtual(&host, &volume).unwrap());
    assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(update_virtual(&host, &volume), None);
}

#[test]
fn a_volume_that_another_claim_has_now_is_not_the_same() {
    let host = host(csi());
    let volume = stored(&host);
    for (pointer, value) in [
        ("/spec/claimRef/uid", json!("another")),
        ("/spec/claimRef", Value::Null),
        ("/metadata/uid", json!("another")),
    ] {
        let mut changed = host.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert!(!mirrors(&volume, &changed), "{pointer}");
    }
    assert!(!mirrors(&json!({}), &json!({})));
}

#[test]
fn a_volume_of_the_tenant_s_is_not_taken_for_one_of_ours() {
    let mut volume = stored(&host(csi()));
    volume["metadata"]["annotations"][CLUSTER_UID] = "another".into();
    assert!(!is_ours(&volume, &context()));
    assert!(!is_ours(&json!({"metadata": {"name": "own"}}), &context()));
}
