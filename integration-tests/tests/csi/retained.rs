//! Classes of the host whose volumes and snapshots outlive what they were made for.

use std::fs;

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

use crate::{
    DRIVER,
    object::{apply, claim, folder, running, shell, user, volume_of},
    snapshots::{content, host_snapshots, snapshot},
};

/// Classes of the host whose volumes and snapshots outlive what they were made for; with what a test leaves of those.
struct Retaining {
    host: Host,
    name: String,
    /// `pv/NAME` and the like.
    left: Vec<String>,
}

impl Retaining {
    fn create(name: &str) -> Self {
        let host = Host::get();
        let metadata = json!({"name": name});
        let classes = [
            json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata,
                "provisioner": DRIVER, "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Retain",
            }),
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": metadata,
                "driver": DRIVER, "deletionPolicy": "Retain",
            }),
        ];
        host.apply(&json!({"apiVersion": "v1", "kind": "List", "items": classes}).to_string());
        let name = name.to_owned();
        let left = Vec::new();
        Self { host, name, left }
    }

    /// As the host's administrator who does not need it any more.
    fn give_up(&self, object: &str) {
        let patch = if object.starts_with("pv/") {
            json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
        } else {
            json!({"spec": {"deletionPolicy": "Delete"}})
        };
        let patch = patch.to_string();
        let change = ["patch", object, "--type=merge", "-p", &patch];
        let _ = self.host.kubectl_args(&change).run();
        let delete = format!("delete {object} --ignore-not-found --wait=false");
        let _ = self.host.kubectl(&delete).run();
    }
}

impl Drop for Retaining {
    fn drop(&mut self) {
        for object in &self.left {
            self.give_up(object);
        }
        let classes = format!(
            "delete storageclass/{0} volumesnapshotclass/{0} --ignore-not-found",
            self.name
        );
        let _ = self.host.kubectl(&classes).run();
    }
}

#[test]
fn volumes_and_snapshots_of_classes_that_retain_stay_with_the_host() {
    let tenant = Tenant::create("csi-retain");
    let mut classes = Retaining::create(&tenant.namespace);
    let class = classes.name.clone();
    eventually("the host's classes are shown", || {
        let found = tenant.kubectl(&format!(
            "get storageclass/{class} volumesnapshotclass/{class}"
        ));
        let found = found.run();
        if found.succeeded() {
            Ok(())
        } else {
            Err(found)
        }
    });
    let mut data = claim("data", &Value::Null);
    data["spec"]["storageClassName"] = class.as_str().into();
    apply(&tenant, &[data, user("data")]);
    running(&tenant, "data");
    shell(&tenant, "data", "echo kept > /data/file; sync");
    let volume = volume_of(&tenant, "data");
    let name = host::name(&volume).to_owned();
    classes.left.push(format!("pv/{name}"));

    let mut monday = snapshot("monday", &json!({"persistentVolumeClaimName": "data"}));
    monday["spec"]["volumeSnapshotClassName"] = class.as_str().into();
    apply(&tenant, &[monday]);
    let ready =
        "wait --for=jsonpath={.status.readyToUse}=true volumesnapshot/monday --timeout=120s";
    tenant.kubectl(ready).ok();
    let content = content(&tenant);
    classes
        .left
        .push(format!("volumesnapshotcontent/{content}"));

    tenant.kubectl("delete volumesnapshot monday").ok();
    eventually("the host's snapshot goes", || {
        let left = host_snapshots(&tenant);
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    tenant.kubectl("delete pod,pvc data").ok();
    let released =
        format!("wait --for=jsonpath={{.status.phase}}=Released pv/{name} --timeout=120s");
    tenant.host().kubectl(&released).ok();
    tenant.kubectl(&released).ok();
    let kept = fs::read_to_string(folder(&volume).join("data/file"));
    assert_eq!(kept.ok().as_deref(), Some("kept\n"));
    let content = format!("get volumesnapshotcontent {content} -o json");
    let content = tenant.host().kubectl(&content).json();
    assert_eq!(content["spec"]["deletionPolicy"], "Retain");
    assert!(
        content["metadata"].get("deletionTimestamp").is_none(),
        "{content}"
    );

    // The host's administrator has the last word, and inside it is seen.
    drop(classes);
    eventually("the volume goes everywhere", || {
        let shown = tenant.kubectl(&format!("get pv {name}")).run();
        if shown.succeeded() || folder(&volume).exists() {
            Err(shown)
        } else {
            Ok(())
        }
    });
}
