//! What is concluded from what is and is not seen.

use super::*;

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_while_a_list_is_not_complete() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    let list = world.tenant.state().begin_list(Side::Virtual, Kind::Pod);
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.calls(), [""; 0]);
    world.tenant.end_list(Side::Virtual, Kind::Pod, list);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/pods/web-x-shop-x-demo"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_list_lacks_is_read_before_anything_is_concluded() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    for side in [Side::Host, Side::Virtual] {
        let list = world.tenant.state().begin_list(side, Kind::Pod);
        world.tenant.end_list(side, Kind::Pod, list);
    }
    world.work(&key).await;
    assert_eq!(
        world.calls(),
        [
            "virtual GET /api/v1/namespaces/shop/pods/web",
            "host GET /api/v1/namespaces/team-a/pods/web-x-shop-x-demo",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_that_nothing_is_there_says_nothing_of_what_was_told_of_since() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    let made_anew = world.virtual_.put(Kind::Pod, pod("web"));
    world.tenant.state().doubt(Side::Virtual, &key);
    let tenant = Arc::clone(&world.tenant);
    let told = std::sync::Once::new();
    world.virtual_.script(move |call| {
        let mut answer = None;
        if call.path.ends_with("/pods/web") {
            told.call_once(|| {
                tenant.miss_virtual(Kind::Pod, &gone);
                tenant.see_virtual(Kind::Pod, &made_anew, Lane::Live);
                answer = Some(status(404, "NotFound"));
            });
        }
        answer
    });
    world.work(&key).await;
    assert!(world.knows(Side::Virtual, &key));
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/pods/web-x-shop-x-demo"],
        "that of the one that is gone"
    );
    let ended = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &ended);
    world.work(&key).await;
    assert_eq!(world.writes(), [HOST_PODS]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_writes_nothing() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    let after = World::unlisted();
    // The same objects, seen for the first time.
    for (from, to, kind, namespace, name) in [
        (&world.virtual_, &after.virtual_, Kind::Pod, "shop", "web"),
        (&world.virtual_, &after.virtual_, Kind::Node, "", "node-1"),
        (
            &world.host,
            &after.host,
            Kind::Pod,
            "team-a",
            "web-x-shop-x-demo",
        ),
        (
            &world.host,
            &after.host,
            Kind::ConfigMap,
            "team-a",
            "vcluster-env",
        ),
        (
            &world.host,
            &after.host,
            Kind::ConfigMap,
            "team-a",
            "shop.vcluster-env",
        ),
    ] {
        to.put(kind, from.get(kind, namespace, name).unwrap().into_json());
    }
    for (side, kind) in crate::tenant::lists() {
        let list = after.tenant.state().begin_list(side, kind);
        for (store, namespace, name) in [
            (&after.virtual_, "shop", "web"),
            (&after.virtual_, "", "node-1"),
        ] {
            if let Some(object) = store
                .get(kind, namespace, name)
                .filter(|_| side == Side::Virtual)
            {
                after.tenant.see_virtual(kind, &object, Lane::List);
            }
        }
        if let Some(object) = after
            .host
            .get(kind, "team-a", "web-x-shop-x-demo")
            .filter(|_| side == Side::Host)
        {
            after.tenant.see_host(kind, &object, Lane::List);
        }
        after.tenant.end_list(side, kind, list);
    }
    let node = world.engine.node("node-1").unwrap();
    after.engine.set_listed(Kind::Node, true);
    let node = Value::clone(&node);
    after
        .engine
        .set_mirrored(Kind::Node, "node-1", Some(node), Lane::List);
    after.work(&key).await;
    after.work(&Key::new(Kind::Node, "", "node-1")).await;
    after.tenant.ensure_variables(&pod("any")).await.unwrap();
    assert_eq!(after.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_tenant_is_not_worked_on() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world
        .virtual_
        .script(|_call| Some(status(503, "ServiceUnavailable")));
    let tenant = Arc::clone(&world.tenant);
    let token = tenant.token.clone();
    let link = tokio::spawn({
        let tenant = Arc::clone(&tenant);
        async move {
            let client = tenant.clients.virtual_.request.clone();
            let confirm = || -> futures::future::BoxFuture<'static, bool> {
                Box::pin(std::future::ready(true))
            };
            let token = tenant.token.clone();
            tenant.link.watch(client, token, confirm, || {}).await;
        }
    });
    tenant.link.suspect();
    let mut reach = tenant.link.subscribe();
    reach
        .wait_for(|reach| *reach != crate::link::Reach::Up)
        .await
        .unwrap();
    world.calls();
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    tenant.miss_virtual(Kind::Pod, &gone);
    assert!(!tenant.is_active());
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [""; 0],
        "even a worker that was just at it deletes nothing"
    );
    token.cancel();
    link.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_pushed_out_of_memory_is_read_again() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world.tenant.state().bodies.drop(Side::Virtual, &key);
    world.change_host(Kind::Pod, "web-x-shop-x-demo", |pod| {
        pod["status"]["phase"] = "Succeeded".into();
    });
    world.work(&key).await;
    assert_eq!(
        world.calls(),
        [
            "virtual GET /api/v1/namespaces/shop/pods/web",
            "virtual PATCH /api/v1/namespaces/shop/pods/web/status",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn doubt_that_does_not_end_is_tried_again_with_back_off() {
    let world = World::new().await;
    world
        .host
        .script(|call| (call.method == "POST").then(|| status(409, "AlreadyExists")));
    let key = world.apply(Kind::Pod, pod("web"));
    let next = world.work(&key).await;
    assert!(matches!(next, Next::Retry { after: None, .. }), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_without_items_is_an_error_and_not_an_empty_list() {
    let world = World::unlisted();
    for bad in [
        json!({"metadata": {}}),
        json!({"metadata": {}, "items": null}),
    ] {
        let answered = bad.clone();
        world
            .host
            .script(move |_call| Some(answer(200, answered.clone())));
        let purpose = crate::scan::Purpose::First;
        let listed =
            crate::scan::list_host(&world.engine, &world.tenant, Kind::ConfigMap, purpose).await;
        assert!(matches!(listed, Err(Failure::Later { .. })), "{bad}");
        let state = world.tenant.state();
        assert!(!state.is_listed(Side::Host, Kind::ConfigMap), "{bad}");
    }
}

/// What an outsider takes off, by which the host's watch selects; the watch says DELETED then.
fn take_labels_off(world: &World, name: &str) {
    let mut told = world
        .host
        .get(Kind::Pod, "team-a", name)
        .unwrap()
        .into_json();
    let hidden = world.host.change(Kind::Pod, "team-a", name, |pod| {
        pod["metadata"]["labels"] = json!({});
    });
    // The event shows the object as it was selected last, at the version that took it out.
    told["metadata"]["resourceVersion"] = hidden.json()["metadata"]["resourceVersion"].clone();
    let told = Object::new(told).of_kind(Kind::Pod);
    world.tenant.miss_host(Kind::Pod, &told);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_only_lost_its_labels_stays_and_gets_them_back() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    take_labels_off(&world, "web-x-shop-x-demo");
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(
        world.calls(),
        [
            "host GET /api/v1/namespaces/team-a/pods/web-x-shop-x-demo",
            "host PATCH /api/v1/namespaces/team-a/pods/web-x-shop-x-demo",
        ]
    );
    let pod = world.host.get(Kind::Pod, "team-a", "web-x-shop-x-demo");
    assert_eq!(pod.unwrap().label("vcluster.dev/part"), Some("workload"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_lost_its_labels_while_sync_was_away_stays() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world
        .host
        .change(Kind::Pod, "team-a", "web-x-shop-x-demo", |pod| {
            pod["metadata"]["labels"] = json!({});
        });
    let after = World::new().await;
    for (from, to, kind, namespace, name) in [
        (&world.virtual_, &after.virtual_, Kind::Pod, "shop", "web"),
        (
            &world.host,
            &after.host,
            Kind::Pod,
            "team-a",
            "web-x-shop-x-demo",
        ),
    ] {
        to.put(kind, from.get(kind, namespace, name).unwrap().into_json());
    }
    let pod = after.virtual_.get(Kind::Pod, "shop", "web").unwrap();
    after.tenant.see_virtual(Kind::Pod, &pod, Lane::List);
    after.work(&key).await;
    assert_eq!(
        after.writes(),
        ["host PATCH /api/v1/namespaces/team-a/pods/web-x-shop-x-demo"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_the_host_does_not_serve_stops_nothing_and_its_objects_wait_until_it_does() {
    let world = World::new().await;
    let unserved = |call: &vcluster_chassis::testing::Call| {
        let asked = call.path.ends_with("/configmaps");
        asked.then(|| status(404, "NotFound"))
    };
    let list = || {
        let (engine, tenant) = (&*world.engine, &*world.tenant);
        let purpose = crate::scan::Purpose::Check;
        crate::scan::list_host(engine, tenant, Kind::ConfigMap, purpose)
    };
    world.host.script(unserved);
    list().await.unwrap();
    assert_eq!(world.tenant.unlisted(), []);
    let map = json!({"metadata": {"namespace": "shop", "name": "settings"}, "data": {"a": "1"}});
    let config = world.apply(Kind::ConfigMap, map);
    world.apply(Kind::Pod, pod_with_config("web", "settings"));
    assert!(matches!(world.work(&config).await, Next::Until(_)));
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/shop/events"]
    );
    world.work(&config).await;
    assert_eq!(world.writes(), [""; 0], "told once");
    world.host.script(|_call| None);
    list().await.unwrap();
    world.work(&config).await;
    assert_eq!(
        world.writes(),
        ["host POST /api/v1/namespaces/team-a/configmaps"]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_because_a_server_stops_serving_a_kind() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world.tenant.unserved(Side::Virtual, Kind::Pod);
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.writes(), [""; 0]);
}
