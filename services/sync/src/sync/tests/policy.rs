//! What a policy keeps inside, and what it does not show.

use super::*;

const HOST: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/ingresses";
const EVENTS: &str = "virtual POST /api/v1/namespaces/shop/events";

fn ingress() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "ingress-uid"},
        "spec": {"ingressClassName": "edge", "rules": [{"host": "a.example.com"}]},
    })
}

/// Has the tenant see what is in both servers.
fn see(world: &World, kind: Kind) {
    let virtual_ = world.virtual_.get(kind, "shop", "web").unwrap();
    world.tenant.see_virtual(kind, &virtual_, Lane::Live);
    let host = world.host.get(kind, "team-a", "web-x-shop-x-demo").unwrap();
    assert!(world.tenant.see_host(kind, &host, Lane::Live));
}

#[tokio::test(start_paused = true)]
async fn what_a_new_policy_keeps_inside_leaves_the_host_and_that_is_told_once() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress());
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("host POST {HOST}")]);
    let policy = json!({"toHost": {"ingresses": {"namespaces": ["other"]}}});
    let world = world.with_policy(policy).await;
    see(&world, Kind::Ingress);
    assert!(matches!(world.work(&key).await, Next::Settled));
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [
            EVENTS.to_owned(),
            format!("host DELETE {HOST}/web-x-shop-x-demo"),
        ]
    );
    let event = world.virtual_.bodies().pop().unwrap();
    assert_eq!(event["reason"], "NotSynced");
    let world = world.with_policy(json!({})).await;
    let found = world.virtual_.get(Kind::Ingress, "shop", "web").unwrap();
    world.tenant.see_virtual(Kind::Ingress, &found, Lane::Live);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("host POST {HOST}")]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_run_stay_and_new_ones_are_not_made() {
    let world = World::new().await;
    let key = running_pod(&world).await;
    let policy = json!({"toHost": {"pods": {"selector": {"matchLabels": {"tier": "web"}}}}});
    let world = world.with_policy(policy).await;
    let node = world.virtual_.get(Kind::Node, "", "node-1").unwrap();
    world.tenant.see_virtual(Kind::Node, &node, Lane::Live);
    see(&world, Kind::Pod);
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.writes(), [""; 0]);
    let late = world.apply(Kind::Pod, pod("late"));
    assert!(matches!(world.work(&late).await, Next::Settled));
    assert_eq!(
        world.writes(),
        [
            EVENTS,
            "virtual PATCH /api/v1/namespaces/shop/pods/late/status"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_secret_stays_inside_is_told_why() {
    let world = World::new().await;
    let policy = json!({"toHost": {"configmaps": {"enabled": false}}});
    let world = world.with_policy(policy).await;
    let map = json!({"metadata": {"namespace": "shop", "name": "config"}, "data": {}});
    let map = world.apply(Kind::ConfigMap, map);
    world.work(&map).await;
    assert_eq!(world.writes(), [""; 0], "nothing uses it");
    let key = world.apply(Kind::Pod, pod_with_config("web", "config"));
    world.work(&map).await;
    world.work(&key).await;
    let bodies = world.virtual_.bodies();
    let is_of_pod = |body: &&Value| body["involvedObject"]["kind"] == "Pod";
    let event = bodies.iter().find(is_of_pod).unwrap();
    let said = world.writes();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        event.to_string().contains("spec.sync.toHost.configmaps"),
        "{event}"
    );
    assert_eq!(event["reason"], "NotSynced", "it is not the host's doing");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_names_a_class_which_is_not_shown_is_told_so() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "edge", "labels": {"for": "others"}}});
    let (kind, lane) = (Kind::IngressClass, Lane::Live);
    let policy =
        json!({"fromHost": {"ingressclasses": {"selector": {"matchLabels": {"for": "us"}}}}});
    let world = world.with_policy(policy).await;
    world.engine.set_mirrored(kind, "edge", Some(class), lane);
    world.work(&Key::new(kind, "", "edge")).await;
    assert_eq!(world.writes(), [""; 0], "it is not shown");
    let key = world.apply(Kind::Ingress, ingress());
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.writes(), [EVENTS]);
    // It is the host's to label it.
    let class = json!({"metadata": {"name": "edge", "labels": {"for": "us"}}});
    world.engine.set_mirrored(kind, "edge", Some(class), lane);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("host POST {HOST}")]);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_shown_before_its_first_pod_is_bound_and_as_long_as_one_is_there() {
    let world = World::new().await;
    let policy = json!({"fromHost": {"nodes": {"policy": "Used"}}});
    let world = world.with_policy(policy).await;
    let node = Key::new(Kind::Node, "", "node-1");
    let object = json!({"metadata": {"name": "node-1"}, "status": {"capacity": {"cpu": "1"}}});
    let lane = Lane::Live;
    world
        .engine
        .set_mirrored(Kind::Node, "node-1", Some(object), lane);
    world.work(&node).await;
    assert_eq!(world.writes(), [""; 0]);
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", running);
    world.work(&key).await;
    world.work(&node).await;
    world.work(&key).await;
    let writes = world.writes();
    let place = |wanted: &str| writes.iter().position(|write| write.starts_with(wanted));
    let (shown, bound) = (
        place("virtual POST /api/v1/nodes"),
        place("virtual POST /api/v1/namespaces/shop/pods/web/binding"),
    );
    assert!(shown.is_some() && shown < bound, "{writes:?}");
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    world.work(&key).await;
    world.calls();
    world.work(&node).await;
    assert_eq!(world.writes(), ["virtual DELETE /api/v1/nodes/node-1"]);
}
