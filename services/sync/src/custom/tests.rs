//! Which rules can be followed, and why not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vcluster_chassis::testing::json as answer;
use vcluster_resources::VirtualCluster;

use super::*;
use crate::testing::{World, status};

fn definition() -> Value {
    json!({
        "metadata": {"name": "certificates.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io", "scope": "Namespaced",
            "names": {"kind": "Certificate", "plural": "certificates"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {}}],
        },
    })
}

fn rule(with: &Value) -> Value {
    let mut rule = json!({
        "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
    });
    for (key, value) in with.as_object().unwrap() {
        rule[key] = value.clone();
    }
    rule
}

fn cluster(rules: &Value) -> VirtualCluster {
    serde_json::from_value(json!({
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": {"name": "demo", "namespace": "team-a", "uid": "cluster-uid"},
        "spec": {"sync": {"customResources": rules}},
    }))
    .unwrap()
}

fn world(allowed: &[&str]) -> World {
    let mut world = World::unlisted();
    let engine = Arc::get_mut(&mut world.engine).unwrap();
    let allowed = allowed.iter().map(|kind| kind.parse::<Kind>().unwrap());
    engine.config.custom_resources = allowed.collect();
    world.host.script(|call| {
        call.path
            .ends_with("/customresourcedefinitions/certificates.cert-manager.io")
            .then(|| answer(200, definition()))
    });
    world
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_followed_that_is_allowed_and_whose_kind_the_host_has() {
    let world = world(&["certificates.cert-manager.io"]);
    let resolved = resolve(&world.engine, &cluster(&json!([rule(&json!({}))]))).await;
    assert_eq!(resolved.problems, BTreeMap::new());
    assert_eq!(resolved.to_string(), "certificates.cert-manager.io");
    assert!(!resolved.kinds.is_partial());
    tokio::time::advance(Duration::from_mins(1)).await;
    world.host.take_calls();
    let later = resolve(&world.engine, &cluster(&json!([rule(&json!({}))]))).await;
    assert_eq!(resolved, later, "what is read again is the same");
    let again = resolve(&world.engine, &cluster(&json!([rule(&json!({}))]))).await;
    assert_eq!(resolved, again, "nobody is taken up anew for nothing");
    assert_eq!(
        world.host.take_calls().len(),
        1,
        "tenants share what is read"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_not_followed_is_told_with_what_to_do_and_the_others_are() {
    let names = [
        "certificates.cert-manager.io",
        "orders.acme.io",
        "shelves.test.io=FromHost",
    ];
    let world = world(&names);
    let bad = json!({"plural": "issuers", "patches": [{"path": "spec.x", "expression": "1 +"}]});
    let resolved = resolve(
        &world.engine,
        &cluster(&json!([
            rule(&json!({})),
            rule(&bad),
            rule(&json!({"group": "other.io"})),
            rule(&json!({"group": "acme.io", "plural": "orders"})),
            rule(&json!({"group": "test.io", "plural": "shelves"})),
            rule(&json!({"group": "snapshot.storage.k8s.io", "plural": "volumesnapshots"})),
        ])),
    )
    .await;
    assert_eq!(resolved.to_string(), "certificates.cert-manager.io");
    for (name, says) in [
        (
            "issuers.cert-manager.io",
            "spec.sync.customResources[1].patches[0].expression",
        ),
        (
            "certificates.other.io",
            "sync.customResources must list {group: other.io, plural: certificates}",
        ),
        ("orders.acme.io", "no CustomResourceDefinition"),
        ("shelves.test.io", "only with direction FromHost"),
        (
            "volumesnapshots.snapshot.storage.k8s.io",
            "synced without a rule",
        ),
    ] {
        let said = resolved.problems[name].to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_concluded_from_a_host_that_cannot_be_asked() {
    let world = world(&["certificates.cert-manager.io"]);
    world
        .host
        .script(|_call| Some(status(503, "ServiceUnavailable")));
    let resolved = resolve(&world.engine, &cluster(&json!([rule(&json!({}))]))).await;
    assert!(!resolved.is_certain() && resolved.problems.len() == 1);
    assert!(
        resolved.kinds.is_partial(),
        "nobody knows what its objects use"
    );
}

#[test]
fn what_is_allowed_is_plural_and_group() {
    for good in [
        "a.b",
        "certificates.cert-manager.io",
        "x.y.z=FromHost",
        "x.y=OtherNamespaces",
    ] {
        assert!(good.parse::<Kind>().is_ok(), "{good}");
    }
    for bad in ["", "pods", "A.b", "*.b", "a.b=ToHost", "a.b c"] {
        assert_eq!(bad.parse::<Kind>(), Err(Malformed), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_earlier_rules_made_is_of_a_kind_that_may_be_written() {
    let world = world(&[
        "certificates.cert-manager.io",
        "orders.acme.io",
        "shelves.test.io=FromHost",
    ]);
    let kinds = writable(&world.engine).await;
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(
        names,
        ["Certificate.cert-manager.io"],
        "the host has no orders"
    );
    let rules = cluster(&json!([rule(&json!({}))]));
    let synced = resolve(&world.engine, &rules).await.kinds;
    assert_eq!(kinds, [Table::Custom(synced.iter().next().unwrap().kind)]);
}
