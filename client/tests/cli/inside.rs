//! explain, resync: objects inside a virtual cluster.

use vcluster_client::proto::sync::v1::ExplainRequest;

use super::world::World;

fn request(namespace: &str) -> ExplainRequest {
    ExplainRequest {
        host_namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
        kind: "pod".to_owned(),
        namespace: namespace.to_owned(),
        object_name: "web".to_owned(),
    }
}

#[tokio::test]
async fn explain_asks_about_the_cluster_that_is_named_or_connected_to() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    let named = ["explain", "pod/web", "-n", "shop", "--cluster", "demo"];
    let ended = world.run(&named).await.ok();
    assert!(
        ended.stdout.contains("State:        Synced"),
        "{}",
        ended.stdout
    );
    world.run(&["connect", "demo"]).await.ok();
    let ended = world
        .run(&["explain", "pod", "web", "-o", "json"])
        .await
        .ok();
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(answer["state"], "Synced");
    assert_eq!(answer["hostNamespace"], "team-a");
    let asked = world.gateway.with(|state| state.explained.clone());
    assert_eq!(asked, [request("shop"), request("default")]);
}

#[tokio::test]
async fn what_is_not_named_is_asked_for() {
    let world = World::new().await;
    let ended = world.run(&["explain", "pod/web"]).await.failed(2);
    assert!(ended.stderr.contains("--cluster NAME"), "{}", ended.stderr);
    let ended = world.run(&["explain", "pod"]).await.failed(2);
    assert!(ended.stderr.contains("write KIND/NAME"), "{}", ended.stderr);
}

#[tokio::test]
async fn resync_takes_one_object_or_all() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    let one = ["resync", "pod/web", "-n", "shop", "--cluster", "demo"];
    let ended = world.run(&one).await.ok();
    for said in [
        "pod/web is read anew on both sides of virtual cluster \"demo\"",
        "`vcluster explain pod/web -n shop --cluster demo --host-namespace team-a`",
    ] {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    world.run(&["resync", "--cluster", "demo"]).await.ok();
    let asked = world.gateway.with(|state| state.resynced.clone());
    let words = |at: usize| {
        [
            &asked[at].kind,
            &asked[at].namespace,
            &asked[at].object_name,
        ]
    };
    assert_eq!(words(0), ["pod", "shop", "web"]);
    assert_eq!(words(1), ["", "", ""]);
}
