//! Which host objects are ours, and which only look so.

use super::*;
use crate::fixture::{context, host_of, pod};

#[test]
fn a_host_object_names_its_virtual_object_in_full() {
    let host = host_of(&pod());
    let owner = of_ours(&host, &context()).unwrap();
    assert_eq!(owner, Owner::of_virtual(&pod(), "Pod", &context()).unwrap());
}

#[test]
fn one_missing_annotation_makes_it_somebody_else_s() {
    let host = host_of(&pod());
    for key in [
        CLUSTER_UID,
        VIRTUAL_KIND,
        VIRTUAL_NAME,
        VIRTUAL_NAMESPACE,
        VIRTUAL_UID,
    ] {
        for value in [None, Some(Value::Null), Some("".into()), Some(json!(7))] {
            let mut host = host.clone();
            let annotations = host["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove(key);
            annotations.extend(value.map(|value| (key.to_owned(), value)));
            assert_eq!(of_ours(&host, &context()), None, "{key}");
        }
    }
}

#[test]
fn an_object_without_identity_is_refused_by_field() {
    let mut pod = pod();
    pod["metadata"]["uid"] = "".into();
    let refusal = Owner::of_virtual(&pod, "Pod", &context()).unwrap_err();
    assert_eq!(refusal.field, "metadata.uid");
}

#[test]
fn the_cluster_controls_the_host_object_and_nobody_else_does() {
    let mut pod = pod();
    pod["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "controller": true}]);
    pod["metadata"]["finalizers"] = json!(["hold"]);
    let host = host_of(&pod);
    let owners = host["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0]["kind"], "VirtualCluster");
    assert_eq!(owners[0]["controller"], true);
    assert_eq!(host["metadata"].get("finalizers"), None);
}
