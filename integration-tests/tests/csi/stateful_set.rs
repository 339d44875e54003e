//! Volumes of a StatefulSet, from the first to the last of them.

use std::fs;

use integration_tests::{Tenant, eventually, host};
use serde_json::json;

use crate::{
    DRIVER,
    object::{bytes, folder, shell, volume_of},
};

fn stateful_set(replicas: u32) -> String {
    let labels = json!({"app": "db"});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": labels},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                    "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "storageClassName": "csi", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "16Mi"}},
            }}],
        },
    })
    .to_string()
}

fn rollout(tenant: &Tenant) {
    tenant
        .kubectl("rollout status statefulset/db --timeout=180s")
        .ok();
}

#[test]
fn a_stateful_set_has_volumes_of_a_csi_driver_that_grow_and_go() {
    let tenant = Tenant::create("csi");
    eventually("the host's class is shown", || {
        let class = tenant.kubectl("get storageclass csi").run();
        if class.succeeded() {
            Ok(())
        } else {
            Err(class)
        }
    });
    tenant.inside().apply(&stateful_set(2));
    rollout(&tenant);
    let volumes = ["data-db-0", "data-db-1"].map(|claim| volume_of(&tenant, claim));
    for volume in &volumes {
        assert_eq!(volume["spec"]["csi"]["driver"], DRIVER, "{volume}");
        assert_eq!(bytes(volume), Some(16 << 20), "the driver made it");
    }
    shell(&tenant, "db-1", "echo kept > /data/file");
    assert_eq!(
        fs::read_to_string(folder(&volumes[1]).join("data/file"))
            .ok()
            .as_deref(),
        Some("kept\n")
    );

    tenant.inside().apply(&stateful_set(1));
    eventually("the second pod goes", || {
        let pod = tenant.kubectl("get pod db-1").run();
        if pod.succeeded() { Err(pod) } else { Ok(()) }
    });
    let more = json!({"spec": {"resources": {"requests": {"storage": "32Mi"}}}}).to_string();
    tenant
        .inside()
        .kubectl_args(&["patch", "pvc", "data-db-0", "-p", &more])
        .ok();
    eventually("the claim in use has grown, down to the driver", || {
        let claim = tenant.kubectl("get pvc data-db-0 -o json").json();
        let volume = volume_of(&tenant, "data-db-0");
        let sizes = [&claim["status"], &volume["spec"]].map(|of| of["capacity"]["storage"].clone());
        if sizes.iter().all(|size| size == "32Mi") && bytes(&volume) == Some(32 << 20) {
            Ok(())
        } else {
            Err(format!(
                "{}; {sizes:?}; {:?}",
                claim["status"],
                bytes(&volume)
            ))
        }
    });

    tenant.inside().apply(&stateful_set(2));
    rollout(&tenant);
    assert_eq!(shell(&tenant, "db-1", "cat /data/file"), "kept\n");

    tenant.kubectl("delete statefulset db").ok();
    eventually("claims, volumes and folders go", || {
        let left = host::items(&tenant.kubectl("get pvc,pv -o json").json()).len();
        let folders = volumes
            .iter()
            .filter(|volume| folder(volume).exists())
            .count();
        if left + folders == 0 {
            Ok(())
        } else {
            Err(format!("{left} objects, {folders} folders"))
        }
    });
}
