//! What is removed with a virtual cluster, and what is not fought over with the host.

use serde_json::{Value, json};
use vcluster_resources::label::{CLUSTER_UID, VIRTUAL_KIND};
use vcluster_translate::Context;
use vcluster_translate::own_class::{Allowed, Priorities};

use super::*;
use crate::object::Kind;
use crate::queue::Lane;
use crate::testing::{Store, World, context};

fn class(name: &str, uid: &str, marks: &Value) -> Value {
    json!({"metadata": {"name": name, "uid": uid, "annotations": marks}})
}

#[tokio::test]
async fn only_what_was_made_for_a_cluster_goes_with_it_and_by_its_uid() {
    let host = Store::new("h");
    let of = |cluster: &str, kind: &str| json!({CLUSTER_UID: cluster, VIRTUAL_KIND: kind});
    for (name, uid, marks) in [
        (
            "gold.demo.team-a.vcluster.dev",
            "mine",
            of("cluster-uid", "PriorityClass"),
        ),
        (
            "gold.prod.team-b.vcluster.dev",
            "theirs",
            of("another", "PriorityClass"),
        ),
        (
            "bare.demo.team-a.vcluster.dev",
            "bare",
            json!({CLUSTER_UID: "cluster-uid"}),
        ),
        ("gold", "hosts", of("cluster-uid", "PriorityClass")),
    ] {
        host.put(Kind::PriorityClass, class(name, uid, &marks));
    }
    let id = Id {
        uid: "cluster-uid".to_owned(),
        namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
    };
    sweep(&host.client(), &id).await.unwrap();
    let mut calls = host.take_calls();
    calls.retain(|call| !call.starts_with("GET"));
    assert_eq!(
        calls,
        ["DELETE /apis/scheduling.k8s.io/v1/priorityclasses/gold.demo.team-a.vcluster.dev"]
    );
    let bodies = host.bodies();
    let uids = bodies
        .iter()
        .filter_map(|body| body.pointer("/preconditions/uid"));
    assert_eq!(uids.collect::<Vec<_>>(), ["mine"]);
}

const HOST_NAME: &str = "fast.demo.team-a.vcluster.dev";

async fn world() -> World {
    let policy = json!({"toHost": {"priorityclasses": {"enabled": true}, "storageclasses": {"enabled": true}}});
    World::new()
        .await
        .with_context(Context {
            policy: serde_json::from_value(policy).unwrap(),
            classes: Allowed {
                priorities: Some(Priorities {
                    highest: 0,
                    preemption: false,
                }),
                provisioners: vec!["disks.example.com".to_owned()],
            },
            ..context()
        })
        .await
}

/// Looks at storage classes for five minutes; the writes to the host.
async fn looked(world: &World, told: &mut Told) -> Vec<String> {
    let (of, mut writes) = (Class::Storage, Vec::new());
    for _ in 0..30 {
        let there = world.host.get(of.kind(), "", HOST_NAME);
        let there = there.map(|there| there.json().clone());
        world
            .engine
            .set_mirrored(of.kind(), HOST_NAME, there, Lane::Live);
        look(&world.engine, &world.tenant, of, told).await.unwrap();
        let mut calls = world.writes();
        calls.retain(|call| call.starts_with("host"));
        writes.extend(calls);
        world.pass(PAUSE).await;
    }
    writes
}

fn fast(world: &World) {
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "disks.example.com",
        "parameters": {"type": "ssd"}, "reclaimPolicy": "Delete"});
    world.virtual_.put(Kind::StorageClass, class);
}

fn made(method: &str) -> String {
    let all = "/apis/storage.k8s.io/v1/storageclasses";
    match method {
        "POST" => format!("host POST {all}"),
        _ => format!("host {method} {all}/{HOST_NAME}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_host_adds_to_a_class_stays_and_is_not_written_against() {
    let world = world().await;
    fast(&world);
    world.host.admit(|object| {
        object["metadata"]["labels"]["cost-centre"] = "7".into();
        object["metadata"]["annotations"]["policy"] = "seen".into();
    });
    let mut told = Told::default();
    assert_eq!(looked(&world, &mut told).await, [made("POST")]);
    let class = world.host.get(Kind::StorageClass, "", HOST_NAME).unwrap();
    assert_eq!(class.json()["metadata"]["labels"]["cost-centre"], "7");
    assert!(told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_class_that_the_host_s_admission_changes_is_made_once_and_told_of() {
    let world = world().await;
    fast(&world);
    world
        .host
        .admit(|object| object["parameters"]["type"] = "hdd".into());
    let mut told = Told::default();
    assert_eq!(looked(&world, &mut told).await, [made("POST")]);
    assert_eq!(told.len(), 1, "{told:?}");
    let named = ensure(&world.engine, &world.tenant, Class::Storage, "fast").await;
    assert!(
        matches!(named, Ok(Named::OnHost(_))),
        "it is there all the same"
    );
    // After a restart it is tried once more.
    let world = world.anew();
    let anew = [made("DELETE"), made("POST")];
    assert_eq!(looked(&world, &mut Told::default()).await, anew);
    // Once the host lets it be, whoever administrates it deletes what is there.
    world.host.admit(|_object| {});
    world.host.lose(Kind::StorageClass, "", HOST_NAME);
    assert_eq!(looked(&world, &mut told).await, [made("POST")]);
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_field_of_a_class_that_the_host_changes_back_is_written_once_a_minute() {
    let world = world().await;
    fast(&world);
    world
        .host
        .admit(|object| object["allowVolumeExpansion"] = true.into());
    let mut told = Told::default();
    let writes = looked(&world, &mut told).await;
    let patches = writes.iter().filter(|call| **call == made("PATCH")).count();
    assert_eq!((patches, writes.len()), (5, 6), "{writes:?}");
    assert_eq!(told.len(), 1, "{told:?}");
}
