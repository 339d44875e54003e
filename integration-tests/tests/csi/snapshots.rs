//! Snapshots, and claims that begin with what they hold.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

use crate::{
    DRIVER,
    object::{apply, claim, running, shell, user},
};

fn of_snapshot(name: &str) -> Value {
    json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name})
}

pub(super) fn snapshot(name: &str, source: &Value) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"source": source},
    })
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

pub(super) fn host_snapshots(tenant: &Tenant) -> Vec<Value> {
    tenant.host().list(&format!(
        "-n {} volumesnapshots -l vcluster.dev/part=workload",
        tenant.namespace
    ))
}

/// The content of the snapshot `monday`, which has one.
pub(super) fn content(tenant: &Tenant) -> String {
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
