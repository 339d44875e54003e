//! What control's account writes.

use integration_tests::host;
use serde_json::{Value, json};

use crate::{
    namespace::{Namespace, service},
    pod::{container, volume},
};

#[test]
fn control_writes_in_opened_namespaces_and_in_no_other() {
    let opened = Namespace::opened("test-policy-opened");
    let closed = Namespace::create("test-policy-closed", &json!({}));
    let refused = Namespace::create(
        "test-policy-refused",
        &json!({"vcluster.dev/host": "false"}),
    );
    let control = service("vcluster-control");
    let port = json!({"spec": {"ports": [{"port": 443}]}});
    for (version, kind, more) in [("v1", "Service", port), ("v1", "ServiceAccount", json!({}))] {
        let object = |place: &Namespace| place.object(version, kind, "demo", &more);
        opened.create_as(&control, &object(&opened)).ok();
        for place in [&closed, &refused] {
            let refusal = ["not a namespace labelled vcluster.dev/host=true"];
            place.create_as(&control, &object(place)).refused(&refusal);
        }
    }
    // Its own namespace is for keys and Leases: a RoleBinding there would make it sync.
    let mut binding = opened.object("rbac.authorization.k8s.io/v1", "RoleBinding", "x", &json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vcluster-tenant-token"},
        "subjects": [],
    }));
    binding["metadata"]["name"] = "vcluster-tenant-token".into();
    opened.create_as(&control, &binding).ok();
    for subject in [
        json!({"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}),
        json!({"kind": "ServiceAccount", "name": "default", "namespace": opened.name}),
        json!({"kind": "ServiceAccount", "name": "vcluster-sync", "namespace": opened.name}),
    ] {
        let mut wide = binding.clone();
        wide["subjects"] = json!([subject]);
        opened
            .create_as(&control, &wide)
            .refused(&["only to the accounts of vcluster"]);
    }
    binding["metadata"]["name"] = "another".into();
    opened
        .create_as(&control, &binding)
        .refused(&["only under their own names"]);
    binding["metadata"]["namespace"] = host::RELEASE.into();
    opened
        .create_as(&control, &binding)
        .refused(&["may not write rolebindings"]);
}

#[test]
fn control_runs_nothing_that_reaches_a_node() {
    let opened = Namespace::opened("test-policy-runs");
    opened.bind();
    let control = service("vcluster-control");
    let stateful = |pod: &Value| {
        opened.object(
            "apps/v1",
            "StatefulSet",
            "x",
            &json!({"spec": {
                "serviceName": "x", "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
            }}),
        )
    };
    let plain = json!({"containers": [{"name": "a", "image": "a"}]});
    opened.create_as(&control, &stateful(&plain)).ok();
    for reaching in [
        json!({"hostNetwork": true}),
        json!({"hostPID": true}),
        json!({"hostIPC": true}),
        json!({"serviceAccountName": "vcluster-sync"}),
        volume(json!({"hostPath": {"path": "/"}})),
        volume(json!({"nfs": {"server": "192.0.2.1", "path": "/"}})),
        container(json!({"securityContext": {"privileged": true}})),
        container(json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
        container(json!({"ports": [{"containerPort": 1, "hostPort": 1}]})),
        json!({"initContainers": [{"name": "i", "image": "a", "securityContext": {"privileged": true}}]}),
    ] {
        let mut pod = plain.clone();
        for (key, value) in reaching.as_object().into_iter().flatten() {
            pod[key] = value.clone();
        }
        opened
            .create_as(&control, &stateful(&pod))
            .refused(&["may not reach the host's node"]);
    }
    opened
        .create_as(
            &control,
            &opened.object("v1", "Pod", "x", &json!({"spec": plain})),
        )
        .refused(&["control makes no pods"]);
    for spec in [
        json!({"ports": [{"port": 1}], "externalIPs": ["192.0.2.1"]}),
        json!({"ports": [{"port": 1}], "type": "NodePort"}),
    ] {
        opened
            .create_as(
                &control,
                &opened.object("v1", "Service", "x", &json!({"spec": spec})),
            )
            .refused(&["only Services of type ClusterIP"]);
    }
    let token = json!({"type": "kubernetes.io/service-account-token"});
    let mut token = opened.object("v1", "Secret", "x", &token);
    token["metadata"]["annotations"] = json!({"kubernetes.io/service-account.name": "default"});
    opened
        .create_as(&control, &token)
        .refused(&["tokens of service accounts"]);
}

#[test]
fn what_was_made_without_the_label_can_be_deleted_by_control() {
    let closed = Namespace::create("test-policy-left", &json!({}));
    let cluster = closed.object(
        "vcluster.dev/v1alpha1",
        "VirtualCluster",
        "left",
        &json!({"spec": {}}),
    );
    closed.host.apply(&cluster.to_string());
    let args = format!(
        "-n {} delete virtualcluster left --dry-run=server --as={}",
        closed.name,
        service("vcluster-control")
    );
    closed.host.kubectl(&args).ok();
    let args = format!("-n {} delete virtualcluster left --wait=false", closed.name);
    closed.host.kubectl(&args).ok();
}

#[test]
fn control_takes_over_no_namespace() {
    let opened = Namespace::opened("test-policy-ours");
    let closed = Namespace::create("test-policy-theirs", &json!({}));
    let control = service("vcluster-control");
    let labels = |value: Value| json!({"metadata": {"labels": {"vcluster.dev/host": value}}});
    let patch = |place: &Namespace, patch: &Value| {
        place.patch_as(&control, &format!("namespace {}", place.name), patch)
    };
    patch(&opened, &json!({"metadata": {"annotations": {"a": "b"}}})).ok();
    patch(&opened, &labels(Value::Null)).refused(&["must bear the label"]);
    patch(&opened, &labels("false".into())).refused(&["must bear the label"]);
    let level = |level: Value| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    patch(&opened, &level("privileged".into())).refused(&["may not let pods reach the nodes"]);
    let fenced =
        json!({"vcluster.dev/host": "true", "pod-security.kubernetes.io/enforce": "restricted"});
    let fenced = Namespace::create("test-policy-fenced", &fenced);
    for lower in [Value::Null, "baseline".into()] {
        patch(&fenced, &level(lower)).refused(&["may not change the labels"]);
    }
    patch(&closed, &labels("true".into())).refused(&["only namespaces labelled"]);
    for (name, place) in [("kube-public", &closed), (closed.name, &closed)] {
        let args = format!("delete namespace {name} --dry-run=server --as={control}");
        place.host.kubectl(&args).refused(&["orbidden"]);
    }
}

#[test]
fn control_writes_no_network_policy_but_those_of_control_planes_and_dns_servers() {
    let place = Namespace::opened("test-policy-fences");
    // By the role that it binds for itself, RBAC lets it.
    place.bind();
    let control = service("vcluster-control");
    let policy = |name: &str, part: &str, kind: &str| {
        let selector = json!({"matchLabels": {"vcluster.dev/part": part}});
        let spec = json!({"podSelector": selector, "policyTypes": [kind]});
        let more = json!({ "spec": spec });
        let object = place.object("networking.k8s.io/v1", "NetworkPolicy", name, &more);
        place.create_as(&control, &object)
    };
    let (outward, inward) = ("vcluster-control-plane-egress", "vcluster-dns-ingress");
    policy(outward, "control-plane", "Egress").ok();
    policy(inward, "dns", "Ingress").ok();
    for (name, part, kind) in [
        (outward, "workload", "Egress"),
        (outward, "control-plane", "Ingress"),
        (inward, "control-plane", "Ingress"),
        (inward, "dns", "Egress"),
        ("another", "control-plane", "Egress"),
        ("web-x-shop-x-demo", "workload", "Ingress"),
    ] {
        policy(name, part, kind).refused(&["only the network policies of control planes"]);
    }
}
