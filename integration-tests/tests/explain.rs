//! Why objects are not on the host, by the command line; and what virtual clusters cost.

use integration_tests::{Tenant, eventually};
use serde_json::{Value, json};

fn pod(name: &str, host_network: bool) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hostNetwork": host_network,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}],
        },
    })
    .to_string()
}

fn explain(tenant: &Tenant, object: &str) -> Value {
    let place = format!(
        "--cluster {} --host-namespace {}",
        tenant.name, tenant.namespace
    );
    let command = format!("explain {object} -n default {place} -o json");
    tenant.host().vcluster(&command).json()
}

/// Waits until an object stands so, for this reason.
#[track_caller]
fn stands(tenant: &Tenant, object: &str, state: &str, reason: &str) -> Value {
    eventually(&format!("{object} is {state}: {reason}"), || {
        let answer = explain(tenant, object);
        let matches = answer["state"] == state && answer["reason"] == reason;
        matches.then(|| answer.clone()).ok_or(answer)
    })
}

#[test]
fn every_object_says_why_it_is_as_it_is_and_its_cluster_what_it_costs() {
    let tenant = Tenant::create("explain");
    let inside = tenant.inside();
    inside.apply(&pod("web", false));
    inside.apply(&pod("greedy", true));
    let synced = stands(&tenant, "pod/web", "Synced", "Synced");
    assert_eq!(synced["hostObjectNamespace"], tenant.namespace);
    assert_eq!(synced["onHost"], true);
    assert!(synced["lastWrittenTime"].is_string(), "{synced}");
    assert!(synced.get("nextTryTime").is_none(), "{synced}");
    let refused = stands(&tenant, "po/greedy", "Refused", "HostAccessRefused");
    assert_eq!(refused["refusedBy"], "Translation");
    assert_eq!(refused["field"], "spec.hostNetwork");
    assert!(refused["since"].is_string(), "{refused}");
    stands(&tenant, "configmap/kube-root-ca.crt", "Synced", "Synced");
    stands(&tenant, "pod/none", "Unknown", "NotFound");
    stands(&tenant, "deployment/web", "NotSynced", "KindNotSynced");
    stands(&tenant, "foo/bar", "Unknown", "NoSuchKind");
    let node = tenant.kubectl("get nodes -o json").json()["items"][0]["metadata"]["name"].clone();
    let node = format!("node/{}", node.as_str().expect("a node is shown"));
    stands(&tenant, &node, "Synced", "Synced");
    let place = format!(
        "--cluster {} --host-namespace {}",
        tenant.name, tenant.namespace
    );
    let resync = format!("resync pod/web -n default {place}");
    let resynced = tenant.host().vcluster(&resync).run();
    assert!(
        resynced.succeeded()
            && resynced
                .stderr
                .contains("pod/web is read anew on both sides"),
        "{resynced}"
    );
    stands(&tenant, "pod/web", "Synced", "Synced");
    let usage = format!("usage {} -n {} -o json", tenant.name, tenant.namespace);
    let spent = tenant.host().vcluster(&usage).json()["items"][0].clone();
    assert_eq!(spent["state"], "Synced");
    for (side, count) in [
        ("virtual", "watches"),
        ("virtual", "requests"),
        ("host", "bytesSent"),
    ] {
        assert!(spent[side][count].as_i64() > Some(0), "{spent}");
    }
    assert!(spent["cpuSeconds"].as_f64() > Some(0.0), "{spent}");
}
