//! The requests by which a copy comes to be as it should be.

use std::sync::Arc;

use serde_json::json;
use vcluster_chassis::testing::json as answer;
use vcluster_resources::custom_resource::{CustomResource, compile};

use super::*;
use crate::testing::World;

const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/certificates.cert-manager.io";

fn learnt(version: &str) -> Learnt {
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let host = json!({
        "metadata": {"name": "certificates.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io", "scope": "Namespaced",
            "names": {"kind": "Certificate", "plural": "certificates"},
            "versions": [
                {"name": "v1alpha2", "served": true, "storage": false, "schema": schema},
                {"name": "v1", "served": true, "storage": true, "schema": schema},
            ],
        },
    });
    let rule: CustomResource = serde_json::from_value(json!({
        "group": "cert-manager.io", "version": version, "plural": "certificates", "direction": "ToHost",
    }))
    .unwrap();
    definition::learn(&Arc::new(host), &compile(&[rule]).0[0]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_another_version_is_patched_and_keeps_the_one_in_which_objects_are_stored() {
    let world = World::unlisted();
    let mut found = learnt("v1alpha2").copy(&world.tenant.context.cluster_uid);
    found["metadata"]["uid"] = "v".into();
    found["status"] = json!({
        "conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1alpha2"],
    });
    world.virtual_.script(move |call| {
        let mut answered = found.clone();
        if call.method == Method::PATCH {
            answered["spec"]["versions"] = call.body["spec"]["versions"].clone();
        }
        (call.path == DEFINITION).then(|| answer(200, answered))
    });
    let there = ensure(&world.tenant, &learnt("v1")).await.unwrap();
    assert_eq!(there, There::Copied);
    assert_eq!(world.writes(), [format!("virtual PATCH {DEFINITION}")]);
    let bodies = world.virtual_.bodies();
    let patch = bodies.iter().find(|body| body.get("spec").is_some());
    let patch = patch.unwrap();
    assert_eq!(patch["metadata"], json!({"uid": "v"}));
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    assert_eq!(
        patch["spec"]["versions"],
        json!([
            {"name": "v1", "served": true, "storage": true, "schema": schema},
            {"name": "v1alpha2", "served": false, "storage": false, "schema": schema},
        ])
    );
    assert_eq!(patch["spec"]["conversion"], json!({"strategy": "None"}));
}
