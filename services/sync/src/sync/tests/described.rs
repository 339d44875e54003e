//! Kinds that are kept the same by their descriptions alone.

use super::*;

const HOST: &str = "host POST /apis/networking.k8s.io/v1/namespaces/team-a/ingresses";

fn ingress(secret: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"tls": [{"secretName": secret}], "rules": [{"host": "a.example.com"}]},
    })
}

#[tokio::test(start_paused = true)]
async fn an_ingress_goes_down_its_secret_with_it_and_its_status_comes_up() {
    let world = World::new().await;
    let secret = json!({"metadata": {"namespace": "shop", "name": "cert"}, "data": {}});
    let secret = world.apply(Kind::Secret, secret);
    world.work(&secret).await;
    assert_eq!(world.writes(), [""; 0], "nothing uses it");
    let key = world.apply(Kind::Ingress, ingress("cert"));
    world.work(&secret).await;
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(
        world.writes(),
        ["host POST /api/v1/namespaces/team-a/secrets", HOST]
    );
    world.change_host(Kind::Ingress, "web-x-shop-x-demo", |ingress| {
        ingress["status"]["loadBalancer"] = json!({"ingress": [{"ip": "192.0.2.1"}]});
    });
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["virtual PATCH /apis/networking.k8s.io/v1/namespaces/shop/ingresses/web/status"]
    );
    let gone = world.virtual_.lose(Kind::Ingress, "shop", "web");
    world.tenant.miss_virtual(Kind::Ingress, &gone);
    world.work(&key).await;
    world.work(&secret).await;
    assert_eq!(
        world.writes(),
        [
            "host DELETE /apis/networking.k8s.io/v1/namespaces/team-a/ingresses/web-x-shop-x-demo",
            "host DELETE /api/v1/namespaces/team-a/secrets/cert-x-shop-x-demo",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_host_refuses_is_told_once_and_tried_again_when_something_goes() {
    let world = World::new().await;
    world.host.script(|call| {
        (call.method == "POST" && call.path.ends_with("/ingresses"))
            .then(|| status(403, "Forbidden"))
    });
    let key = world.apply(Kind::Ingress, ingress("cert"));
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/shop/events", HOST, HOST]
    );
    let event = world.virtual_.bodies().pop().unwrap();
    assert_eq!(event["involvedObject"]["kind"], "Ingress");
    assert_eq!(
        event["involvedObject"]["apiVersion"],
        "networking.k8s.io/v1"
    );
    assert_eq!(event["reason"], "HostRefused");
    world.host.script(|_call| None);
    world.work(&key).await;
    assert_eq!(world.writes(), [HOST]);
}

#[tokio::test(start_paused = true)]
async fn annotations_that_stay_inside_are_told_once() {
    let world = World::new().await;
    let mut ingress = ingress("cert");
    ingress["metadata"]["annotations"] = json!({"cert-manager.io/cluster-issuer": "internal"});
    let key = world.apply(Kind::Ingress, ingress);
    world.work(&key).await;
    let event = "virtual POST /api/v1/namespaces/shop/events";
    assert_eq!(world.writes(), [event, HOST]);
    let told = world.virtual_.bodies().pop().unwrap();
    assert_eq!(told["reason"], "AnnotationsKeptInside");
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains("cert-manager.io/cluster-issuer"),
        "{message}"
    );
    world.change_host(Kind::Ingress, "web-x-shop-x-demo", |ingress| {
        ingress["metadata"]["annotations"]["by-the-host"] = "x".into();
    });
    world.work(&key).await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_class_of_the_host_is_shown_kept_and_taken_away() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "csi.example.com"});
    let (kind, lane) = (Kind::StorageClass, Lane::Live);
    let key = Key::new(kind, "", "fast");
    let at = "/apis/storage.k8s.io/v1/storageclasses";
    world.engine.set_mirrored(kind, "fast", Some(class), lane);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("virtual POST {at}")]);
    world.work(&key).await;
    assert_eq!(world.calls(), [""; 0]);
    let edited = world.virtual_.change(kind, "", "fast", |class| {
        class["metadata"]["labels"]["mine"] = "x".into();
    });
    world.tenant.see_virtual(kind, &edited, lane);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("virtual PATCH {at}/fast")]);
    world.engine.set_mirrored(kind, "fast", None, lane);
    world.engine.set_listed(kind, false);
    world.work(&key).await;
    assert_eq!(world.writes(), [""; 0], "the host's list is not complete");
    world.engine.set_listed(kind, true);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("virtual DELETE {at}/fast")]);
}

#[tokio::test(start_paused = true)]
async fn what_the_host_says_of_an_ingress_is_told_inside_in_the_virtual_cluster_s_words() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress("cert"));
    world.work(&key).await;
    world.calls();
    let host = world.host.get(Kind::Ingress, "team-a", "web-x-shop-x-demo");
    let event = json!({
        "metadata": {"namespace": "team-a", "name": "e.1", "uid": "e"},
        "involvedObject": {
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "namespace": "team-a",
            "name": "web-x-shop-x-demo", "uid": host.unwrap().uid(),
        },
        "reason": "Sync", "type": "Normal", "message": "scheduled web-x-shop-x-demo for sync",
    });
    let at = Key::new(Kind::Event, "team-a", "e.1");
    world
        .tenant
        .state()
        .bodies
        .put(Side::Host, &at, Arc::new(event));
    world.work(&at).await;
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/shop/events"]
    );
    let told = world.virtual_.bodies().pop().unwrap();
    assert_eq!(told["involvedObject"]["kind"], "Ingress");
    assert_eq!(told["involvedObject"]["name"], "web");
    assert_eq!(told["message"], "scheduled web for sync");
}
