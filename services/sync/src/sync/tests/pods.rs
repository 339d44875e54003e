//! What becomes of pods, request by request.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_token_costs_one_host_request() {
    let world = World::new().await;
    let key = world.apply(Kind::Pod, pod("web"));
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.calls(), [HOST_PODS]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_changes_nothing_causes_no_request() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", |_pod| {});
    world.work(&key).await;
    let echo = world.virtual_.get(Kind::Pod, "shop", "web").unwrap();
    world.tenant.see_virtual(Kind::Pod, &echo, Lane::Live);
    world.work(&key).await;
    assert_eq!(world.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_node_is_made_then_the_pod_is_bound_then_its_status_comes_up() {
    let world = World::new().await;
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", running);
    world.calls();
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.calls(), [""; 0], "there is no virtual node yet");
    with_node(&world).await;
    world.calls();
    world.work(&key).await;
    assert_eq!(
        world.calls(),
        [
            "virtual POST /api/v1/namespaces/shop/pods/web/binding",
            "virtual PATCH /api/v1/namespaces/shop/pods/web/status",
        ]
    );
    let shown = world.virtual_.get(Kind::Pod, "shop", "web").unwrap();
    assert_eq!(shown.json()["status"]["phase"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_bound_and_no_more_costs_one_virtual_request() {
    let world = World::new().await;
    with_node(&world).await;
    let mut pending = pod("web");
    // As every API server does.
    pending["status"] = json!({"phase": "Pending"});
    let key = world.apply(Kind::Pod, pending);
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", |pod| {
        pod["spec"]["nodeName"] = "node-1".into();
        pod["status"] = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]});
    });
    world.calls();
    assert!(matches!(world.work(&key).await, Next::Settled));
    let bound = world.virtual_.change(Kind::Pod, "shop", "web", |pod| {
        pod["status"] = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        ]});
    });
    world.tenant.see_virtual(Kind::Pod, &bound, Lane::Live);
    world.work(&key).await;
    assert_eq!(
        world.calls(),
        ["virtual POST /api/v1/namespaces/shop/pods/web/binding"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_resize_pods_is_told_of_and_holds_up_no_status() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world.host.script(|call| {
        call.path
            .ends_with("/resize")
            .then(|| status(404, "NotFound"))
    });
    let resized = world.virtual_.change(Kind::Pod, "shop", "web", |pod| {
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    });
    world.tenant.see_virtual(Kind::Pod, &resized, Lane::Live);
    world.change_host(Kind::Pod, "web-x-shop-x-demo", |pod| {
        pod["status"]["podIP"] = "10.0.0.1".into();
    });
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    let shown = world.virtual_.get(Kind::Pod, "shop", "web").unwrap();
    let shown = &shown.json()["status"];
    assert_eq!(shown["podIP"], "10.0.0.1");
    let conditions = shown["conditions"].as_array().unwrap();
    let told = "host: the host cluster does not serve pods/resize";
    assert!(
        conditions
            .iter()
            .any(|condition| condition["message"] == told)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_host_makes_of_a_resize_is_not_asked_for_again() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    let resized = world.virtual_.change(Kind::Pod, "shop", "web", |pod| {
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    });
    world.tenant.see_virtual(Kind::Pod, &resized, Lane::Live);
    world.work(&key).await;
    let pod = "host PATCH /api/v1/namespaces/team-a/pods/web-x-shop-x-demo";
    assert_eq!(world.writes(), [format!("{pod}/resize"), pod.to_owned()]);
    world.change_host(Kind::Pod, "web-x-shop-x-demo", |pod| {
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "200m"}});
    });
    world.work(&key).await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_ends_on_the_host_first_and_by_its_uid() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    let deleting = world.virtual_.change(Kind::Pod, "shop", "web", |pod| {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    world.tenant.see_virtual(Kind::Pod, &deleting, Lane::Live);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/pods/web-x-shop-x-demo"]
    );
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["virtual DELETE /api/v1/namespaces/shop/pods/web"]
    );
    assert!(!world.knows(Side::Virtual, &key) && !world.knows(Side::Host, &key));
}

#[tokio::test(start_paused = true)]
async fn a_strangers_object_of_our_name_is_left_alone_and_the_tenant_is_told() {
    let world = World::new().await;
    let stranger = json!({"metadata": {"namespace": "team-a", "name": "web-x-shop-x-demo"}});
    world.host.put(Kind::Pod, stranger);
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [
            "virtual POST /api/v1/namespaces/shop/events",
            "virtual PATCH /api/v1/namespaces/shop/pods/web/status",
            HOST_PODS,
        ]
    );
    world.work(&key).await;
    assert_eq!(world.writes(), [HOST_PODS], "told once");
}

#[tokio::test(start_paused = true)]
async fn our_own_object_of_that_name_is_taken_over() {
    let world = World::new().await;
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    // As after a create whose answer was lost.
    let made = world.tenant.state().uid(Side::Host, &key);
    assert!(
        world
            .tenant
            .state()
            .missed(Side::Host, &key, made.as_deref())
    );
    let again = World {
        tenant: Arc::clone(&world.tenant),
        ..world
    };
    again.calls();
    again.work(&key).await;
    assert_eq!(
        again.writes(),
        [HOST_PODS],
        "the answer is 409, and then nothing is left to do"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_quota_is_told_once_and_tried_again_when_a_pod_goes() {
    let world = World::new().await;
    let other = world.apply(Kind::Pod, pod("other"));
    world.work(&other).await;
    world.host.script(|call| {
        (call.method == "POST" && call.path.ends_with("/pods")).then(|| status(403, "Forbidden"))
    });
    let key = world.apply(Kind::Pod, pod("web"));
    world.calls();
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(
        world.writes(),
        [
            "virtual POST /api/v1/namespaces/shop/events",
            "virtual PATCH /api/v1/namespaces/shop/pods/web/status",
            HOST_PODS,
        ]
    );
    world.work(&key).await;
    assert_eq!(world.writes(), [HOST_PODS]);
    while let Some(taken) = futures::FutureExt::now_or_never(world.engine.work.take()) {
        world
            .engine
            .work
            .done(taken.tenant, &taken.key, crate::queue::After::Settled);
    }
    let gone = world.host.lose(Kind::Pod, "team-a", "other-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    let woken = [
        world.engine.work.take().await.key,
        world.engine.work.take().await.key,
    ];
    assert!(woken.contains(&key), "{woken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_from_the_host_goes_inside_and_one_that_ended_is_not_asked_for() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world
        .host
        .change(Kind::Pod, "team-a", "web-x-shop-x-demo", |pod| {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
            pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        });
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    world.work(&key).await;
    let mut calls = world.calls();
    calls.retain(|call| !call.ends_with("/events"));
    assert_eq!(calls, ["virtual DELETE /api/v1/namespaces/shop/pods/web"]);
}
