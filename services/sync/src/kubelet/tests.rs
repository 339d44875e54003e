//! What the host is asked when a virtual API server asks, and what it is never asked.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod streams;
mod summary;
mod world;

use vcluster_resources::label::{CLUSTER_UID, VIRTUAL_KIND, VIRTUAL_NAME, VIRTUAL_UID};
use world::{HOST_POD, TOKEN, World, host_pod, host_pod_path, request, whole};

/// Asserts that of a request's headers none is the caller's, and that it goes as the tenant's ServiceAccount.
fn goes_as_the_tenant(headers: &BTreeMap<String, String>, besides: &[&str]) {
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(headers.get("authorization"), Some(&bearer), "{headers:?}");
    let agent = headers
        .get("user-agent")
        .map(String::as_str)
        .unwrap_or_default();
    assert!(agent.starts_with("vcluster-sync/"), "{headers:?}");
    for (name, value) in headers {
        let own = ["authorization", "user-agent", "host"].contains(&name.as_str());
        assert!(own || besides.contains(&name.as_str()), "{name}: {value}");
        assert!(!value.contains("of-the-caller"), "{name}: {value}");
    }
}

#[tokio::test]
async fn logs_are_asked_for_with_the_caller_s_parameters_and_nothing_else_of_it() {
    let world = World::new().await;
    world.host_says("log", 200, "a line\n");
    for (query, expected) in [
        ("", "container=main"),
        (
            "?follow=true&previous=true",
            "container=main&follow=true&previous=true",
        ),
        (
            "?tailLines=3&limitBytes=10&sinceSeconds=5&timestamps=true&stream=Stderr",
            "container=main&tailLines=3&limitBytes=10&sinceSeconds=5&timestamps=true&stream=Stderr",
        ),
        (
            "?sinceTime=2026-01-01T00%3A00%3A00Z",
            "container=main&sinceTime=2026-01-01T00%3A00%3A00Z",
        ),
        (
            "?container=injected&unknown=1&insecureSkipTLSVerifyBackend=true",
            "container=main&unknown=1",
        ),
        (
            "?contai%6Eer=injected&%00=1&../../exec?x=1",
            "container=main",
        ),
    ] {
        let answer = world
            .get(&format!("/containerLogs/shop/web/main{query}"))
            .await;
        assert_eq!(answer, (200, "a line\n".to_owned()), "{query}");
        let path = format!("{}/log", host_pod_path());
        let seen = world.seen(&path);
        let [seen] = seen.as_slice() else {
            panic!("{query}: {seen:?}")
        };
        assert_eq!(seen.method, Method::GET);
        assert_eq!(seen.target, format!("{path}?{expected}"), "{query}");
        goes_as_the_tenant(&seen.headers(), &[]);
    }
}

#[tokio::test]
async fn a_host_pod_that_is_not_exactly_this_pod_s_is_never_reached() {
    let world = World::new().await;
    world.host_says("log", 200, "another's\n");
    world.host_says("exec", 101, "");
    let annotated = |key: &str, value: Value| {
        let mut pod = host_pod();
        pod["metadata"]["annotations"][key] = value;
        pod
    };
    let mut bare = host_pod();
    bare["metadata"]["annotations"] = Value::Null;
    let mut elsewhere = host_pod();
    elsewhere["metadata"]["namespace"] = "team-b".into();
    for (pod, code) in [
        (annotated(CLUSTER_UID, json!("c2")), 403),
        (annotated(CLUSTER_UID, Value::Null), 403),
        (annotated(VIRTUAL_NAME, json!("db")), 403),
        (annotated(VIRTUAL_KIND, json!("Service")), 403),
        (annotated(VIRTUAL_UID, json!("v0")), 404),
        (bare, 403),
        (elsewhere, 403),
    ] {
        world.pod_on_host(&pod);
        for path in [
            "/containerLogs/shop/web/main",
            "/exec/shop/web/main?command=sh&output=1",
        ] {
            let mut request = request(&Method::GET, path);
            let headers = request.headers_mut();
            headers.insert("connection", "Upgrade".parse().unwrap());
            headers.insert("upgrade", "SPDY/3.1".parse().unwrap());
            let (found, said) = whole(world.ask(request).await).await;
            assert_eq!(found, code, "{path}: {said}\n{pod}");
            assert!(
                !said.contains(HOST_POD) && !said.contains("team-"),
                "{said}"
            );
            let asked = world.seen(&format!("{}/", host_pod_path()));
            assert!(asked.is_empty(), "{asked:?}");
        }
    }
    // A container that the host's administrator has added is not the tenant's.
    world.pod_on_host(&host_pod());
    assert_eq!(world.get("/containerLogs/shop/web/injected").await.0, 404);
    assert!(world.seen(&format!("{}/", host_pod_path())).is_empty());
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused_before_anybody_is_asked() {
    let world = World::new().await;
    let long = format!("/containerLogs/shop/{}/main", "w".repeat(254));
    let longest = format!("/containerLogs/shop/web/{}", "m".repeat(8_000));
    for path in [
        "/containerLogs/shop/../main",
        "/containerLogs/../../secrets/main",
        "/containerLogs/shop/web%2fexec/main",
        "/containerLogs/shop/web%2F..%2Fdb/main",
        "/containerLogs/shop/%2e%2e/main",
        "/containerLogs/shop/web/main%00",
        "/containerLogs/shop/web/main%3Fcontainer=injected",
        "/containerLogs/shop//web",
        "/containerLogs//web/main",
        "/containerLogs/shop/web/main/exec",
        "/exec/shop/web/v1/main/more",
        "/exec/shop/web;x/main",
        "/portForward/shop/web%20x",
        "/api/v1/namespaces/team-a/pods/web-x-shop-x-demo/log",
        "/proxy/stats/summary",
        long.as_str(),
        longest.as_str(),
    ] {
        let (code, said) = world.get(path).await;
        assert!(matches!(code, 400 | 403 | 404), "{path}: {code} {said}");
        assert!(world.seen("").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_the_host_says_of_its_accounts_and_names_is_not_passed_on() {
    let world = World::new().await;
    let forbidden = json!({
        "kind": "Status", "code": 403, "reason": "Forbidden",
        "message": "pods \"web-x-shop-x-demo\" is forbidden: User \"system:serviceaccount:team-a:vcluster-sync\" cannot",
    });
    world.host_says("log", 403, &forbidden.to_string());
    let (code, said) = world.get("/containerLogs/shop/web/main").await;
    assert_eq!(code, 500);
    assert!(
        said.contains("tell its administrators") && !said.contains("team-a"),
        "{said}"
    );
    let waiting = json!({
        "kind": "Status", "code": 400, "reason": "BadRequest",
        "message": "container \"main\" in pod \"web-x-shop-x-demo\" is waiting to start: ContainerCreating",
    });
    world.host_says("log", 400, &waiting.to_string());
    let (code, said) = world.get("/containerLogs/shop/web/main").await;
    assert_eq!(
        (code, said.as_str()),
        (
            400,
            "container \"main\" in pod \"web\" is waiting to start: ContainerCreating"
        )
    );
}

#[tokio::test]
async fn requests_at_the_same_time_look_the_virtual_cluster_up_once() {
    let world = World::new().await;
    world.host_says("log", 200, "a line\n");
    let path = "/containerLogs/shop/web/main";
    let all = (0..8).map(|_| world.get(path));
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer, (200, "a line\n".to_owned()));
    }
    let seen = world.seen("");
    let times = |part: &str| {
        seen.iter()
            .filter(|seen| seen.target.contains(part))
            .count()
    };
    assert_eq!((times("/virtualclusters/"), times("/secrets/")), (1, 1));
}
