//! What never comes to rest by itself: changes that are not kept, refusals, names in the way, many Services.

use super::*;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/ingresses";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const EVENT: &str = "virtual POST /api/v1/namespaces/shop/events";

fn ingress(host: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"rules": [{"host": host}]},
    })
}

fn class(world: &World) -> Key {
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "csi.example.com"});
    let (kind, lane) = (Kind::StorageClass, Lane::Live);
    world.engine.set_mirrored(kind, "fast", Some(class), lane);
    Key::new(kind, "", "fast")
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_server_takes_and_does_not_keep_is_not_written_for_ever() {
    let world = World::new().await;
    let key = class(&world);
    world.work(&key).await;
    let edited = world.virtual_.change(key.kind, "", "fast", |class| {
        class["metadata"]["labels"]["mine"] = "x".into();
    });
    let unchanged = edited.json().clone();
    world.tenant.see_virtual(key.kind, &edited, Lane::Live);
    world
        .virtual_
        .script(move |call| (call.method == "PATCH").then(|| answer(200, unchanged.clone())));
    world.calls();
    let patch = format!("virtual PATCH {CLASSES}/fast");
    for _ in 0..3 {
        assert!(matches!(world.work(&key).await, Next::Until(_)));
    }
    assert_eq!(world.writes(), [patch.as_str()]);
    world.pass(Duration::from_secs(61)).await;
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.writes(), [patch.as_str()], "tried again");
    world.virtual_.script(|_call| None);
    world.pass(Duration::from_secs(61)).await;
    assert!(matches!(world.work(&key).await, Next::Settled));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_could_not_be_told_is_told_later_and_again_while_it_holds() {
    let world = World::new().await;
    world.host.script(|call| {
        (call.method == "POST" && call.path.ends_with("/ingresses"))
            .then(|| status(403, "Forbidden"))
    });
    while world.tenant.tellings.try_take() {}
    let key = world.apply(Kind::Ingress, ingress("a.example.com"));
    let made = format!("host POST {INGRESSES}");
    world.work(&key).await;
    assert_eq!(world.writes(), [made.as_str()], "nothing could be said");
    world.pass(Duration::from_mins(1)).await;
    world.work(&key).await;
    assert_eq!(world.writes(), [EVENT, &made]);
    world.pass(Duration::from_mins(1)).await;
    world.work(&key).await;
    assert_eq!(world.writes(), [made.as_str()]);
    world.pass(Duration::from_mins(30)).await;
    world.work(&key).await;
    assert_eq!(world.writes(), [EVENT, &made]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_host_refuses_does_not_hold_the_status_up() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress("a.example.com"));
    world.work(&key).await;
    world
        .host
        .script(|call| (call.method == "PATCH").then(|| status(403, "Forbidden")));
    let changed = world.virtual_.change(Kind::Ingress, "shop", "web", |web| {
        web["spec"]["rules"][0]["host"] = "b.example.com".into();
    });
    world
        .tenant
        .see_virtual(Kind::Ingress, &changed, Lane::Live);
    world.change_host(Kind::Ingress, "web-x-shop-x-demo", |ingress| {
        ingress["status"]["loadBalancer"] = json!({"ingress": [{"ip": "192.0.2.1"}]});
    });
    world.calls();
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(
        world.writes(),
        [
            EVENT,
            "virtual PATCH /apis/networking.k8s.io/v1/namespaces/shop/ingresses/web/status",
            &format!("host PATCH {INGRESSES}/web-x-shop-x-demo"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_tenant_s_own_in_the_way_of_a_host_class_is_not_remembered_for_ever() {
    let world = World::new().await;
    let own = json!({"metadata": {"name": "fast"}, "provisioner": "mine"});
    world.virtual_.put(Kind::StorageClass, own);
    let key = class(&world);
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    world.virtual_.lose(Kind::StorageClass, "", "fast");
    world.calls();
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.writes(), [format!("virtual POST {CLASSES}")]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_went_unseen_is_read_and_forgotten() {
    let world = World::new().await;
    let labelled = json!({"metadata": {"name": "old", "labels": {"team": "a"}}});
    let key = world.apply(Kind::Namespace, labelled);
    let kept = |world: &World| {
        let list = world
            .tenant
            .state()
            .begin_list(Side::Virtual, Kind::Namespace);
        world.tenant.end_list(Side::Virtual, Kind::Namespace, list);
        !world.tenant.namespace_labels("old").is_empty()
    };
    assert!(kept(&world), "missing from a list is not gone");
    world.work(&key).await;
    assert!(kept(&world), "it was read and is there");
    world.virtual_.lose(Kind::Namespace, "", "old");
    world.work(&key).await;
    assert!(!kept(&world));
}

fn service(name: &str, ports: u16) -> Value {
    let ports: Vec<_> = (1..=ports)
        .map(|port| json!({"port": port, "protocol": "TCP"}))
        .collect();
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.5.6", "ports": ports},
    })
}

#[tokio::test(start_paused = true)]
async fn services_that_are_made_one_after_the_other_are_named_to_containers_together() {
    let world = World::new().await;
    for n in 0..20 {
        world.apply(Kind::Service, service(&format!("s{n}"), 1));
        let later = world.tenant.follow_links("shop").await.unwrap();
        assert!(later.is_some());
    }
    assert_eq!(world.calls(), [""; 0]);
    world.pass(Duration::from_secs(1)).await;
    for _ in 0..20 {
        assert_eq!(world.tenant.follow_links("shop").await.unwrap(), None);
    }
    let calls = world.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[1].starts_with("host PATCH"), "{calls:?}");
    world.apply(Kind::Service, service("s20", 1));
    world.tenant.ensure_variables(&pod("any")).await.unwrap();
    assert_eq!(world.writes().len(), 1, "a pod does not wait");
}

#[tokio::test(start_paused = true)]
async fn a_worker_does_not_wait_for_another_that_writes_the_variables() {
    let world = World::unlisted();
    let any = pod("any");
    let ensure = || world.tenant.ensure_variables(&any);
    let (first, second) = tokio::join!(ensure(), ensure());
    assert_eq!((first.unwrap(), second.unwrap()), (true, false));
    let world = World::new().await;
    world.apply(Kind::Service, service("web", 1));
    let key = world.apply(Kind::Pod, pod("web"));
    let (first, second) = tokio::join!(world.tenant.ensure_variables(&any), world.work(&key));
    assert!(first.unwrap() && matches!(second, Next::Until(_)));
    world.work(&key).await;
    assert!(world.knows(Side::Host, &key));
}

#[tokio::test(start_paused = true)]
async fn too_many_services_for_one_namespace_are_an_error_once_and_for_each_pod() {
    let world = World::new().await;
    for n in 0..8 {
        world.apply(Kind::Service, service(&format!("s{n}"), 1000));
    }
    world.pass(Duration::from_secs(1)).await;
    assert!(world.tenant.follow_links("shop").await.is_err());
    world.apply(Kind::Service, service("one-more", 1));
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.tenant.follow_links("shop").await.unwrap(), None);
    assert!(world.tenant.ensure_variables(&pod("any")).await.is_err());
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_turn_comes_after_the_tenant_was_let_go_is_not_sent() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress("a.example.com"));
    while world.tenant.host_writes.try_take() {}
    let mut work = std::pin::pin!(world.work(&key));
    assert!(futures::poll!(&mut work).is_pending(), "it waits its turn");
    world.tenant.token.cancel();
    work.await;
    assert_eq!(world.writes(), Vec::<String>::new());
}
