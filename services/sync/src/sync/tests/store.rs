//! A virtual cluster whose store was lost.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tenant::store::STORE_MARK;
use crate::testing::Copy;

fn store_of(world: &World, uid: &str) {
    let kube_system = json!({"metadata": {"name": "kube-system", "uid": uid}});
    world.virtual_.put(Kind::Namespace, kube_system);
}

#[tokio::test(start_paused = true)]
async fn what_an_emptied_store_lacks_is_not_deleted_and_the_tenant_is_told() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    world.tenant.vouch_for_store().await.unwrap();
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
    assert!(
        told.contains("-n team-a annotate configmap vcluster-env"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_the_same_name_in_another_store_does_not_have_the_one_that_runs_deleted() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    world.tenant.vouch_for_store().await.unwrap();
    let key = running_pod(&world).await;
    world.virtual_.lose(Kind::Pod, "shop", "web");
    store_of(&world, "second");
    // Its pods are listed before its namespaces.
    world.apply(Kind::Pod, pod("web"));
    assert!(matches!(world.work(&key).await, Next::Retry { .. }));
    assert_eq!(world.writes(), [""; 0]);
    assert!(!world.tenant.is_active());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_another_one_of_its_name_replaced_goes_and_the_store_is_asked_only_where_nobody_told_its_end()
 {
    for is_told in [false, true] {
        let world = World::new().await;
        store_of(&world, "first");
        world.tenant.recognize_store().await.unwrap();
        let key = running_pod(&world).await;
        let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
        if is_told {
            world.tenant.miss_virtual(Kind::Pod, &gone);
        }
        world.apply(Kind::Pod, pod("web"));
        world.work(&key).await;
        let calls = world.calls();
        let is_asked = |call: &String| call == "virtual GET /api/v1/namespaces";
        assert_eq!(calls.iter().any(is_asked), !is_told, "{calls:?}");
        let delete = "host DELETE /api/v1/namespaces/team-a/pods/web-x-shop-x-demo";
        assert!(calls.iter().any(|call| call == delete), "{calls:?}");
    }
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

/// A tenant whose store was marked, a copy of that store, and a pod that runs and that the copy lacks.
async fn copied() -> (World, Copy, Key) {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    world.apply(Kind::Pod, pod("earlier"));
    world.tenant.vouch_for_store().await.unwrap();
    world.tenant.mark_store().await.unwrap();
    let copy = world.virtual_.copy();
    let key = running_pod(&world).await;
    world.writes();
    (world, copy, key)
}

fn remembered(world: &World, annotation: &str) -> Option<String> {
    let kept = world.host.get(Kind::ConfigMap, "team-a", "vcluster-env");
    kept?.annotation(annotation).map(ToOwned::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_is_noticed_before_what_it_lacks_is_deleted_and_the_host_remembers()
{
    let (world, copy, key) = copied().await;
    world.virtual_.put_back(&copy, 0);
    let list = world.tenant.state().begin_list(Side::Virtual, Kind::Pod);
    world.tenant.end_list(Side::Virtual, Kind::Pod, list);
    assert!(matches!(world.work(&key).await, Next::Retry { .. }));
    assert_eq!(world.writes(), [""; 0]);
    assert!(!world.tenant.is_active());
    let told = world.tenant.store_loss().unwrap().to_string();
    assert!(
        told.contains("put back to an older state: version"),
        "{told}"
    );
    assert!(
        told.contains("kubectl -n team-a annotate configmap vcluster-env vcluster.dev/store-uid-"),
        "{told}"
    );
    world.tenant.remember_store().await.unwrap();
    // However far it counts on: the next stay asks a person first.
    world.virtual_.put_back(&copy, 1_000);
    assert!(world.tenant.recognize_store().await.is_err());
    world
        .host
        .change(Kind::ConfigMap, "team-a", "vcluster-env", |kept| {
            kept["metadata"]["annotations"]["vcluster.dev/store-uid"].take();
        });
    world.tenant.recognize_store().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_while_nobody_looked_is_known_by_its_mark() {
    let (world, copy, _) = copied().await;
    world.tenant.mark_store().await.unwrap();
    let newer = world.virtual_.copy();
    world.virtual_.put_back(&copy, 1_000);
    let told = world
        .tenant
        .recognize_store()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("put back to an older state: its mark was"),
        "{told}"
    );
    world.virtual_.put_back(&newer, 0);
    world.tenant.recognize_store().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn marks_are_made_only_when_something_is_new() {
    let (world, ..) = copied().await;
    let first = remembered(&world, STORE_MARK);
    world.tenant.mark_store().await.unwrap();
    assert_eq!(
        world.writes(),
        [
            "virtual PATCH /api/v1/namespaces/kube-system",
            "host PATCH /api/v1/namespaces/team-a/configmaps/vcluster-env",
        ]
    );
    assert_ne!(remembered(&world, STORE_MARK), first);
    world.tenant.mark_store().await.unwrap();
    assert_eq!(world.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_wavers_is_believed_nothing_of_until_all_is_listed_anew() {
    let (world, ..) = copied().await;
    let asked = AtomicUsize::new(0);
    world.virtual_.script(move |call| {
        let system = json!({"metadata": {"name": "kube-system", "uid": "first"}});
        let old = json!({"metadata": {"resourceVersion": "7"}, "items": [system]});
        let is_first =
            call.path == "/api/v1/namespaces" && asked.fetch_add(1, Ordering::AcqRel) == 0;
        is_first.then(|| answer(200, old))
    });
    let failure = world.tenant.confirm_store().await.unwrap_err();
    assert!(
        world.tenant.has_wavered(),
        "what was not found may have been asked of the older one: {failure}"
    );
    assert!(world.tenant.token.is_cancelled(), "and so may be watches");
    assert!(!world.tenant.has_lost_its_store());
}

#[tokio::test(start_paused = true)]
async fn another_store_that_answered_once_ends_the_stay_though_the_right_one_is_back() {
    let (world, ..) = copied().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    world.virtual_.script(move |call| {
        let system = json!({"metadata": {"name": "kube-system", "uid": "second"}});
        let other = json!({"metadata": {"resourceVersion": "7"}, "items": [system]});
        let is_first =
            call.path == "/api/v1/namespaces" && counted.fetch_add(1, Ordering::AcqRel) == 0;
        is_first.then(|| answer(200, other))
    });
    world.tenant.confirm_store().await.unwrap_err();
    assert_eq!(asked.load(Ordering::Acquire), 1, "it is not asked again");
    assert!(world.tenant.has_lost_its_store());
    assert!(!world.tenant.is_active(), "not even until the stay ends");
}

const CLAIM: &str = "data-x-shop-x-demo";

fn claim() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

/// A tenant whose person has accepted a store that lacks a pod and a claim which are on the host.
async fn accepted() -> (World, Key) {
    let world = World::new().await;
    store_of(&world, "first");
    let pod = running_pod(&world).await;
    let key = world.apply(Kind::PersistentVolumeClaim, claim());
    world.work(&key).await;
    store_of(&world, "second");
    for (kind, name) in [(Kind::Pod, "web"), (key.kind, "data")] {
        world.virtual_.lose(kind, "shop", name);
    }
    let again = world.with_policy(json!({})).await;
    again.tenant.recognize_store().await.unwrap();
    for (kind, name) in [(Kind::Pod, "web-x-shop-x-demo"), (key.kind, CLAIM)] {
        let object = again.host.get(kind, "team-a", name).unwrap();
        again.tenant.see_host(kind, &object, Lane::List);
    }
    again.calls();
    again.work(&pod).await;
    (again, key)
}

#[tokio::test(start_paused = true)]
async fn what_holds_data_is_kept_when_a_store_is_accepted_that_lacks_it_and_the_rest_goes() {
    let (world, key) = accepted().await;
    world.work(&key).await;
    world.tenant.vouch_for_store().await.unwrap();
    let claim = "host PATCH /api/v1/namespaces/team-a/persistentvolumeclaims/data-x-shop-x-demo";
    let remembered = "host PATCH /api/v1/namespaces/team-a/configmaps/vcluster-env";
    assert_eq!(
        world.writes(),
        [
            "host DELETE /api/v1/namespaces/team-a/pods/web-x-shop-x-demo",
            claim,
            remembered
        ]
    );
    assert!(matches!(world.work(&key).await, Next::Settled));
    let said = world.tenant.kept_said().unwrap();
    assert_eq!(said, "PersistentVolumeClaim shop/data");
    // The next stay knows the store, and finds the claim kept.
    let world = world.with_policy(json!({})).await;
    world.tenant.recognize_store().await.unwrap();
    assert!(!world.tenant.accepts_store());
    let object = world.host.get(key.kind, "team-a", CLAIM).unwrap();
    world.tenant.see_host(key.kind, &object, Lane::List);
    world.calls();
    world.work(&key).await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_new_claim_of_a_kept_one_s_name_is_told_until_the_data_is_handed_over() {
    let (world, key) = accepted().await;
    world.tenant.vouch_for_store().await.unwrap();
    world.apply(key.kind, claim());
    world.calls();
    world.work(&key).await;
    let writes = world.writes();
    assert!(
        writes.iter().all(|write| write.contains("events")),
        "{writes:?}"
    );
    let problem = world.tenant.state().entry(&key).problem.unwrap();
    assert_eq!(problem.reason, "HostNameTaken");
    let uid = world.virtual_.get(key.kind, "shop", "data").unwrap();
    world.change_host(key.kind, CLAIM, |host| {
        host["metadata"]["annotations"]["vcluster.dev/uid"] = uid.uid().into();
    });
    world.work(&key).await;
    assert_eq!(world.tenant.kept_said(), None);
    let host = world.host.get(key.kind, "team-a", CLAIM).unwrap();
    assert_eq!(host.annotation("vcluster.dev/kept"), None);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_deleted_inside_goes_also_in_the_stay_in_which_a_store_is_accepted() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    let key = world.apply(Kind::PersistentVolumeClaim, claim());
    world.work(&key).await;
    let gone = world.virtual_.lose(key.kind, "shop", "data");
    world.tenant.miss_virtual(key.kind, &gone);
    world.writes();
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /api/v1/namespaces/team-a/persistentvolumeclaims/data-x-shop-x-demo"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_restored_from_an_earlier_cluster_of_that_name_is_not_touched() {
    let world = World::new().await;
    store_of(&world, "first");
    let key = running_pod(&world).await;
    let earlier = |kept: &mut Value| {
        kept["metadata"]["annotations"]["vcluster.dev/cluster-uid"] = "earlier".into();
    };
    for (kind, name) in [
        (Kind::Pod, "web-x-shop-x-demo"),
        (Kind::ConfigMap, "vcluster-env"),
    ] {
        world.host.change(kind, "team-a", name, earlier);
    }
    world.tenant.recognize_store().await.unwrap();
    let refused = world
        .tenant
        .vouch_for_store()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("for an earlier virtual cluster"),
        "{refused}"
    );
    world.tenant.doubt(&key);
    world.calls();
    world.work(&key).await;
    let on_host = |call: &String| call.starts_with("host ");
    assert!(!world.writes().iter().any(on_host));
}

#[tokio::test(start_paused = true)]
async fn what_stands_beside_pods_and_namespaces_is_not_taken_for_the_sake_of_an_emptied_store() {
    let world = World::new().await;
    store_of(&world, "first");
    world.tenant.recognize_store().await.unwrap();
    world.virtual_.script(|call| {
        let status = json!({"token": "a.b.c", "expirationTimestamp": "2100-01-01T00:00:00Z"});
        call.path
            .ends_with("/token")
            .then(|| answer(201, json!({"status": status})))
    });
    let key = world.apply(Kind::Pod, pod_with_token("web"));
    world.work(&key).await;
    let links = vcluster_translate::environment::services_name("shop");
    let found = world.host.get(Kind::ConfigMap, "team-a", &links);
    let gone = world.virtual_.lose(Kind::Pod, "shop", "web");
    world.tenant.miss_virtual(Kind::Pod, &gone);
    let gone = world.host.lose(Kind::Pod, "team-a", "web-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    let gone = world.virtual_.lose(Kind::Namespace, "", "shop");
    world.tenant.miss_virtual(Kind::Namespace, &gone);
    store_of(&world, "second");
    world.calls();
    assert!(matches!(world.work(&key).await, Next::Retry { .. }));
    let links = world.tenant.drop_links(&found.unwrap()).await;
    assert!(links.is_err(), "{links:?}");
    assert_eq!(world.writes(), [""; 0]);
}
