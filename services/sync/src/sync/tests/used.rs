//! Configmaps and secrets, which go to the host as pods use them.

use super::*;

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
    assert!(matches!(world.work(&secret).await, Next::Until(_)));
    let state = world.tenant.state();
    assert!(state.entry(&key).virtual_.seen.is_some());
    assert!(state.bodies.get(Side::Virtual, &secret).is_none());
}

fn pod_with_secret(name: &str, secret: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": secret}}]);
    pod
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_somebody_changes_on_the_host_is_put_right_by_the_scan() {
    let object = |value: &str| json!({"metadata": {"namespace": "shop", "name": "used"}, "data": {"a": value}});
    for (kind, user) in [
        (Kind::ConfigMap, pod_with_config("web", "used")),
        (Kind::Secret, pod_with_secret("web", "used")),
    ] {
        let (world, name) = (World::new().await, "used-x-shop-x-demo");
        let key = world.apply(kind, object("Yg=="));
        world.apply(Kind::Pod, user);
        world.work(&key).await;
        let by_hand = |host: &mut Value| host["data"]["a"] = "Yw==".into();
        world.host.change(kind, "team-a", name, by_hand);
        world.calls();
        world.pass(Duration::from_mins(5)).await;
        assert_eq!(world.calls(), [""; 0], "nobody watches it");
        crate::scan::tenant(&world.engine, &world.tenant).await;
        world.calls();
        world.work(&key).await;
        let path = format!("/api/v1/namespaces/team-a/{}/{name}", kind.plural());
        assert_eq!(world.writes(), [format!("host PATCH {path}")]);
        let host = world.host.get(kind, "team-a", name).unwrap();
        assert_eq!(host.json()["data"]["a"], "Yg==");
    }
}
