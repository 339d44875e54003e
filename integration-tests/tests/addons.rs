//! The dev cluster's own equipment: what the scenarios rely on does what it is there for.

use integration_tests::{Host, eventually};
use serde_json::json;

const NAMESPACE: &str = "host-policies";

#[test]
fn the_host_cluster_measures_its_nodes_and_pods() {
    let host = Host::get();
    for what in ["nodes", "pods -n kube-system"] {
        eventually("there are measurements", || {
            let top = host.kubectl(&format!("top {what} --no-headers")).run();
            if top.succeeded() && top.stdout.lines().count() > 0 {
                Ok(())
            } else {
                Err(top.to_string())
            }
        });
    }
}

fn pod(name: &str, image: &str, command: &[&str]) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"is": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": format!("docker.io/library/{image}:latest"),
                "imagePullPolicy": "IfNotPresent", "command": command,
                "ports": [{"name": "http", "containerPort": 80}]}],
        },
    })
    .to_string()
}

/// Whether a connection to the web pod's Service comes about.
fn connects(host: &Host, from: &str, address: &str) -> bool {
    let script = format!("nc -w 2 {address} 80 < /dev/null");
    let args = ["-n", NAMESPACE, "exec", from, "--", "sh", "-c", &script];
    host.kubectl_args(&args).run().succeeded()
}

#[test]
fn a_network_policy_stops_the_packets_of_those_it_does_not_name() {
    let host = Host::get();
    host.kubectl(&format!("create namespace {NAMESPACE}")).ok();
    let nginx = ["/usr/sbin/nginx", "-e", "/dev/stderr", "-g", "daemon off;"];
    host.apply(&pod("web", "nginx", &nginx));
    for name in ["friend", "stranger"] {
        host.apply(&pod(name, "busybox", &["sleep", "3600"]));
    }
    host.kubectl(&format!("-n {NAMESPACE} expose pod web --port=80"))
        .ok();
    host.kubectl(&format!(
        "-n {NAMESPACE} wait --for=condition=Ready pod --all --timeout=120s"
    ))
    .ok();
    let service = host
        .kubectl(&format!("-n {NAMESPACE} get service web -o json"))
        .json();
    let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    for from in ["friend", "stranger"] {
        eventually("without a policy everybody connects", || {
            connects(&host, from, address).then_some(()).ok_or(from)
        });
    }

    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"is": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"podSelector": {"matchLabels": {"is": "friend"}}}],
                "ports": [{"port": "http"}],
            }],
        },
    });
    host.apply(&policy.to_string());
    eventually("the stranger is stopped", || {
        (!connects(&host, "stranger", address))
            .then_some(())
            .ok_or("it still connects")
    });
    assert!(connects(&host, "friend", address), "the friend is let in");
    host.kubectl(&format!("delete namespace {NAMESPACE} --wait=false"))
        .ok();
}
