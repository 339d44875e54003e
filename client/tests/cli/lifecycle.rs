//! create, list, get, delete.

use super::world::World;

#[tokio::test]
async fn create_waits_and_tells_each_condition_once() {
    let world = World::new().await;
    let ended = world
        .run(&["create", "demo", "-n", "team-a", "--store-size", "5Gi"])
        .await
        .ok();
    assert_eq!(ended.stdout, "", "data only, and none was asked for");
    insta::assert_snapshot!(ended.stderr);
    world.gateway.with(|state| {
        assert_eq!(state.clusters.len(), 1);
        assert!(
            state
                .tokens
                .iter()
                .all(|t| t.as_deref() == Some("Bearer host-token"))
        );
        assert_eq!(state.request_ids[0].len(), 36);
        let traces: Vec<_> = state.traceparents.iter().map(|t| &t[3..35]).collect();
        assert!(traces.len() > 1 && traces.windows(2).all(|pair| pair[0] == pair[1]));
    });
}

#[tokio::test]
async fn create_prints_the_cluster_if_asked() {
    let world = World::new().await;
    let ended = world
        .run(&["create", "demo", "-o", "json", "--quiet"])
        .await
        .ok();
    assert_eq!(ended.stderr, "");
    let cluster: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(cluster["hostNamespace"], "vcluster-demo");
    assert_eq!(cluster["status"]["phase"], "Ready");
}

#[tokio::test]
async fn create_again_says_that_it_is_there_and_what_to_do() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    let ended = world
        .run(&["create", "demo", "-n", "team-a"])
        .await
        .failed(5);
    insta::assert_snapshot!(ended.stderr);
}

#[tokio::test]
async fn a_dry_run_makes_nothing() {
    let world = World::new().await;
    world.run(&["create", "demo", "--dry-run"]).await.ok();
    world
        .gateway
        .with(|state| assert!(state.clusters.is_empty()));
}

#[tokio::test]
async fn list_follows_every_page() {
    let world = World::new().await;
    for (namespace, name) in [("a", "one"), ("a", "two"), ("b", "three")] {
        world.gateway.add(namespace, name);
    }
    let ended = world.run(&["list", "-o", "name"]).await.ok();
    assert_eq!(ended.stdout, "a/one\na/two\nb/three\n");
    let ended = world.run(&["list", "-n", "b", "-o", "json"]).await.ok();
    let list: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["name"], "three");
}

#[tokio::test]
async fn get_tells_the_conditions() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    let ended = world.run(&["get", "demo"]).await.ok();
    assert!(ended.stdout.contains("CONDITION"), "{}", ended.stdout);
    assert!(ended.stdout.contains("SyncReady"), "{}", ended.stdout);
}

#[tokio::test]
async fn delete_waits_and_removes_the_contexts() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    let before = world.kubeconfig_json();
    world.run(&["connect", "demo"]).await.ok();
    let ended = world.run(&["delete", "demo"]).await.ok();
    insta::assert_snapshot!(ended.stderr);
    assert_eq!(world.kubeconfig_json(), before);
    world
        .gateway
        .with(|state| assert!(state.clusters.is_empty()));
    world.run(&["delete", "demo"]).await.failed(3);
    world
        .run(&["delete", "demo", "--ignore-not-found"])
        .await
        .ok();
}
