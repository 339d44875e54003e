//! What pods use: `kubectl top`, and autoscaling by it, inside virtual clusters.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
const APISERVICE: &str = "apiservice v1beta1.metrics.k8s.io";

/// A Deployment whose pods do nothing but work, within narrow limits.
fn busy() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "busy"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "busy"}},
            "template": {
                "metadata": {"labels": {"app": "busy"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "while :; do :; done"],
                        "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "50m"}},
                    }],
                },
            },
        },
    })
}

fn autoscaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "busy"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "minReplicas": 1, "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5},
            }}],
        },
    })
}

fn top(tenant: &Tenant, what: &str, expected: &str) -> String {
    eventually(&format!("kubectl top {what}"), || {
        let output = tenant.kubectl(&format!("top {what}")).run();
        if output.succeeded() && output.stdout.contains(expected) {
            Ok(output.stdout)
        } else {
            Err(output)
        }
    })
}

#[test]
fn top_and_autoscaling_work_inside_by_what_the_host_measures_of_own_pods() {
    let tenant = Tenant::create("metrics");
    for object in [busy(), autoscaler()] {
        tenant.inside().apply(&object.to_string());
    }
    top(&tenant, "pods", "busy-");
    let all = tenant
        .kubectl("get --raw /apis/metrics.k8s.io/v1beta1/pods")
        .json();
    for item in host::items(&all) {
        let own =
            item["metadata"]["namespace"] == "default" && host::name(&item).starts_with("busy-");
        assert!(own, "a pod that is not the tenant's: {item}");
        assert_eq!(item["containers"][0]["name"], "main");
    }
    let node = tenant.kubectl("get nodes -o json").json();
    top(&tenant, "nodes", host::name(&node["items"][0]));

    a_kubelet_s_summary_tells_the_same(&tenant, &host::items(&node));

    // Whoever may not read them does not.
    tenant
        .kubectl("top pods --as=jane")
        .refused(&["Forbidden", "pods", "metrics.k8s.io"]);
    tenant
        .kubectl("create rolebinding jane --clusterrole=view --user=jane")
        .ok();
    eventually("a reader of the namespace reads its metrics", || {
        let output = tenant.kubectl("top pods --as=jane").run();
        if output.succeeded() {
            Ok(())
        } else {
            Err(output)
        }
    });

    tenant
        .kubectl("wait --for=jsonpath={.status.replicas}=2 deployment/busy --timeout=300s")
        .ok();
    tenant.kubectl("delete hpa busy").ok();
    tenant.kubectl("delete deployment busy").ok();
    a_metrics_server_of_the_tenant_s_own_is_left_alone(&tenant);
}

/// Of each node its own pods only, by the names and UIDs inside, through the proxy to nodes.
fn a_kubelet_s_summary_tells_the_same(tenant: &Tenant, nodes: &[Value]) {
    let mut told = Vec::new();
    for node in nodes {
        let name = host::name(node);
        let path = format!("/api/v1/nodes/{name}/proxy/stats/summary");
        let summary = tenant.kubectl(&format!("get --raw {path}")).json();
        assert_eq!(summary["node"]["nodeName"], name, "{summary}");
        let pods = summary["pods"].as_array().expect("a list of pods");
        let sum: u64 = pods
            .iter()
            .filter_map(|pod| pod["cpu"]["usageNanoCores"].as_u64())
            .sum();
        assert_eq!(summary["node"]["cpu"]["usageNanoCores"], sum, "{summary}");
        for pod in pods {
            let reference = &pod["podRef"];
            let (namespace, name) = (&reference["namespace"], &reference["name"]);
            let path = format!("get pod -n {namespace} {name} -o json").replace('"', "");
            let inside = tenant.kubectl(&path).json();
            assert_eq!(reference["uid"], inside["metadata"]["uid"], "{pod}");
            assert_eq!(inside["spec"]["nodeName"], summary["node"]["nodeName"]);
            let memory = &pod["containers"][0]["memory"]["workingSetBytes"];
            assert!(memory.as_u64() > Some(0), "{pod}");
            told.push(name.to_string());
        }
    }
    assert!(
        told.iter().any(|name| name.starts_with("\"busy-")),
        "{told:?}"
    );
    let path = "get --raw /api/v1/nodes/no-such-node/proxy/stats/summary";
    tenant.kubectl(path).refused(&["not found"]);
    // Reading pods is not enough.
    let first = host::name(&nodes[0]);
    tenant
        .kubectl(&format!(
            "get --raw /api/v1/nodes/{first}/proxy/stats/summary --as=jane"
        ))
        .refused(&["Forbidden", "nodes/proxy"]);
}

fn a_metrics_server_of_the_tenant_s_own_is_left_alone(tenant: &Tenant) {
    let patch = r#"{"spec":{"service":{"namespace":"default","name":"own"}}}"#;
    tenant
        .inside()
        .kubectl_args(&[
            "patch",
            "apiservice",
            "v1beta1.metrics.k8s.io",
            "--type=merge",
            "-p",
            patch,
        ])
        .ok();
    eventually("sync says that it steps aside", || {
        let events = tenant
            .inside()
            .list("events --field-selector reason=HostMetricsNotUsed");
        if events.is_empty() {
            Err("no Event".to_owned())
        } else {
            Ok(())
        }
    });
    let found = tenant.kubectl(&format!("get {APISERVICE} -o json")).json();
    assert_eq!(found["spec"]["service"]["name"], "own");
    tenant.kubectl(&format!("delete {APISERVICE}")).ok();
    eventually("the host's metrics are back", || {
        let output = tenant
            .kubectl("get --raw /apis/metrics.k8s.io/v1beta1/nodes")
            .run();
        if output.succeeded() {
            Ok(())
        } else {
            Err(output)
        }
    });
}
