//! The host's classes as they show inside.

use serde_json::{Value, json};

use super::*;
use crate::{
    Change, change,
    fixture::context,
    kind::{FromHost, Kind, Translation},
    plan::{Action, Cause, Knowledge, from_host},
};

fn rules(kind: Kind) -> &'static FromHost {
    let Translation::FromHost(rules) = &kind.description().translation else {
        panic!("{kind} comes from the host")
    };
    rules
}

fn host(kind: Kind, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": kind.description().api.version(), "kind": kind.as_str(),
        "metadata": {
            "name": "fast", "uid": "b057", "labels": {"a": "b", "vcluster.dev/shareable": "true"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "is-default": "true"},
            "finalizers": ["f"], "ownerReferences": [{}],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

#[test]
fn a_mirror_has_the_fields_of_its_kind_and_nothing_that_names_what_is_the_host_s() {
    let cases = [
        (
            Kind::StorageClass,
            json!({
                "provisioner": "csi.example.com", "reclaimPolicy": "Delete", "other": 1,
                "parameters": {"type": "ssd", "server": "10.0.0.9", "csi.storage.k8s.io/provisioner-secret-name": "s",
                    "csi.storage.k8s.io/provisioner-secret-namespace": "kube-system", "secretName": "t"},
            }),
            json!({"provisioner": "csi.example.com", "reclaimPolicy": "Delete", "parameters": {"type": "ssd"}}),
        ),
        (
            Kind::IngressClass,
            json!({"spec": {"controller": "c", "parameters": {"kind": "X", "name": "y"}}}),
            json!({"spec": {"controller": "c"}}),
        ),
        (
            Kind::VolumeSnapshotClass,
            json!({"driver": "csi.example.com", "deletionPolicy": "Delete",
                "parameters": {"csi.storage.k8s.io/snapshotter-secret-name": "s"}}),
            json!({"driver": "csi.example.com", "deletionPolicy": "Delete"}),
        ),
        (
            Kind::RuntimeClass,
            json!({"handler": "gvisor", "overhead": {"podFixed": {"cpu": "1"}}}),
            json!({"handler": "gvisor", "overhead": {"podFixed": {"cpu": "1"}}}),
        ),
        (
            Kind::PriorityClass,
            json!({"value": 7, "globalDefault": true, "preemptionPolicy": "Never"}),
            json!({"value": 7, "preemptionPolicy": "Never"}),
        ),
        (
            Kind::CSIDriver,
            json!({"spec": {"attachRequired": true, "tokenRequests": [{"audience": "a"}],
                "serviceAccountTokenInSecrets": true}}),
            json!({"spec": {"attachRequired": true}}),
        ),
        (
            Kind::CSINode,
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "provider-1", "topologyKeys": ["zone"]}]}}),
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "fast", "topologyKeys": ["zone"]}]}}),
        ),
    ];
    for (kind, more, wanted) in cases {
        let mut shown = of(kind, rules(kind), &host(kind, &more), &context()).unwrap();
        let metadata = shown["metadata"].take();
        assert_eq!(
            metadata,
            json!({
                "name": "fast", "labels": {"a": "b", "vcluster.dev/managed": "true"},
                "annotations": {"is-default": "true", "vcluster.dev/cluster-uid": context().cluster_uid},
            })
        );
        let shown = shown.as_object_mut().unwrap();
        shown.retain(|key, _| !["metadata", "apiVersion", "kind"].contains(&key.as_str()));
        assert_eq!(Value::Object(shown.clone()), wanted, "{kind}");
    }
}

#[test]
fn priority_classes_that_every_api_server_has_are_left_to_it() {
    let mut class = host(Kind::PriorityClass, &json!({"value": 1}));
    class["metadata"]["name"] = "system-node-critical".into();
    let shown = of(
        Kind::PriorityClass,
        rules(Kind::PriorityClass),
        &class,
        &context(),
    );
    assert_eq!(shown, None);
}

#[test]
fn classes_of_the_host_come_change_and_go_and_a_tenant_s_own_stay() {
    let kind = Kind::StorageClass;
    let class = host(
        kind,
        &json!({"provisioner": "p", "allowVolumeExpansion": true}),
    );
    let next = |host: Option<&Value>, found: Option<&Value>, knowledge| {
        from_host(kind, rules(kind), host, found, knowledge, &context())
    };
    let complete = |host, found| next(host, found, Knowledge::Complete);
    let Action::Create(mut made) = complete(Some(&class), None) else {
        panic!("not made")
    };
    made["metadata"]["uid"] = "1".into();
    assert_eq!(complete(Some(&class), Some(&made)), Action::Nothing);
    assert!(matches!(
        next(Some(&class), None, Knowledge::Partial),
        Action::Wait(_)
    ));
    assert!(matches!(
        next(None, Some(&made), Knowledge::Partial),
        Action::Wait(_)
    ));
    assert!(
        matches!(complete(None, Some(&made)), Action::DeleteVirtual(delete) if delete.uid == "1")
    );
    // The tenant edits it: read only.
    let mut edited = made.clone();
    edited["allowVolumeExpansion"] = false.into();
    edited["metadata"]["labels"]["mine"] = "x".into();
    let Action::PatchVirtual(patch) = complete(Some(&class), Some(&edited)) else {
        panic!("not put right")
    };
    assert_eq!(patch.body["allowVolumeExpansion"], true);
    assert_eq!(patch.body["metadata"]["labels"]["mine"], Value::Null);
    let mut other = class.clone();
    other["provisioner"] = "q".into();
    assert!(matches!(
        complete(Some(&other), Some(&made)),
        Action::DeleteVirtual(delete) if delete.cause == Cause::Replace
    ));
    let own = json!({"metadata": {"name": "fast", "uid": "2"}, "provisioner": "mine"});
    assert_eq!(complete(None, Some(&own)), Action::Nothing);
    assert!(matches!(
        complete(Some(&class), Some(&own)),
        Action::Refuse(_)
    ));
    let same = change::mirror(&made, &made, rules(kind).fields, rules(kind).frozen);
    assert_eq!(same, Change::None);
}

#[test]
fn a_mirror_is_made_again_where_an_api_server_would_refuse_the_change() {
    let cases = [
        (
            Kind::IngressClass,
            json!({"spec": {"controller": "a"}}),
            json!({"spec": {"controller": "b"}}),
        ),
        (
            Kind::RuntimeClass,
            json!({"handler": "a"}),
            json!({"handler": "b"}),
        ),
        (
            Kind::PriorityClass,
            json!({"value": 1}),
            json!({"value": 2}),
        ),
        (
            Kind::CSIDriver,
            json!({"spec": {"attachRequired": true}}),
            json!({"spec": {"attachRequired": false}}),
        ),
        (
            Kind::CSINode,
            json!({"spec": {"drivers": [{"name": "d", "topologyKeys": ["a"]}]}}),
            json!({"spec": {"drivers": [{"name": "d", "topologyKeys": ["b"]}]}}),
        ),
    ];
    for (kind, before, after) in cases {
        let rules = rules(kind);
        let [before, after] =
            [before, after].map(|more| of(kind, rules, &host(kind, &more), &context()).unwrap());
        let change = change::mirror(&before, &after, rules.fields, rules.frozen);
        assert_eq!(change, Change::Replace, "{kind}");
    }
}
