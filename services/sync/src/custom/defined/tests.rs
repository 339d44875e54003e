//! When a kind is followed that a definition of the host defines.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{Method, Response};
use serde_json::{Value, json};
use vcluster_chassis::testing::json as answer;

use super::*;
use crate::object::Key;
use crate::testing::{World, status};

const KIND: Kind = Kind::VolumeSnapshot;
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OBJECTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots";

fn definition() -> Value {
    json!({
        "metadata": {
            "name": "volumesnapshots.snapshot.storage.k8s.io", "uid": "1",
            "annotations": {"api-approved.kubernetes.io": "https://example.com"},
        },
        "spec": {
            "group": "snapshot.storage.k8s.io", "scope": "Namespaced",
            "names": {"kind": "VolumeSnapshot", "plural": "volumesnapshots"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}},
                {"name": "v1beta1", "served": true, "storage": false},
            ],
            "conversion": {"strategy": "Webhook"},
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    })
}

#[tokio::test(start_paused = true)]
async fn a_host_without_the_kind_is_asked_again_and_keeps_nothing_waiting() {
    let world = World::unlisted();
    let (asked, token) = (AtomicUsize::new(0), world.tenant.token.clone());
    world.virtual_.script(|_call| Some(status(404, "NotFound")));
    world.host.script(move |_call| {
        if asked.fetch_add(1, Ordering::Relaxed) == 2 {
            token.cancel();
        }
        Some(status(404, "NotFound"))
    });
    let (engine, tenant) = (Arc::clone(&world.engine), Arc::clone(&world.tenant));
    kind(engine, tenant, KIND).await;
    let unlisted = world.tenant.unlisted();
    assert!(!unlisted.contains(&(Side::Virtual, KIND)));
    assert!(!world.tenant.state().is_served(Side::Virtual, KIND));
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_host_s_definition_is_copied_and_the_objects_are_followed() {
    let world = World::unlisted();
    let name = definition()["metadata"]["name"].clone();
    let of_definition = format!("{DEFINITIONS}/{}", name.as_str().unwrap());
    let path = of_definition.clone();
    world
        .host
        .script(move |call| (call.path == path).then(|| answer(200, definition())));
    let (is_there, token) = (AtomicBool::new(false), world.tenant.token.clone());
    world.virtual_.script(move |call| {
        let served = is_there.load(Ordering::Relaxed);
        if call.method == Method::POST && call.path == DEFINITIONS {
            is_there.store(true, Ordering::Relaxed);
            return Some(answer(201, call.body.clone()));
        }
        if call.path == of_definition && served {
            let mut found = definition();
            found["metadata"]["labels"] = json!({"somebody": "else's"});
            return Some(answer(200, found));
        }
        if call.path != OBJECTS || !served {
            return Some(status(404, "NotFound"));
        }
        if call.query.contains("watch=true") {
            token.cancel();
            return Some(Response::new(String::new()));
        }
        let one =
            json!({"metadata": {"name": "a", "namespace": "shop", "uid": "1", "resourceVersion": "1"}});
        Some(answer(
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": [one]}),
        ))
    });
    let (engine, tenant) = (Arc::clone(&world.engine), Arc::clone(&world.tenant));
    kind(engine, tenant, KIND).await;
    assert_eq!(world.writes(), [format!("virtual POST {DEFINITIONS}")]);
    let bodies = world.virtual_.bodies();
    let made = bodies
        .iter()
        .find(|body| body["kind"] == "CustomResourceDefinition");
    let spec = &made.unwrap()["spec"];
    assert_eq!(spec["versions"].as_array().unwrap().len(), 1);
    assert_eq!(spec["conversion"], json!({"strategy": "None"}));
    let state = world.tenant.state();
    assert!(state.is_served(Side::Virtual, KIND) && state.is_listed(Side::Virtual, KIND));
    let key = Key::new(KIND, "shop", "a");
    assert!(state.entry(&key).virtual_.seen.is_some());
}
