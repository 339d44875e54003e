//! Metrics of a virtual cluster's pods and nodes.

use super::*;

fn tenant() -> TenantUri {
    "vcluster://team-a/demo/c1".parse().unwrap()
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "labels": {"app": name}, "annotations": {"a": "b"},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main"}],
            "initContainers": [{"name": "sidecar", "restartPolicy": "Always"}],
        },
        "status": {
            "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:07Z"}}}],
        },
    })
}

fn host(name: &str, uid: &str, namespace: &str, cpu: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:30Z",
            "labels": {"vcluster.dev/cluster-uid": uid, "label.vcluster.dev/app": "web"},
        },
        "timestamp": "2026-01-01T00:00:20Z",
        "window": "15s",
        "containers": [
            {"name": "main", "usage": {"cpu": cpu, "memory": "10Mi"}},
            {"name": "sidecar", "usage": {"cpu": "1m", "memory": "1Mi"}},
            {"name": "injected", "usage": {"cpu": "1", "memory": "1Gi"}},
        ],
    })
}

#[test]
fn a_pod_has_what_the_host_measured_of_it_under_its_own_name_and_labels() {
    let found = [host("web-x-shop-x-demo", "c1", "team-a", "250m")];
    let metrics = pods(
        &[pod("web", "node-1"), pod("new", "node-1")],
        &found,
        &tenant(),
    );
    assert_eq!(
        metrics,
        [json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "web", "namespace": "shop", "labels": {"app": "web"},
                "creationTimestamp": "2026-01-01T00:00:30Z",
            },
            "timestamp": "2026-01-01T00:00:20Z", "window": "15s",
            "containers": [
                {"name": "main", "usage": {"cpu": "250m", "memory": "10Mi"}},
                {"name": "sidecar", "usage": {"cpu": "1m", "memory": "1Mi"}},
            ],
        })]
    );
}

#[test]
fn metrics_of_others_are_not_shown_whatever_they_are_called() {
    let mut unlabelled = host("web-x-shop-x-demo", "c1", "team-a", "1");
    unlabelled["metadata"]["labels"] = Value::Null;
    for found in [
        host("web-x-shop-x-demo", "c2", "team-a", "1"),
        host("web-x-shop-x-demo", "c1", "team-b", "1"),
        host("demo-0", "c1", "team-a", "1"),
        unlabelled,
    ] {
        let metrics = pods(&[pod("web", "node-1")], &[found], &tenant());
        assert_eq!(metrics, [] as [Value; 0]);
    }
}

#[test]
fn a_node_has_the_sum_of_own_pods_and_nothing_where_there_is_none() {
    let node =
        |name: &str| json!({"metadata": {"name": name, "labels": {"zone": "a"}, "uid": "1"}});
    let found = [
        host("web-x-shop-x-demo", "c1", "team-a", "250m"),
        host("db-x-shop-x-demo", "c1", "team-a", "500m"),
        host("web-x-shop-x-other", "c2", "team-a", "1"),
    ];
    let inside = [
        pod("web", "node-1"),
        pod("db", "node-1"),
        pod("web2", "node-2"),
    ];
    let now = "2026-01-01T00:01:00Z";
    let all = [node("node-1"), node("node-2")];
    let metrics = nodes(&all, &inside, &found, &tenant(), now);
    assert_eq!(
        metrics,
        [
            json!({
                "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {
                    "name": "node-1", "labels": {"zone": "a"},
                    "creationTimestamp": "2026-01-01T00:00:20Z",
                },
                "timestamp": "2026-01-01T00:00:20Z", "window": "15s",
                "usage": {"cpu": "752000000n", "memory": "22528Ki"},
            }),
            json!({
                "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {
                    "name": "node-2", "labels": {"zone": "a"}, "creationTimestamp": now,
                },
                "timestamp": now, "window": "0s",
                "usage": {"cpu": "0n", "memory": "0Ki"},
            }),
        ]
    );
}

#[test]
fn what_was_measured_before_a_pod_began_is_a_former_one_s() {
    let found = [host("web-x-shop-x-demo", "c1", "team-a", "1")];
    for (began, shown) in [
        (json!("2026-01-01T00:00:20Z"), 1),
        (json!("2026-01-01T00:00:21Z"), 0),
        (Value::Null, 0),
    ] {
        let mut inside = pod("web", "node-1");
        inside["status"]["startTime"] = began.clone();
        let metrics = pods(&[inside], &found, &tenant());
        assert_eq!(metrics.len(), shown, "{began}");
    }
}

fn node() -> Value {
    json!({"metadata": {"name": "node-1", "creationTimestamp": "2025-12-31T00:00:00Z"}})
}

#[test]
fn a_summary_tells_of_own_pods_on_the_node_as_a_kubelet_does() {
    let mut injected = host("web-x-shop-x-demo", "c1", "team-a", "250m");
    injected["metadata"]["uid"] = "host-uid".into();
    let found = [
        injected,
        host("db-x-shop-x-demo", "c1", "team-a", "500m"),
        host("web-x-shop-x-other", "c2", "team-a", "1"),
        host("demo-0", "c1", "team-a", "1"),
    ];
    let inside = [pod("web", "node-1"), pod("db", "node-2")];
    let said = summary(&node(), &inside, &found, &tenant(), "2026-01-01T00:01:00Z");
    let time = "2026-01-01T00:00:20Z";
    let memory = |mebibytes: u64| json!({"time": time, "workingSetBytes": mebibytes << 20});
    let cpu = |nanos: u64| json!({"time": time, "usageNanoCores": nanos});
    assert_eq!(
        said,
        json!({
            "node": {
                "nodeName": "node-1", "startTime": "2025-12-31T00:00:00Z",
                "cpu": cpu(251_000_000), "memory": memory(11),
            },
            "pods": [{
                "podRef": {"name": "web", "namespace": "shop", "uid": "uid-web"},
                "startTime": "2026-01-01T00:00:00Z",
                "containers": [
                    {
                        "name": "main", "startTime": "2026-01-01T00:00:07Z",
                        "cpu": cpu(250_000_000), "memory": memory(10),
                    },
                    {
                        "name": "sidecar", "startTime": "2026-01-01T00:00:00Z",
                        "cpu": cpu(1_000_000), "memory": memory(1),
                    },
                ],
                "cpu": cpu(251_000_000), "memory": memory(11),
            }],
        })
    );
}

#[test]
fn a_summary_without_measured_pods_is_empty_as_of_now() {
    let now = "2026-01-01T00:01:00Z";
    let said = summary(&node(), &[pod("web", "node-1")], &[], &tenant(), now);
    assert_eq!(said["pods"], json!([]));
    assert_eq!(
        said["node"]["cpu"],
        json!({"time": now, "usageNanoCores": 0})
    );
    assert_eq!(
        said["node"]["memory"],
        json!({"time": now, "workingSetBytes": 0})
    );
}
