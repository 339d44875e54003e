//! What sync keeps inside a virtual cluster is kept from its administrator.

use integration_tests::{Tenant, eventually, host};
use serde_json::json;

const KEPT: &str = "vcluster.dev/managed";

/// A node that shows in the virtual cluster.
fn node(tenant: &Tenant) -> String {
    eventually("a node shows", || {
        let nodes = host::items(&tenant.kubectl("get nodes -o json").json());
        nodes
            .first()
            .map(|n| host::name(n).to_owned())
            .ok_or("none")
    })
}

#[test]
fn an_administrator_cannot_change_what_mirrors_the_host() {
    let tenant = Tenant::create("kept");
    let node = node(&tenant);
    for attempt in [
        format!("label node {node} a=b"),
        format!("label node {node} {KEPT}-"),
        format!("delete node {node}"),
        // Not `cordon`: kubectl prints its refusal and ends with 0.
        format!("taint node {node} a=b:NoSchedule"),
    ] {
        tenant.kubectl(&attempt).refused(&[KEPT]);
    }
    let forged = |kind: &str, version: &str, more: &serde_json::Value| {
        let mut object = json!({
            "apiVersion": version, "kind": kind,
            "metadata": {"name": "forged", "labels": {KEPT: "true"}},
        });
        let fields = more.as_object().expect("fields").clone();
        object.as_object_mut().expect("an object").extend(fields);
        object.to_string()
    };
    for (kind, version, more) in [
        (
            "StorageClass",
            "storage.k8s.io/v1",
            json!({"provisioner": "a"}),
        ),
        (
            "IngressClass",
            "networking.k8s.io/v1",
            json!({"spec": {"controller": "example.com/none"}}),
        ),
        ("PriorityClass", "scheduling.k8s.io/v1", json!({"value": 1})),
        ("RuntimeClass", "node.k8s.io/v1", json!({"handler": "a"})),
        (
            "ClusterRole",
            "rbac.authorization.k8s.io/v1",
            json!({"rules": []}),
        ),
        (
            "ServiceCIDR",
            "networking.k8s.io/v1",
            json!({"spec": {"cidrs": ["10.1.0.0/24"]}}),
        ),
    ] {
        tenant
            .kubectl("create -f -")
            .input(forged(kind, version, &more))
            .refused(&[KEPT]);
    }
}

#[test]
fn what_bears_no_such_label_is_the_tenants_own() {
    let tenant = Tenant::create("own");
    let own = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "own"}, "provisioner": "example.com/none",
    });
    tenant.kubectl("create -f -").input(own.to_string()).ok();
    tenant.kubectl("label storageclass own a=b").ok();
    let kept = format!("label storageclass own {KEPT}=true");
    tenant.kubectl(&kept).refused(&[KEPT]);
    tenant.kubectl("delete storageclass own").ok();
}

#[test]
fn the_ports_of_nodes_are_nobodys_not_even_as_the_api_server() {
    let tenant = Tenant::create("ports");
    let node = node(&tenant);
    for user in [
        "kubernetes-admin",
        "system:apiserver",
        "system:vcluster:sync",
    ] {
        for (name, rest) in [
            (node.clone(), "healthz"),
            (node.clone(), "metrics/resource"),
            (node.clone(), "stats/summary/../../pods"),
            (node.clone(), "exec/default/a/b?path=/stats/summary"),
            (format!("https:{node}:6443"), "stats/summary"),
            (format!("http:{node}:10249"), "stats/summary"),
            (format!("{node}:10250"), "stats/summary"),
        ] {
            let path = format!("/api/v1/nodes/{name}/proxy/{rest}");
            let args = [
                "get",
                "--raw",
                &path,
                "--as",
                user,
                "--as-group",
                "system:masters",
            ];
            let output = tenant.inside().kubectl_args(&args);
            output.refused(&["ports cannot be reached"]);
        }
    }
}
