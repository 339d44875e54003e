//! What becomes of capacities: shown, followed, taken away, and left alone where they are not ours.

use serde_json::json;

use super::*;
use crate::queue::Lane;
use crate::testing::{World, status};

const INSIDE: &str = "/apis/storage.k8s.io/v1/namespaces/kube-system/csistoragecapacities";

fn capacity(name: &str, class: &str, zone: &str, version: &str) -> Object {
    Object::new(json!({
        "metadata": {"name": name, "namespace": "storage", "uid": name, "resourceVersion": version},
        "nodeTopology": {"matchLabels": {"zone": zone}}, "storageClassName": class, "capacity": version,
    }))
}

fn tell(world: &World, objects: Vec<Object>) {
    let capacities = &world.engine.capacities;
    capacities.forget();
    for object in objects {
        capacities.set(object);
    }
    capacities.known().listed = true;
}

fn class(world: &World, name: &str, more: &Value) {
    let mut class =
        json!({"metadata": {"name": name, "labels": {}}, "provisioner": "d.example.com"});
    for (key, value) in more.as_object().into_iter().flatten() {
        class[key] = value.clone();
    }
    let engine = &world.engine;
    engine.set_mirrored(Kind::StorageClass, name, Some(class), Lane::Live);
}

fn names(world: &World) -> Option<Vec<(String, String)>> {
    let shown = shown(&world.engine, &world.tenant, true)?;
    let named = |(host, class): Shown| (storage_capacity::name(&host).unwrap(), class);
    Some(shown.into_iter().map(named).collect())
}

async fn brought(world: &World, is_shared: bool) -> Vec<String> {
    let shown = shown(&world.engine, &world.tenant, is_shared).unwrap();
    bring(&world.tenant, &shown).await.unwrap();
    world.writes()
}

#[tokio::test(start_paused = true)]
async fn those_of_shown_classes_are_shown_follow_and_go_when_they_are_shared_no_more() {
    let world = World::new().await;
    class(&world, "fast", &json!({}));
    tell(
        &world,
        vec![
            capacity("a", "fast", "x", "1"),
            capacity("b", "unknown", "x", "1"),
        ],
    );
    assert_eq!(
        brought(&world, true).await,
        [format!("virtual POST {INSIDE}")]
    );
    assert_eq!(brought(&world, true).await, [""; 0]);
    tell(&world, vec![capacity("a", "fast", "x", "2")]);
    let path = format!("{INSIDE}/storage.a");
    assert_eq!(
        brought(&world, true).await,
        [format!("virtual PATCH {path}")]
    );
    // What cannot be changed is made anew.
    tell(&world, vec![capacity("a", "fast", "y", "3")]);
    let anew = [
        format!("virtual DELETE {path}"),
        format!("virtual POST {INSIDE}"),
    ];
    assert_eq!(brought(&world, true).await, anew);
    assert_eq!(
        brought(&world, false).await,
        [format!("virtual DELETE {path}")]
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_keeps_none_of_the_others() {
    let world = World::new().await;
    class(&world, "fast", &json!({}));
    let named = |name: &&str| capacity(name, "fast", "x", "1");
    tell(&world, ["a", "b", "c"].iter().map(named).collect());
    world.virtual_.script(|call| {
        let is_refused = call.method == "POST" && call.body.to_string().contains("storage.b");
        is_refused.then(|| status(403, "Forbidden"))
    });
    let shown = shown(&world.engine, &world.tenant, true).unwrap();
    let error = bring(&world.tenant, &shown).await.unwrap_err();
    assert!(error.contains("storage.b"), "{error}");
    let there = |name: &str| world.virtual_.get(KIND, "kube-system", name).is_some();
    assert_eq!(
        ["storage.a", "storage.b", "storage.c"].map(there),
        [true, false, true]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_while_not_everything_of_the_host_is_known() {
    let world = World::new().await;
    assert_eq!(names(&world), None, "they were not listed");
    tell(&world, Vec::new());
    assert_eq!(names(&world), Some(Vec::new()));
    for kind in [Kind::StorageClass, Kind::Node] {
        world.engine.set_listed(kind, false);
        assert_eq!(names(&world), None, "{kind}");
        world.engine.set_listed(kind, true);
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_not_shown_hides_its_own_and_one_of_the_tenant_s_has_its_name_inside() {
    let policy =
        json!({"fromHost": {"storageclasses": {"selector": {"matchLabels": {"for": "all"}}}}});
    let world = World::new().await.with_policy(policy).await;
    class(&world, "hidden", &json!({}));
    class(
        &world,
        "open",
        &json!({"metadata": {"name": "open", "labels": {"for": "all"}}}),
    );
    let (own, others) = (
        "mine.demo.team-a.vcluster.dev",
        "theirs.demo.team-b.vcluster.dev",
    );
    class(&world, own, &json!({}));
    class(&world, others, &json!({}));
    let classes = ["hidden", "open", own, others];
    let each = classes.iter().zip(["a", "b", "c", "d"]);
    tell(
        &world,
        each.map(|(class, name)| capacity(name, class, "x", "1"))
            .collect(),
    );
    let seen = |name: &str, class: &str| (format!("storage.{name}"), class.to_owned());
    assert_eq!(
        names(&world),
        Some(vec![seen("b", "open"), seen("c", "mine")])
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_about_nodes_that_are_not_shown_is_not_shown() {
    let policy = json!({"fromHost": {"nodes": {"selector": {"matchLabels": {"for": "all"}}}}});
    let world = World::new().await.with_policy(policy).await;
    for (name, zone, label) in [("one", "x", "all"), ("two", "y", "none")] {
        let node = json!({"metadata": {"name": name, "labels": {"zone": zone, "for": label}}});
        world
            .engine
            .set_mirrored(Kind::Node, name, Some(node), Lane::Live);
    }
    class(&world, "fast", &json!({}));
    tell(
        &world,
        vec![
            capacity("a", "fast", "x", "1"),
            capacity("b", "fast", "y", "1"),
        ],
    );
    let one = vec![("storage.a".to_owned(), "fast".to_owned())];
    assert_eq!(names(&world), Some(one));
}
