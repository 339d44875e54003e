//! Claims, the pods that use them, and what the driver has of their volumes.

use std::{fs, path::PathBuf};

use integration_tests::{Host, Tenant};
use serde_json::{Value, json};

pub(super) fn claim(name: &str, source: &Value) -> Value {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "storageClassName": "csi", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Mi"}},
        },
    });
    if !source.is_null() {
        claim["spec"]["dataSource"] = source.clone();
    }
    claim
}

/// A pod of the name of the claim that it mounts.
pub(super) fn user(claim: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": claim, "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })
}

pub(super) fn apply(tenant: &Tenant, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    tenant.inside().apply(&list.to_string());
}

pub(super) fn running(tenant: &Tenant, pod: &str) {
    let args = format!("wait --for=condition=Ready pod/{pod} --timeout=180s");
    tenant.kubectl(&args).ok();
}

pub(super) fn shell(tenant: &Tenant, pod: &str, script: &str) -> String {
    tenant
        .inside()
        .kubectl_args(&["exec", pod, "--", "sh", "-c", script])
        .ok()
}

pub(super) fn volume_of(tenant: &Tenant, claim: &str) -> Value {
    let claim = tenant.kubectl(&format!("get pvc {claim} -o json")).json();
    let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
    tenant.kubectl(&format!("get pv {name} -o json")).json()
}

/// What the driver itself has of a volume.
pub(super) fn folder(volume: &Value) -> PathBuf {
    let handle = volume["spec"]["csi"]["volumeHandle"]
        .as_str()
        .expect("a CSI volume has one");
    let state = Host::get()
        .kubeconfig()
        .parent()
        .expect("it is in a folder")
        .join("csi/volumes");
    state.join(handle)
}

/// The size as the driver was told it.
pub(super) fn bytes(volume: &Value) -> Option<u64> {
    let about = fs::read(folder(volume).join("about.json")).ok()?;
    serde_json::from_slice::<Value>(&about).ok()?["bytes"].as_u64()
}
