//! Metrics of a virtual cluster's pods and nodes.

use serde::de::DeserializeOwned;
use vcluster_resources::label::CLUSTER_UID;

use super::*;

/// An object as it is read.
fn read<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn read_all<T: DeserializeOwned, const N: usize>(objects: [Value; N]) -> Vec<T> {
    objects.into_iter().map(read).collect()
}

fn shown(metrics: &[PodMetrics<'_>]) -> Vec<Value> {
    metrics.iter().map(|found| json!(found)).collect()
}

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
    let found = read_all([host("web-x-shop-x-demo", "c1", "team-a", "250m")]);
    let inside = read_all([pod("web", "node-1"), pod("new", "node-1")]);
    let metrics = pods(&inside, &found, &tenant());
    assert_eq!(
        shown(&metrics),
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
        let (inside, found) = (read_all([pod("web", "node-1")]), read_all([found]));
        assert_eq!(pods(&inside, &found, &tenant()), []);
    }
}

#[test]
fn a_node_has_the_sum_of_own_pods_and_nothing_where_there_is_none() {
    let node =
        |name: &str| json!({"metadata": {"name": name, "labels": {"zone": "a"}, "uid": "1"}});
    let found = read_all([
        host("web-x-shop-x-demo", "c1", "team-a", "250m"),
        host("db-x-shop-x-demo", "c1", "team-a", "500m"),
        host("web-x-shop-x-other", "c2", "team-a", "1"),
    ]);
    let inside = read_all([
        pod("web", "node-1"),
        pod("db", "node-1"),
        pod("web2", "node-2"),
    ]);
    let now = "2026-01-01T00:01:00Z";
    let all = read_all([node("node-1"), node("node-2")]);
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
    let found = read_all([host("web-x-shop-x-demo", "c1", "team-a", "1")]);
    for (began, shown) in [
        (json!("2026-01-01T00:00:20Z"), 1),
        (json!("2026-01-01T00:00:21Z"), 0),
        (Value::Null, 0),
    ] {
        let mut inside = pod("web", "node-1");
        inside["status"]["startTime"] = began.clone();
        let inside = read_all([inside]);
        let metrics = pods(&inside, &found, &tenant());
        assert_eq!(metrics.len(), shown, "{began}");
    }
}

fn node() -> Node {
    read(json!({"metadata": {"name": "node-1", "creationTimestamp": "2025-12-31T00:00:00Z"}}))
}

#[test]
fn a_summary_tells_of_own_pods_on_the_node_as_a_kubelet_does() {
    let mut injected = host("web-x-shop-x-demo", "c1", "team-a", "250m");
    injected["metadata"]["uid"] = "host-uid".into();
    let found = read_all([
        injected,
        host("db-x-shop-x-demo", "c1", "team-a", "500m"),
        host("web-x-shop-x-other", "c2", "team-a", "1"),
        host("demo-0", "c1", "team-a", "1"),
    ]);
    let inside = read_all([pod("web", "node-1"), pod("db", "node-2")]);
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
    let inside = read_all([pod("web", "node-1")]);
    let said = summary(&node(), &inside, &[], &tenant(), now);
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

#[test]
fn of_an_object_nothing_is_kept_that_metrics_do_not_need() {
    let mut large = pod("web", "node-1");
    large["metadata"]["annotations"]["a"] = "x".repeat(250_000).into();
    large["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
    large["spec"]["containers"][0]["image"] = "nginx".into();
    large["spec"]["initContainers"] = Value::Null;
    let kept = json!(read::<Pod>(large));
    let keys = |part: &Value| -> Vec<String> {
        let part = part.as_object().unwrap();
        part.keys().cloned().collect()
    };
    let metadata = ["creationTimestamp", "labels", "name", "namespace", "uid"];
    assert_eq!(keys(&kept["metadata"]), metadata);
    assert_eq!(kept["spec"]["containers"], json!([{"name": "main"}]));
    assert!(kept.to_string().len() < 1000, "{kept}");
    let found: Measured = read(host("web-x-shop-x-demo", "c1", "team-a", "1"));
    let kept = json!(found);
    assert_eq!(kept["metadata"]["labels"], json!({CLUSTER_UID: "c1"}));
}

#[test]
fn a_list_is_one_of_its_kind() {
    let expected = json!({
        "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [1],
    });
    assert_eq!(json!(list("PodMetrics", &[1])), expected);
}
