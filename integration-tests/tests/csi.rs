//! Volumes of a CSI driver of the host: provided, mounted, expanded, copied by snapshots and removed by upstream's
//! controllers and the kubelet, and shown inside.

use std::{fs, path::PathBuf};

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

const DRIVER: &str = "folder.csi.vcluster.dev";

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

/// What the driver itself has of a volume.
fn folder(volume: &Value) -> PathBuf {
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
fn bytes(volume: &Value) -> Option<u64> {
    let about = fs::read(folder(volume).join("about.json")).ok()?;
    serde_json::from_slice::<Value>(&about).ok()?["bytes"].as_u64()
}

fn rollout(tenant: &Tenant) {
    tenant
        .kubectl("rollout status statefulset/db --timeout=180s")
        .ok();
}

fn shell(tenant: &Tenant, pod: &str, script: &str) -> String {
    tenant
        .inside()
        .kubectl_args(&["exec", pod, "--", "sh", "-c", script])
        .ok()
}

fn volume_of(tenant: &Tenant, claim: &str) -> Value {
    let claim = tenant.kubectl(&format!("get pvc {claim} -o json")).json();
    let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
    tenant.kubectl(&format!("get pv {name} -o json")).json()
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

fn claim(name: &str, source: &Value) -> Value {
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

fn of_snapshot(name: &str) -> Value {
    json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name})
}

fn snapshot(name: &str, source: &Value) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"source": source},
    })
}

/// A pod of the name of the claim that it mounts.
fn user(claim: &str) -> Value {
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

fn apply(tenant: &Tenant, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    tenant.inside().apply(&list.to_string());
}

fn running(tenant: &Tenant, pod: &str) {
    let args = format!("wait --for=condition=Ready pod/{pod} --timeout=180s");
    tenant.kubectl(&args).ok();
}

fn has_snapshots(tenant: &Tenant) {
    eventually(
        "the kinds of snapshots and the host's class are there",
        || {
            let class = tenant.kubectl("get volumesnapshotclass csi -o json").run();
            if class.succeeded() {
                Ok(())
            } else {
                Err(class)
            }
        },
    );
    let class = tenant.kubectl("get volumesnapshotclass csi -o json").json();
    assert_eq!(class["driver"], DRIVER);
    assert!(class.get("parameters").is_none(), "{class}");
}

/// A claim with data, and a snapshot of it that is ready.
fn take(tenant: &Tenant) {
    has_snapshots(tenant);
    apply(tenant, &[claim("data", &Value::Null), user("data")]);
    running(tenant, "data");
    let name = &tenant.name;
    shell(tenant, "data", &format!("echo {name} > /data/file; sync"));
    let source = json!({"persistentVolumeClaimName": "data"});
    apply(tenant, &[snapshot("monday", &source)]);
    eventually("the snapshot is ready", || {
        let found = tenant.kubectl("get volumesnapshot monday -o json").json();
        let (spec, status) = (&found["spec"], &found["status"]);
        let class = spec["volumeSnapshotClassName"] == "csi";
        if class && status["readyToUse"] == true && status["restoreSize"] == "16Mi" {
            Ok(())
        } else {
            Err(found)
        }
    });
    shell(tenant, "data", "echo later > /data/file; sync");
}

fn host_snapshots(tenant: &Tenant) -> Vec<Value> {
    tenant.host().list(&format!(
        "-n {} volumesnapshots -l vcluster.dev/part=workload",
        tenant.namespace
    ))
}

/// The content of the snapshot `monday`, which has one.
fn content(tenant: &Tenant) -> String {
    let found = tenant.kubectl("get volumesnapshot monday -o json").json();
    let name = found["status"]["boundVolumeSnapshotContentName"].as_str();
    name.expect("it is bound").to_owned()
}

fn told(tenant: &Tenant, object: &str, reason: &str) {
    eventually(&format!("an Event {reason} about {object}"), || {
        let events = tenant.kubectl(&format!(
            "get events --field-selector=involvedObject.name={object},reason={reason} -o json"
        ));
        let events = host::items(&events.json());
        if events.is_empty() {
            Err("none")
        } else {
            Ok(())
        }
    });
}

/// A snapshot that the host's administrator deletes is told of, and not taken again.
fn is_not_taken_again(other: &Tenant) {
    let on_host = host::name(&host_snapshots(other)[0]).to_owned();
    let namespace = &other.namespace;
    other
        .host()
        .kubectl(&format!("-n {namespace} delete volumesnapshot {on_host}"))
        .ok();
    told(other, "monday", "HostGone");
    eventually("it is gone from the host", || {
        let left = host_snapshots(other);
        let is_gone = left.is_empty();
        is_gone.then_some(()).ok_or_else(|| format!("{left:?}"))
    });
    // Looked at once more on both sides, it is not taken again.
    let place = format!("--cluster {} --host-namespace {namespace}", other.name);
    for command in ["resync", "explain"] {
        let command = format!("{command} volumesnapshot/monday -n default {place}");
        other.host().vcluster(&command).ok();
    }
    eventually("it is explained", || {
        let command = format!("explain volumesnapshot/monday -n default {place} -o json");
        let answer = other.host().vcluster(&command).json();
        let is_explained = answer["reason"] == "HostGone" && answer["onHost"] == false;
        is_explained.then_some(()).ok_or(answer)
    });
    assert!(host_snapshots(other).is_empty(), "it is not taken again");
}

#[test]
fn snapshots_of_two_tenants_with_the_same_names_are_each_one_s_own() {
    let (one, other) = Tenant::pair("snap-one", "snap-other");
    for tenant in [&one, &other] {
        take(tenant);
        apply(
            tenant,
            &[claim("restored", &of_snapshot("monday")), user("restored")],
        );
        running(tenant, "restored");
        let (data, now) = ("restored", "data");
        let read = |pod| shell(tenant, pod, "cat /data/file");
        assert_eq!(read(data).trim(), tenant.name, "as it was");
        assert_eq!(read(now), "later\n");
    }

    let foreign = host::name(&host_snapshots(&one)[0]).to_owned();
    let stolen = json!({"volumeSnapshotContentName": content(&one)});
    apply(
        &other,
        &[
            claim("stolen", &of_snapshot(&foreign)),
            user("stolen"),
            snapshot("stolen", &stolen),
        ],
    );
    told(&other, "stolen", "HostAccessRefused");
    let named = eventually("the claim is there and names a snapshot", || {
        let found = other.host().list(&format!(
            "-n {} persistentvolumeclaims -l vcluster.dev/part=workload",
            other.namespace
        ));
        let named = found.iter().find_map(|claim| {
            let annotations = &claim["metadata"]["annotations"];
            (annotations["vcluster.dev/name"] == "stolen").then(|| {
                claim["spec"]["dataSource"]["name"]
                    .as_str()
                    .map(str::to_owned)
            })?
        });
        named.ok_or("no claim")
    });
    let there = host_snapshots(&other);
    assert_eq!(there.len(), 1, "{there:?}");
    let (namespace, own) = (&other.namespace, host::name(&there[0]));
    assert!(named != foreign && named != own, "{named}");
    other
        .host()
        .kubectl(&format!("-n {namespace} get volumesnapshot {named}"))
        .refused(&["NotFound"]);
    let stolen_claim = other.kubectl("get pvc stolen -o json").json();
    assert_eq!(stolen_claim["status"]["phase"], "Pending", "{stolen_claim}");
    other
        .kubectl("delete pod,pvc,volumesnapshot stolen --wait=false")
        .ok();

    // What translation refuses, the host's own policy refuses too.
    let account = format!(
        "--as=system:serviceaccount:{}:vcluster-sync",
        other.namespace
    );
    let of_control_plane = json!({"persistentVolumeClaimName": format!("data-{}-0", other.name)});
    for source in [&stolen, &of_control_plane] {
        let mut object = snapshot("stolen", source);
        object["metadata"] = json!({"name": "stolen", "namespace": other.namespace,
            "labels": {"vcluster.dev/part": "workload"}});
        other
            .host()
            .kubectl_args(&["create", "--dry-run=server", "-f", "-", &account])
            .input(object.to_string())
            .refused(&["only of claims that were translated"]);
    }

    let (gone, kept) = (content(&one), content(&other));
    one.kubectl("delete volumesnapshot monday").ok();
    eventually("the host's snapshot and its content go", || {
        let content = one
            .host()
            .kubectl(&format!("get volumesnapshotcontent {gone}"))
            .run();
        let left = host_snapshots(&one).len();
        if left == 0 && !content.succeeded() {
            Ok(())
        } else {
            Err(format!("{left} snapshots; {content}"))
        }
    });
    other
        .host()
        .kubectl(&format!("get volumesnapshotcontent {kept}"))
        .ok();

    is_not_taken_again(&other);
}

/// What the host's storage has left, in the words of its driver, removed with the value.
struct Capacity(Host, String);

impl Capacity {
    fn tell(name: &str, class: &str, capacity: &str) -> Self {
        Self::say(name, class, capacity);
        Self(Host::get(), name.to_owned())
    }

    fn say(name: &str, class: &str, capacity: &str) {
        let told = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
            "metadata": {"name": name, "namespace": "kube-system", "labels": {"csi.storage.k8s.io/drivername": DRIVER}},
            "storageClassName": class, "capacity": capacity,
            "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "node-1"}},
        });
        Host::get().apply(&told.to_string());
    }
}

impl Drop for Capacity {
    fn drop(&mut self) {
        let args = format!(
            "-n kube-system delete csistoragecapacity {} --ignore-not-found",
            self.1
        );
        self.0.kubectl(&args).run();
    }
}

/// The dev cluster's chart shares it (`sync.fromHost.storageCapacities`).
#[test]
fn the_room_that_the_host_s_storage_has_left_is_shown_of_shown_classes_and_read_only() {
    let tenant = Tenant::create("room");
    let names = ["one", "two"].map(|name| format!("{name}-{}", tenant.namespace));
    let shown = Capacity::tell(&names[0], "csi", "10Gi");
    let _hidden = Capacity::tell(&names[1], "no-such-class", "20Gi");
    let inside = || {
        let all = host::items(
            &tenant
                .kubectl("-n kube-system get csistoragecapacities -o json")
                .json(),
        );
        let ends = |one: &&Value| host::name(one).ends_with(&tenant.namespace);
        all.iter().filter(ends).cloned().collect::<Vec<_>>()
    };
    let is = |capacity: &str| {
        eventually(&format!("{capacity} are left"), || {
            let found = inside();
            match &found[..] {
                [one] if one["capacity"] == capacity => Ok(one.clone()),
                _ => Err(json!(found)),
            }
        })
    };
    let found = is("10Gi");
    let name = format!("kube-system.{}", names[0]);
    assert_eq!(host::name(&found), name);
    assert_eq!(found["storageClassName"], "csi");
    assert_eq!(
        found["nodeTopology"]["matchLabels"]["kubernetes.io/hostname"],
        "node-1"
    );
    for change in [
        format!("-n kube-system delete csistoragecapacity {name}"),
        format!("-n kube-system annotate csistoragecapacity {name} mine=yes"),
    ] {
        tenant.kubectl(&change).refused(&["mirror the host"]);
    }
    Capacity::say(&names[0], "csi", "9Gi");
    is("9Gi");
    drop(shown);
    eventually("it is gone", || {
        let found = inside();
        if found.is_empty() {
            Ok(())
        } else {
            Err(json!(found))
        }
    });
}
