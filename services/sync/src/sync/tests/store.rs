//! A virtual cluster whose store was lost.

use super::*;

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

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_in_time_ends_the_stay() {
    let world = World::new().await;
    running_pod(&world).await;
    let at = |version: &'static str| {
        world.virtual_.script(move |call| {
            let list = json!({"metadata": {"resourceVersion": version}, "items": []});
            (call.path == "/api/v1/namespaces").then(|| answer(200, list))
        });
    };
    at("100000");
    world.tenant.confirm_history().await;
    assert!(world.tenant.is_active());
    at("7");
    world.tenant.confirm_history().await;
    assert!(!world.tenant.is_active());
}
