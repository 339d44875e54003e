//! Pods as the tests have them made, by what they reach for.

use serde_json::{Value, json};

use crate::namespace::Namespace;

/// A pod as sync makes them for tenants, with other labels and fields of its spec.
pub(super) fn pod(place: &Namespace, labels: &Value, spec: &Value) -> Value {
    let mut pod = json!({
        "serviceAccountName": "vcluster-workload", "containers": [{"name": "a", "image": "a"}],
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    place.object("v1", "Pod", "p", &json!({"labels": labels, "spec": pod}))
}

/// That spec with a volume.
pub(super) fn volume(mut source: Value) -> Value {
    source["name"] = "v".into();
    json!({"volumes": [source]})
}

/// That spec with a container.
pub(super) fn container(mut part: Value) -> Value {
    part["name"] = "a".into();
    part["image"] = "a".into();
    json!({"containers": [part]})
}

pub(super) fn context(context: &Value) -> Value {
    container(json!({"securityContext": context}))
}

pub(super) fn claim(name: &str) -> Value {
    volume(json!({"persistentVolumeClaim": {"claimName": name}}))
}
