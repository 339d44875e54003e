//! Objects that several tests need.

use serde_json::{Map, Value, json};

use crate::Context;

/// UID of the virtual pod [`pod`].
pub(crate) const POD_UID: &str = "5a1e0000-0000-4000-8000-00000000000a";

pub(crate) fn context() -> Context {
    Context {
        cluster: "demo".parse().unwrap(),
        cluster_uid: "c0ffee00-0000-4000-8000-000000000001".to_owned(),
        host_namespace: "team-a".parse().unwrap(),
        api: "10.96.0.17".parse().unwrap(),
        dns: "10.96.0.53".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        hosts_image: Some("sync:1".to_owned()),
        kubelet_host: "vcluster-sync.vcluster-system.svc".to_owned(),
        policy: vcluster_resources::SyncPolicy::default(),
        custom: crate::custom::Kinds::default(),
        host_access: crate::context::HostAccess::Refused,
        annotations: crate::Annotations::default(),
        classes: crate::own_class::Allowed::default(),
        destinations: crate::Destinations::default(),
    }
}

pub(crate) fn namespace_labels() -> Map<String, Value> {
    let labels = json!({"kubernetes.io/metadata.name": "shop", "team": "blue"});
    labels.as_object().unwrap().clone()
}

/// A pod as an API server stores it, with as little as it can have.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": POD_UID,
            "resourceVersion": "7",
            "generation": 1,
            "labels": {"app": "web"},
        },
        "spec": {
            "containers": [{"name": "main", "image": "nginx:1"}],
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    })
}

/// [`pod`] with `spec` merged over its own.
pub(crate) fn pod_with(spec: Value) -> Value {
    let mut pod = pod();
    let Value::Object(spec) = spec else {
        panic!("not an object")
    };
    pod["spec"].as_object_mut().unwrap().extend(spec);
    pod
}

/// The host pod of a virtual one, as the host's API server stores it.
pub(crate) fn host_of(pod: &Value) -> Value {
    let made = crate::pod::to_host(pod, &namespace_labels(), &context()).unwrap();
    let mut host = made.object;
    host["metadata"]["uid"] = "b057".into();
    host["metadata"]["generation"] = 1.into();
    host["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
    host
}

/// What an API server makes of a patch: enough of strategic merging for the lists that are patched
/// here.
pub(crate) fn patched(found: &Value, patch: &crate::Patch) -> Value {
    assert_eq!(
        patch.body["metadata"]["uid"], found["metadata"]["uid"],
        "a patch names the object that was seen"
    );
    let mut object = found.clone();
    merge(
        &mut object,
        &patch.body,
        patch.format == crate::patch::Format::Strategic,
    );
    object
}

fn merge(found: &mut Value, patch: &Value, strategic: bool) {
    let Value::Object(patch) = patch else {
        *found = patch.clone();
        return;
    };
    if !found.is_object() {
        *found = json!({});
    }
    let found = found.as_object_mut().unwrap();
    for (key, change) in patch {
        let merge_key = match key.as_str() {
            "containers" | "initContainers" | "ephemeralContainers" => Some("name"),
            "conditions" => Some("type"),
            _ => None,
        };
        match (change, merge_key.filter(|_| strategic)) {
            (Value::Null, _) => {
                found.remove(key);
            }
            (Value::Array(changes), Some(merge_key)) => {
                let list = found.entry(key.clone()).or_insert_with(|| json!([]));
                for change in changes {
                    merge_member(list.as_array_mut().unwrap(), change, merge_key);
                }
            }
            (change, _) => merge(
                found.entry(key.clone()).or_insert(Value::Null),
                change,
                strategic,
            ),
        }
    }
}

fn merge_member(list: &mut Vec<Value>, change: &Value, key: &str) {
    match list.iter_mut().find(|member| member[key] == change[key]) {
        Some(member) => merge(member, change, true),
        None => list.push(change.clone()),
    }
}
