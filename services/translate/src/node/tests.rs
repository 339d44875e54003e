//! What of a host node shows inside, and when it is written.

use super::*;
use crate::fixture::{context, patched};

fn host() -> Value {
    json!({
        "metadata": {
            "name": "n1",
            "uid": "b057",
            "labels": {"kubernetes.io/hostname": "n1", "zone": "a", "vcluster.dev/host": "x"},
            "annotations": {"cni.example/address": "10.0.0.1"},
            "finalizers": ["cloud.example/hold"],
        },
        "spec": {
            "podCIDR": "10.244.0.0/24",
            "podCIDRs": ["10.244.0.0/24"],
            "providerID": "cloud:///i-1",
            "unschedulable": true,
            "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}],
        },
        "status": {
            "capacity": {"cpu": "2", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "2"},
            "addresses": [
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "ExternalIP", "address": "203.0.113.1"},
                {"type": "ExternalDNS", "address": "n1.example.com"},
                {"type": "Hostname", "address": "n1"},
            ],
            "conditions": [
                {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "declaredFeatures": ["Something"],
            "images": [{"names": ["secret.example/other-tenant"]}],
            "nodeInfo": {
                "machineID": "m", "systemUUID": "s", "bootID": "b", "architecture": "amd64",
                "kubeletVersion": "v1.37.2",
            },
            "volumesInUse": ["v"],
            "fieldOfTomorrow": 1,
        },
    })
}

fn made() -> Value {
    let mut node = to_virtual(&host(), &context());
    node["metadata"]["uid"] = "5a1e".into();
    node
}

#[test]
fn a_node_shows_what_pods_need_and_nothing_of_its_neighbours() {
    insta::assert_json_snapshot!("node", to_virtual(&host(), &context()));
}

#[test]
fn a_node_as_it_should_be_is_not_written() {
    assert_eq!(update_virtual(&host(), &made(), &context()), None);
    assert_eq!(status_to_virtual(&host(), &made(), &context()), None);
}

#[test]
fn a_heartbeat_alone_is_no_change() {
    let mut host = host();
    host["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:05:00Z".into();
    assert_eq!(status_to_virtual(&host, &made(), &context()), None);
    host["status"]["conditions"][0]["status"] = "False".into();
    let patch = status_to_virtual(&host, &made(), &context()).unwrap();
    assert_eq!(
        patched(&made(), &patch)["status"]["conditions"],
        host["status"]["conditions"]
    );
}

#[test]
fn cordon_taints_and_labels_follow_both_ways() {
    let mut host = host();
    host["spec"] = json!({});
    host["metadata"]["labels"] = json!({"zone": "b"});
    let patch = update_virtual(&host, &made(), &context()).unwrap();
    let node = patched(&made(), &patch);
    assert_eq!(node["spec"], json!({}));
    assert_eq!(
        node["metadata"]["labels"],
        json!({"zone": "b", MANAGED: "true"})
    );
    assert_eq!(update_virtual(&host, &node, &context()), None);
}

#[test]
fn a_node_made_by_an_older_version_gets_the_endpoint() {
    let mut old = made();
    old["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": 0}});
    old["status"]["addresses"] = host()["status"]["addresses"].clone();
    let patch = status_to_virtual(&host(), &old, &context()).unwrap();
    let node = patched(&old, &patch);
    assert_eq!(
        node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"],
        KUBELET_PORT
    );
    assert_eq!(
        node["status"]["addresses"],
        json!([
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": "n1"},
            {"type": "InternalDNS", "address": "vcluster-sync.vcluster-system.svc"},
        ])
    );
    assert_eq!(status_to_virtual(&host(), &node, &context()), None);
}

#[test]
fn only_a_marked_node_is_ours() {
    assert!(is_ours(&made(), &context()));
    for pointer in ["/metadata/labels", "/metadata/annotations"] {
        let mut node = made();
        *node.pointer_mut(pointer).unwrap() = json!({});
        assert!(!is_ours(&node, &context()));
    }
}

#[test]
fn odd_json_does_not_make_it_panic() {
    for odd in [
        json!(null),
        json!(7),
        json!([]),
        json!({"metadata": 7, "spec": [], "status": "x"}),
    ] {
        let _ = to_virtual(&odd, &context());
        let _ = update_virtual(&odd, &odd, &context());
        let _ = status_to_virtual(&odd, &odd, &context());
        let _ = is_ours(&odd, &context());
    }
}

#[test]
fn a_node_is_lost_when_nobody_hears_of_it() {
    for (status, lost) in [("True", false), ("False", false), ("Unknown", true)] {
        let node = json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "Unknown"}, {"type": "Ready", "status": status},
        ]}});
        assert_eq!(is_lost(&node), lost, "{status}");
    }
    assert!(!is_lost(&json!({})));
}
