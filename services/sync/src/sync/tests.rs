use std::time::Duration;

use serde_json::{Value, json};
use vcluster_chassis::testing::json as answer;

use super::*;
use crate::queue::Lane;
use crate::testing::{World, in_an_hour, pod, pod_with_config, pod_with_token, status};

const HOST_PODS: &str = "host POST /api/v1/namespaces/team-a/pods";

fn running(pod: &mut Value) {
    pod["spec"]["nodeName"] = "node-1".into();
    pod["status"] = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]});
}

async fn with_node(world: &World) {
    let node = json!({"metadata": {"name": "node-1"}, "status": {"capacity": {"cpu": "1"}}});
    world.engine.set_node("node-1", Some(node), Lane::Live);
    world.work(&Key::new(Kind::Node, "", "node-1")).await;
    world.calls();
}

async fn running_pod(world: &World) -> Key {
    with_node(world).await;
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", running);
    world.work(&key).await;
    world.calls();
    key
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_token_costs_one_host_request() {
    let world = World::new().await;
    let key = world.apply(Kind::Pod, pod("web"));
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.calls(), [HOST_PODS]);
}

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
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [
            "virtual POST /api/v1/namespaces/shop/pods/web/binding",
            "virtual PATCH /api/v1/namespaces/shop/pods/web/status",
        ]
    );
    let shown = world.virtual_.get(Kind::Pod, "shop", "web").unwrap();
    assert_eq!(shown.json()["status"]["phase"], "Running");
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
    world.tenant.state().clear(Side::Host, &key);
    let again = World {
        tenant: std::sync::Arc::clone(&world.tenant),
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
async fn a_config_map_goes_to_the_host_before_its_first_pod_and_away_after_its_last() {
    let world = World::new().await;
    let map = json!({"metadata": {"namespace": "shop", "name": "settings"}, "data": {"a": "1"}});
    let config = world.apply(Kind::ConfigMap, map);
    world.work(&config).await;
    assert_eq!(world.writes(), [""; 0], "no pod uses it");
    let key = world.apply(Kind::Pod, pod_with_config("web", "settings"));
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.writes(), [""; 0], "the pod waits for its configmap");
    world.work(&config).await;
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host POST /api/v1/namespaces/team-a/configmaps", HOST_PODS]
    );
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    world.work(&config).await;
    assert_eq!(world.writes(), [""; 0], "the host pod still uses it");
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    world.work(&key).await;
    world.work(&config).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/configmaps/settings-x-shop-x-demo"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_does_not_wait_for_what_does_not_exist() {
    let world = World::new().await;
    let key = world.apply(Kind::Pod, pod_with_config("web", "missing"));
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
    ] {
        to.put(kind, from.get(kind, namespace, name).unwrap().into_json());
    }
    for (side, kind) in crate::tenant::LISTS {
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
    after.engine.set_nodes_listed(true);
    after
        .engine
        .set_node("node-1", Some(Value::clone(&node)), Lane::List);
    after.work(&key).await;
    after.work(&Key::new(Kind::Node, "", "node-1")).await;
    after.tenant.ensure_environment().await.unwrap();
    assert_eq!(after.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_tenant_is_not_worked_on() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    world
        .virtual_
        .script(|_call| Some(status(503, "ServiceUnavailable")));
    let tenant = std::sync::Arc::clone(&world.tenant);
    let token = tenant.token.clone();
    let link = tokio::spawn({
        let tenant = std::sync::Arc::clone(&tenant);
        async move {
            let client = tenant.clients.virtual_.request.clone();
            tenant.link.watch(client, tenant.token.clone(), || {}).await;
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

#[tokio::test(start_paused = true)]
async fn a_secret_is_not_kept_in_memory_while_the_host_refuses_it() {
    let world = World::new().await;
    let key = world.apply(Kind::Pod, pod_with_secret("web", "login"));
    world.host.script(|call| {
        call.path
            .ends_with("/secrets")
            .then(|| status(403, "Forbidden"))
    });
    let secret = json!({"metadata": {"namespace": "shop", "name": "login"}, "data": {"a": "Yg=="}});
    let secret = world.apply(Kind::Secret, secret);
    assert!(matches!(world.work(&secret).await, Next::Retry { .. }));
    let state = world.tenant.state();
    assert!(state.entry(&key).virtual_.seen.is_some());
    assert!(state.bodies.get(Side::Virtual, &secret).is_none());
}

fn pod_with_secret(name: &str, secret: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": secret}}]);
    pod
}

fn store_of(world: &World, uid: &str) {
    let kube_system = json!({"metadata": {"name": "kube-system", "uid": uid}});
    world.virtual_.put(Kind::Namespace, kube_system);
}

#[tokio::test(start_paused = true)]
async fn what_an_emptied_store_lacks_is_not_deleted_and_the_tenant_is_told() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    world.tenant.doubt_environment().await;
    world.tenant.ensure_environment().await.unwrap();
    let key = running_pod(&world).await;
    world.virtual_.lose(Kind::Pod, "shop", "web");
    store_of(&world, "second");
    let list = world.tenant.state().begin_list(Side::Virtual, Kind::Pod);
    world.tenant.end_list(Side::Virtual, Kind::Pod, list);
    assert!(matches!(world.work(&key).await, Next::Retry { .. }));
    assert_eq!(world.writes(), [""; 0]);
    assert!(!world.tenant.is_active());
    // The next stay finds what this one remembered.
    let error = world.tenant.recognize_store().await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("was first and is second"), "{told}");
    assert!(told.contains("ConfigMap team-a/vcluster-env"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_the_same_store_lacks_is_deleted() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    let key = running_pod(&world).await;
    world.virtual_.lose(Kind::Pod, "shop", "web");
    let list = world.tenant.state().begin_list(Side::Virtual, Kind::Pod);
    world.tenant.end_list(Side::Virtual, Kind::Pod, list);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/pods/web-x-shop-x-demo"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_so_in_its_namespaces_freezes_the_tenant_before_work_begins() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    assert!(world.tenant.is_active());
    world.apply(
        Kind::Namespace,
        json!({"metadata": {"name": "kube-system", "uid": "second"}}),
    );
    assert!(!world.tenant.is_active());
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

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_host_account_is_missing_is_told_until_it_is_back() {
    use std::sync::Arc;

    use vcluster_resources::condition::{Reason, Status};

    use crate::tenant::HostClient;
    use crate::tenant_token::TenantToken;
    use crate::tenants::status::observe;
    let world = World::new().await;
    let code = Arc::new(std::sync::atomic::AtomicU16::new(404));
    let (answered, clock) = (Arc::clone(&code), world.clock.clone());
    world.host.script(move |call| {
        let token = call.path.ends_with("/vcluster-sync/token");
        let good = json!({
            "metadata": {}, "spec": {"audiences": []},
            "status": {"token": "t", "expirationTimestamp": in_an_hour(&clock)},
        });
        token.then(
            || match answered.load(std::sync::atomic::Ordering::Relaxed) {
                201 => answer(201, good),
                code => status(code, "No"),
            },
        )
    });
    let own = world.host.client();
    let token = TenantToken::new("team-a", own.clone(), Arc::new(world.clock.clone()));
    let client = crate::tenant_token::client(own, Arc::new(token));
    let world = world.with_host(HostClient(client));
    let reason = || {
        let said = observe(&world.tenant);
        (said.status, said.reason, said.message)
    };
    for (next, named) in [
        (404, "ServiceAccount vcluster-sync in namespace team-a"),
        (403, "RoleBinding vcluster-tenant-token in namespace team-a"),
    ] {
        code.store(next, std::sync::atomic::Ordering::Relaxed);
        world.tenant.ask_host().await;
        let (status, reason, message) = reason();
        assert_eq!((status, reason), (Status::False, Reason::Refused));
        assert!(message.contains(named), "{message}");
    }
    // A server that does not answer changes nothing of it.
    code.store(503, std::sync::atomic::Ordering::Relaxed);
    world.tenant.ask_host().await;
    assert_eq!(reason().1, Reason::Refused);
    code.store(201, std::sync::atomic::Ordering::Relaxed);
    world.tenant.ask_host().await;
    assert_eq!(reason().0, Status::True);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_host_account_may_not_read_is_told_and_one_whose_pod_is_refused_is_not() {
    use vcluster_resources::condition::{Reason, Status};

    use crate::tenants::status::observe;
    let world = World::new().await;
    world
        .host
        .script(|call| (call.method == "POST").then(|| status(403, "Forbidden")));
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    assert_eq!(observe(&world.tenant).status, Status::True);
    world.host.script(|_call| Some(status(403, "Forbidden")));
    world.tenant.ask_host().await;
    let said = observe(&world.tenant);
    assert_eq!(said.reason, Reason::Refused);
    assert!(
        said.message.contains("RoleBinding vcluster-tenant "),
        "{}",
        said.message
    );
}
