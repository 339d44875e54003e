//! When the APIService is there, and whose it is.

use super::*;
use crate::testing::{World, status};
use vcluster_chassis::testing::json as answer;

fn wanted() -> Value {
    api_service("PEM", "cluster-uid")
}

fn found() -> Value {
    let mut found = wanted();
    found["metadata"]["uid"] = "u1".into();
    found
}

fn foreign() -> Value {
    let mut found = found();
    found["spec"]["service"] = json!({"namespace": "monitoring", "name": "adapter", "port": 443});
    found
}

#[test]
fn it_is_there_while_the_host_serves_metrics_and_what_is_another_s_is_left() {
    let remove = || Step::Remove("u1".to_owned());
    for (found, serves, expected) in [
        (None, Serves::Yes, Step::Create),
        (None, Serves::No, Step::Nothing),
        (None, Serves::Unknown, Step::Nothing),
        (Some(found()), Serves::Yes, Step::Nothing),
        (Some(found()), Serves::Unknown, Step::Nothing),
        (Some(found()), Serves::No, remove()),
        (Some(foreign()), Serves::Yes, Step::Aside),
        (Some(foreign()), Serves::No, Step::Aside),
    ] {
        assert_eq!(step(&wanted(), found.as_ref(), serves), expected);
    }
    let mut unannotated = found();
    unannotated["metadata"]["annotations"] = Value::Null;
    assert_eq!(step(&wanted(), Some(&unannotated), Serves::No), Step::Aside);
    let mut older = found();
    older["spec"]["caBundle"] = "old".into();
    let Step::Patch(patch) = step(&wanted(), Some(&older), Serves::Yes) else {
        panic!("not patched")
    };
    assert_eq!(patch["metadata"]["uid"], "u1");
}

/// A world whose host serves metrics, and whose APIService is `found`.
async fn world(found: Option<Value>) -> World {
    let world = World::new().await;
    world.host.script(|call| {
        if call.path.ends_with("/secrets/vcluster-sync") {
            let data = json!({"platform-ca.crt": STANDARD.encode("PEM")});
            return Some(answer(200, json!({"metadata": {}, "data": data})));
        }
        call.path
            .starts_with("/apis/metrics.k8s.io/")
            .then(|| answer(200, json!({"items": []})))
    });
    world
        .virtual_
        .script(move |call| match call.method.as_str() {
            "GET" => Some(match &found {
                Some(found) => answer(200, found.clone()),
                None => status(404, "NotFound"),
            }),
            _ => Some(answer(201, call.body.clone())),
        });
    world
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_unavailable_is_taken_away_and_stays_away() {
    let mut broken = found();
    let condition = json!({"type": "Available", "status": "False", "message": "no route"});
    broken["status"] = json!({"conditions": [condition]});
    let world = world(Some(broken)).await;
    let mut memory = Memory::default();
    look(&world.engine, &world.tenant, &mut memory)
        .await
        .unwrap();
    assert_eq!(world.writes(), [""; 0], "it may come yet");
    tokio::time::advance(PATIENCE).await;
    look(&world.engine, &world.tenant, &mut memory)
        .await
        .unwrap();
    let delete = format!("virtual DELETE {COLLECTION}/{NAME}");
    assert_eq!(world.writes(), [delete]);
    world.virtual_.script(|_call| Some(status(404, "NotFound")));
    look(&world.engine, &world.tenant, &mut memory)
        .await
        .unwrap();
    assert_eq!(world.writes(), [""; 0], "not made again at once");
}

#[tokio::test(start_paused = true)]
async fn another_s_is_left_and_that_is_said_once() {
    let world = world(Some(foreign())).await;
    let mut memory = Memory::default();
    for _ in 0..3 {
        look(&world.engine, &world.tenant, &mut memory)
            .await
            .unwrap();
    }
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/default/events"]
    );
}
