//! Tokens of pods.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pod_with_a_token_costs_two_host_requests_and_one_for_the_token() {
    let world = World::new().await;
    issue_tokens(&world);
    let key = world.apply(Kind::Pod, pod_with_token("web"));
    world.work(&key).await;
    assert_eq!(
        world.calls(),
        [
            "virtual POST /api/v1/namespaces/shop/serviceaccounts/default/token",
            "host POST /api/v1/namespaces/team-a/secrets",
            HOST_PODS,
        ]
    );
    let asked = &world.virtual_.bodies()[0]["spec"];
    assert_eq!(asked["boundObjectRef"]["name"], "web");
    assert!(asked["boundObjectRef"]["uid"].is_string());
}

fn issue_tokens(world: &World) {
    let clock = world.clock.clone();
    world.virtual_.script(move |call| {
        call.path.ends_with("/token").then(|| {
            let status = json!({"token": "a.b.c", "expirationTimestamp": in_an_hour(&clock)});
            answer(201, json!({"status": status}))
        })
    });
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_at_four_fifths_of_their_life_and_go_with_the_pod() {
    let world = World::new().await;
    issue_tokens(&world);
    with_node(&world).await;
    let key = world.apply(Kind::Pod, pod_with_token("web"));
    let Next::Until(renewal) = world.work(&key).await else {
        panic!("a pod with a token is looked at again");
    };
    assert_eq!(renewal.duration_since(Instant::now()).as_secs(), 2880);
    world.pass(Duration::from_secs(2000)).await;
    world.calls();
    world.work(&key).await;
    assert_eq!(world.calls(), [""; 0], "not before its time");
    world.pass(Duration::from_mins(15)).await;
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [
            "virtual POST /api/v1/namespaces/shop/serviceaccounts/default/token",
            "host POST /api/v1/namespaces/team-a/secrets",
            "host PATCH /api/v1/namespaces/team-a/secrets/web-x-shop-x-demo.token",
        ]
    );
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/secrets/web-x-shop-x-demo.token"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_answer_without_token_or_expiry_is_asked_for_again_and_delivers_nothing() {
    let world = World::new().await;
    for (n, bad) in [
        json!({}),
        json!({"status": {}}),
        json!({"status": {"expirationTimestamp": "2100-01-01T00:00:00Z"}}),
        json!({"status": {"token": "", "expirationTimestamp": "2100-01-01T00:00:00Z"}}),
        json!({"status": {"token": "a.b.c"}}),
        json!({"status": {"token": "a.b.c", "expirationTimestamp": "soon"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let answered = bad.clone();
        world.virtual_.script(move |call| {
            call.path
                .ends_with("/token")
                .then(|| answer(201, answered.clone()))
        });
        let key = world.apply(Kind::Pod, pod_with_token(&format!("web-{n}")));
        let next = world.work(&key).await;
        assert!(matches!(next, Next::Retry { .. }), "{bad}: {next:?}");
        let mut writes = world.writes();
        writes.retain(|write| write.starts_with("host"));
        assert_eq!(writes, [""; 0], "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_pod_are_renewed_whatever_is_refused_of_it_meanwhile() {
    let world = World::new().await;
    issue_tokens(&world);
    with_node(&world).await;
    let key = world.apply(Kind::Pod, pod_with_token("web"));
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", running);
    world.work(&key).await;
    let debugged = world.virtual_.change(Kind::Pod, "shop", "web", |pod| {
        pod["spec"]["ephemeralContainers"] = json!([
            {"name": "debug", "image": "busybox", "securityContext": {"privileged": true}},
        ]);
    });
    world.tenant.see_virtual(Kind::Pod, &debugged, Lane::Live);
    let Next::Until(renewal) = world.work(&key).await else {
        panic!("a pod with a token is looked at again");
    };
    assert_eq!(renewal.duration_since(Instant::now()).as_secs(), 2880);
    world.pass(Duration::from_mins(50)).await;
    world.calls();
    world.work(&key).await;
    let renewed = "host PATCH /api/v1/namespaces/team-a/secrets/web-x-shop-x-demo.token";
    let writes = world.writes();
    assert!(writes.iter().any(|write| write == renewed), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_an_earlier_pod_go_where_the_next_of_its_name_has_none() {
    let world = World::new().await;
    issue_tokens(&world);
    with_node(&world).await;
    let key = world.apply(Kind::Pod, pod_with_token("web"));
    world.work(&key).await;
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    world.apply(Kind::Pod, pod("web"));
    world.calls();
    world.work(&key).await;
    let deleted = "host DELETE /api/v1/namespaces/team-a/secrets/web-x-shop-x-demo.token";
    assert_eq!(world.writes(), [HOST_PODS, deleted]);
    world.pass(Duration::from_hours(2)).await;
    world.work(&key).await;
    assert_eq!(world.writes(), [""; 0]);
}
