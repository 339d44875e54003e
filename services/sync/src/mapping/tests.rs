//! Copies by mapping: when they are made, follow and go, and what is told when they cannot.

use serde_json::json;
use vcluster_resources::label::{MANAGED, MANAGED_VALUE, MAPPED_FROM, SHAREABLE};

use super::*;
use crate::testing::World;

async fn world(mappings: Value) -> World {
    World::new()
        .await
        .with_policy(json!({"fromHost": {"configmaps": {"mappings": mappings}}}))
        .await
}

fn mapped(name: &str) -> Value {
    json!([{"from": {"name": name}, "to": {"namespace": "shop", "name": "config"}}])
}

async fn looked(world: &World, settled: &mut Settled) -> Vec<String> {
    let mappings = all(&world.tenant.context.policy);
    look(&world.tenant, &mappings, settled).await
}

const INSIDE: &str = "/api/v1/namespaces/shop/configmaps";

#[tokio::test(start_paused = true)]
async fn a_copy_is_made_follows_and_goes_and_nothing_is_written_in_between() {
    let world = world(mapped("shared")).await;
    let mut settled = Settled::new();
    let missing = looked(&world, &mut settled).await;
    assert!(
        missing[0].contains("the host has none of this name"),
        "{missing:?}"
    );
    let shared = json!({"metadata": {"namespace": "team-a", "name": "shared"}, "data": {"a": "b"}});
    world.host.put(Kind::ConfigMap, shared);
    world.calls();
    for _ in 0..2 {
        assert_eq!(looked(&world, &mut settled).await, [""; 0]);
    }
    assert_eq!(world.writes(), [format!("virtual POST {INSIDE}")]);
    world
        .host
        .change(Kind::ConfigMap, "team-a", "shared", |map| {
            map["data"]["a"] = "c".into();
        });
    assert_eq!(looked(&world, &mut settled).await, [""; 0]);
    assert_eq!(world.writes(), [format!("virtual PATCH {INSIDE}/config")]);
    world.host.lose(Kind::ConfigMap, "team-a", "shared");
    looked(&world, &mut settled).await;
    assert_eq!(world.writes(), [format!("virtual DELETE {INSIDE}/config")]);
}

#[tokio::test(start_paused = true)]
async fn what_the_host_will_not_show_is_said_and_what_is_there_stays() {
    let mappings = json!([{"from": {"namespace": "infra", "name": "shared"},
        "to": {"namespace": "shop", "name": "config"}}]);
    let world = world(mappings).await;
    let shared = json!({"metadata": {"namespace": "infra", "name": "shared",
        "labels": {SHAREABLE: "true"}}});
    world.host.put(Kind::ConfigMap, shared);
    let mut settled = Settled::new();
    assert_eq!(looked(&world, &mut settled).await, [""; 0]);
    world.calls();
    world.host.script(|call| {
        let foreign = call.path.contains("/namespaces/infra/");
        foreign.then(|| crate::testing::status(403, "Forbidden"))
    });
    let said = looked(&world, &mut settled).await;
    for says in [
        "ConfigMap \"shared\" of namespace \"infra\" of the host",
        "kubectl -n infra create role shared-with-team-a --verb=get --resource=configmaps --resource-name=shared",
        "--serviceaccount=team-a:vcluster-sync",
    ] {
        assert!(said[0].contains(says), "{said:?}");
    }
    assert_eq!(world.writes(), [""; 0]);
    assert_eq!(
        world.tenant.missing_right(),
        None,
        "its own namespace is fine"
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_policy_mapped_goes() {
    let world = World::new().await;
    let mark = |from: Option<&str>| {
        let name = from.unwrap_or("own");
        let mut object = json!({"metadata": {"namespace": "shop", "name": name,
            "labels": {MANAGED: MANAGED_VALUE},
            "annotations": {"vcluster.dev/cluster-uid": crate::testing::CLUSTER_UID}}});
        if let Some(from) = from {
            object["metadata"]["annotations"][MAPPED_FROM] = from.into();
        }
        object
    };
    world.virtual_.put(Kind::ConfigMap, mark(Some("old")));
    world.virtual_.put(Kind::ConfigMap, mark(None));
    assert!(sweep(&world.tenant, &[]).await);
    assert_eq!(world.writes(), [format!("virtual DELETE {INSIDE}/old")]);
}

#[tokio::test(start_paused = true)]
async fn what_was_mapped_is_found_on_each_page_of_a_long_list() {
    let world = World::new().await;
    let old = json!({"metadata": {"namespace": "shop", "name": "old", "uid": "old",
        "labels": {MANAGED: MANAGED_VALUE},
        "annotations": {"vcluster.dev/cluster-uid": crate::testing::CLUSTER_UID, MAPPED_FROM: "old"}}});
    let old = world.virtual_.put(Kind::ConfigMap, old).json().clone();
    world.virtual_.script(move |call| {
        let (items, next) = match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/api/v1/configmaps") if call.query.contains("continue=more") => {
                (json!([old]), "")
            }
            ("GET", "/api/v1/configmaps") if call.query.contains("limit=20") => (json!([]), "more"),
            // Too much for one answer.
            ("GET", "/api/v1/configmaps") => return Some(crate::testing::status(500, "TooLarge")),
            (_, _) => return None,
        };
        let metadata = json!({"resourceVersion": "1", "continue": next});
        let list = json!({"metadata": metadata, "items": items});
        Some(vcluster_chassis::testing::json(200, list))
    });
    assert!(sweep(&world.tenant, &[]).await);
    assert_eq!(world.writes(), [format!("virtual DELETE {INSIDE}/old")]);
}

#[tokio::test(start_paused = true)]
async fn an_emptied_store_takes_no_service_from_the_host() {
    let policy = json!({"toHost": {"services": {"mappings": [
        {"from": {"namespace": "shop", "name": "web"}, "to": {"name": "shop-web"}}]}}});
    let world = World::new().await.with_policy(policy).await;
    let store = |uid: &str| {
        let kube_system = json!({"metadata": {"name": "kube-system", "uid": uid}});
        world.virtual_.put(Kind::Namespace, kube_system);
    };
    store("first");
    world.tenant.recognize_store().await.unwrap();
    let web = json!({"metadata": {"namespace": "shop", "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "clusterIP": "10.0.0.9"}});
    world.virtual_.put(Kind::Service, web);
    let mut settled = Settled::new();
    assert_eq!(looked(&world, &mut settled).await, [""; 0]);
    world.writes();
    store("second");
    world.virtual_.lose(Kind::Service, "shop", "web");
    let said = looked(&world, &mut settled).await;
    assert!(said[0].contains("store was lost or put back"), "{said:?}");
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_webhook_inside_changes_is_written_once_a_minute() {
    let world = world(mapped("shared")).await;
    let shared = json!({"metadata": {"namespace": "team-a", "name": "shared"}, "data": {"a": "b"}});
    world.host.put(Kind::ConfigMap, shared);
    world
        .virtual_
        .admit(|object| object["metadata"]["labels"]["mine"] = "x".into());
    let (mut settled, mut patches) = (Settled::new(), 0);
    for _ in 0..30 {
        let said = looked(&world, &mut settled).await;
        assert!(said[0].contains("does not keep"), "{said:?}");
        let writes = world.writes();
        patches += writes
            .iter()
            .filter(|call| call.starts_with("virtual PATCH"))
            .count();
        world.pass(PAUSE).await;
    }
    assert_eq!(patches, 5, "in five minutes");
    world
        .host
        .change(Kind::ConfigMap, "team-a", "shared", |map| {
            map["data"]["a"] = "c".into();
        });
    looked(&world, &mut settled).await;
    let copy = world
        .virtual_
        .get(Kind::ConfigMap, "shop", "config")
        .unwrap();
    assert_eq!(copy.json()["data"]["a"], "c", "at once");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_could_only_be_made_anew_as_a_webhook_wants_it_is_not_deleted_for_ever() {
    let world = world(mapped("shared")).await;
    let shared = json!({"metadata": {"namespace": "team-a", "name": "shared"}, "data": {"a": "b"}});
    world.host.put(Kind::ConfigMap, shared);
    world
        .virtual_
        .admit(|object| object["immutable"] = true.into());
    let mut settled = Settled::new();
    let mut writes = Vec::new();
    for _ in 0..30 {
        let said = looked(&world, &mut settled).await;
        assert!(said[0].contains("made anew"), "{said:?}");
        writes.extend(world.writes());
        world.pass(PAUSE).await;
    }
    assert_eq!(
        writes,
        [format!("virtual POST {INSIDE}")],
        "made so, it is left so"
    );
    world
        .host
        .change(Kind::ConfigMap, "team-a", "shared", |map| {
            map["data"]["a"] = "c".into();
        });
    looked(&world, &mut settled).await;
    let copy = world
        .virtual_
        .get(Kind::ConfigMap, "shop", "config")
        .unwrap();
    assert_eq!(
        copy.json()["data"]["a"],
        "c",
        "another content is another matter"
    );
}
