//! `/stats/summary`.

use super::*;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/team-a/pods";
const NODE: &str = "/api/v1/nodes/node-1/proxy/stats/summary";

async fn summary(world: &World, forwarded: Option<&str>) -> (u16, Value) {
    let mut request = request(&Method::GET, "/stats/summary?only_cpu_and_memory=true");
    if let Some(uri) = forwarded {
        request
            .headers_mut()
            .insert("x-forwarded-uri", uri.parse().unwrap());
    }
    let (code, said) = whole(world.ask(request).await).await;
    (code, serde_json::from_str(&said).unwrap())
}

fn list(items: &Value) -> Value {
    json!({"kind": "List", "items": items})
}

/// A world whose pod runs on `node-1`.
async fn measured() -> World {
    let world = World::new().await;
    let began = "2026-01-01T00:00:00Z";
    let node = json!({"metadata": {"name": "node-1", "creationTimestamp": began}});
    world.inside_says_at("/api/v1/nodes", &list(&json!([node])));
    let pod = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "v1"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
        "status": {"startTime": began},
    });
    world.inside_says_at("/api/v1/pods", &list(&json!([pod])));
    let found = |name: &str, of: &str| {
        let usage = json!({"cpu": "2m", "memory": "3Mi"});
        json!({
            "metadata": {"name": name, "namespace": "team-a", "labels": {CLUSTER_UID: of}},
            "timestamp": "2026-01-01T00:01:00Z", "window": "15s",
            "containers": [{"name": "main", "usage": usage}, {"name": "injected", "usage": usage}],
        })
    };
    let all = json!([
        found(HOST_POD, "c1"),
        found("db-x-shop-x-other", "c2"),
        found("demo-0", "c1")
    ]);
    world.host_says_at(METRICS, 200, &list(&all));
    world
}

#[tokio::test]
async fn a_node_s_summary_is_composed_of_one_list_of_the_tenant_s_own_metrics() {
    let world = measured().await;
    let (code, said) = summary(&world, Some(NODE)).await;
    assert_eq!(code, 200, "{said}");
    assert_eq!(said["node"]["nodeName"], "node-1");
    assert_eq!(said["node"]["cpu"]["usageNanoCores"], 2_000_000);
    assert_eq!(said["node"]["memory"]["workingSetBytes"], 3 << 20);
    let reference = json!({"name": "web", "namespace": "shop", "uid": "v1"});
    assert_eq!(said["pods"][0]["podRef"], reference);
    assert_eq!(said["pods"].as_array().map(Vec::len), Some(1), "{said}");
    assert_eq!(
        said["pods"][0]["containers"].as_array().map(Vec::len),
        Some(1),
        "{said}"
    );
    // Of the host nothing else was asked, and no kubelet.
    let as_the_tenant: Vec<_> = world
        .seen("")
        .into_iter()
        .filter(|seen| seen.headers.contains_key("authorization"))
        .collect();
    let [seen] = as_the_tenant.as_slice() else {
        panic!("{as_the_tenant:?}")
    };
    let expected = format!("{METRICS}?labelSelector=vcluster.dev%2Fcluster-uid%3Dc1");
    assert_eq!(seen.target, expected);
    goes_as_the_tenant(&seen.headers(), &[]);
}

#[tokio::test]
async fn a_host_that_measures_nothing_is_told_and_so_is_a_node_that_is_not_there() {
    let world = measured().await;
    let unavailable = json!({"kind": "Status", "code": 503, "reason": "ServiceUnavailable"});
    world.host_says_at(METRICS, 503, &unavailable);
    let (code, said) = summary(&world, Some(NODE)).await;
    assert_eq!(code, 503, "{said}");
    let message = said["message"].as_str().unwrap_or_default();
    assert!(message.contains("metrics server"), "{message}");

    let world = measured().await;
    world.inside_says_at("/api/v1/nodes", &list(&json!([])));
    assert_eq!(summary(&world, Some(NODE)).await.0, 404);
}

#[tokio::test]
async fn a_node_that_is_not_said_is_not_guessed() {
    let world = measured().await;
    for forwarded in [
        None,
        Some("/stats/summary"),
        Some("/api/v1/nodes/%2e%2e/proxy/stats/summary"),
    ] {
        let (code, said) = summary(&world, forwarded).await;
        assert_eq!(code, 400, "{said}");
        assert!(world.seen("").is_empty());
    }
}
