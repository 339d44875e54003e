//! What the services themselves may do on the host: each attempt to exceed it is refused.

use integration_tests::{Host, Tenant, host};
use serde_json::json;

fn acting_as(service: &str) -> String {
    format!("--as=system:serviceaccount:{}:{service}", host::RELEASE)
}

#[test]
fn no_service_holds_power_over_the_host() {
    let host = Host::get();
    let forbidden = [
        "* *",
        "get nodes --subresource=proxy",
        "create nodes --subresource=proxy",
        "get secrets -A",
        "list secrets -A",
        "create serviceaccounts --subresource=token -A",
        "impersonate users",
        "escalate clusterroles",
        "bind clusterroles/cluster-admin",
        "create clusterrolebindings",
        "create pods -A",
        "list deployments -A",
        "create deployments -A",
        "delete nodes",
        "create pods --subresource=exec -A",
    ];
    for service in host::SERVICES {
        for what in forbidden {
            let output = host
                .kubectl(&format!("auth can-i {what} {}", acting_as(service)))
                .run();
            assert_eq!(output.stdout.trim(), "no", "{service}: {what}\n{output}");
        }
    }
}

#[test]
fn control_writes_only_where_virtual_clusters_may_live() {
    let host = Host::get();
    let namespace = "test-not-opened";
    host.apply(
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            .to_string(),
    );
    let control = acting_as("vcluster-control");
    for (kind, body) in [
        (
            "Secret",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vcluster-pki", "namespace": namespace}}),
        ),
        (
            "ConfigMap",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vcluster-admission", "namespace": namespace}}),
        ),
        (
            "ServiceAccount",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "vcluster-sync", "namespace": namespace}}),
        ),
        (
            "Namespace",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test-unlabelled"}}),
        ),
    ] {
        let output = host
            .kubectl(&format!(
                "apply --server-side --field-manager=vcluster-control -f - {control}"
            ))
            .input(body.to_string())
            .run();
        assert!(
            !output.succeeded(),
            "control made a {kind} where it may not:\n{output}"
        );
        assert!(
            output.stderr.to_lowercase().contains("forbidden") || output.stderr.contains("denied"),
            "{output}"
        );
    }
    let stateful = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x", "namespace": "kube-system"},
        "spec": {"serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}},
    });
    host.kubectl(&format!("apply --server-side -f - {control}"))
        .input(stateful.to_string())
        .refused(&[]);
    host.kubectl(&format!(
        "label namespace kube-system vcluster.dev/host=true {control}"
    ))
    .refused(&[]);
    host.kubectl(&format!("delete namespace {namespace} {control}"))
        .refused(&[]);
    host.kubectl(&format!("delete namespace {namespace}")).ok();
}

#[test]
fn control_binds_nothing_but_the_charts_two_roles() {
    let tenant = Tenant::create("binds");
    let control = acting_as("vcluster-control");
    for role in ["cluster-admin", "admin", "edit", "vcluster-control"] {
        let args = format!(
            "-n {} create rolebinding sneaky --clusterrole={role} --user=eve {control}",
            tenant.namespace
        );
        tenant.host().kubectl(&args).refused(&["orbidden"]);
    }
}

#[test]
fn a_tenants_identity_ends_at_its_namespace() {
    let tenant = Tenant::create("ends");
    let account = format!(
        "--as=system:serviceaccount:{}:vcluster-sync",
        tenant.namespace
    );
    let host = tenant.host();
    let can = |what: &str| {
        host.kubectl(&format!("auth can-i {what} {account}"))
            .run()
            .stdout
            .trim()
            .to_owned()
    };
    assert_eq!(can(&format!("create pods -n {}", tenant.namespace)), "yes");
    for what in [
        "create pods -n default",
        "list pods -A",
        "get secrets -n kube-system",
        "get nodes",
    ] {
        assert_eq!(can(what), "no", "{what}");
    }
    assert_eq!(
        can(&format!("create rolebindings -n {}", tenant.namespace)),
        "no"
    );
}

#[test]
fn services_take_a_callers_identity_from_nobody_but_the_gateway() {
    // Straight to control with forged headers and no certificate of the gateway's: see the answer.
    let host = Host::get();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test-forger", "namespace": "default"},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [
            {"name": "main", "image": "docker.io/library/busybox:latest", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "600"]}]},
    });
    host.apply(&pod.to_string());
    host.kubectl("wait --for=condition=Ready pod/test-forger --timeout=60s")
        .ok();
    // Whoever gets through TLS without a client certificate must still bring a token of its own;
    // the admin port answers only what it is for.
    let metrics = host.kubectl_args(&[
        "exec",
        "test-forger",
        "--",
        "wget",
        "-qO-",
        &format!("http://{}:9090/livez", pod_ip(&host, "vcluster-control")),
    ]);
    metrics.ok();
    host.kubectl("delete pod test-forger --wait=false").ok();
}

fn pod_ip(host: &Host, service: &str) -> String {
    let pods = host.list(&format!("-n {} pods", host::RELEASE));
    let ours = pods
        .iter()
        .find(|pod| host::name(pod).starts_with(service))
        .expect("it runs");
    ours["status"]["podIP"]
        .as_str()
        .expect("it has an address")
        .to_owned()
}
