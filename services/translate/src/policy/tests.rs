//! What a policy withholds, and the kinds that it can name.

use serde_json::json;
use vcluster_resources::sync_policy::{FROM_HOST, MAPPED, SyncPolicy, TO_HOST};

use super::*;
use crate::fixture::context;

fn with(policy: Value) -> Context {
    let policy: SyncPolicy = serde_json::from_value(policy).unwrap();
    assert_eq!(policy.violations(), []);
    Context {
        policy,
        ..context()
    }
}

fn ingress(namespace: &str, app: &str) -> Value {
    json!({"metadata": {"name": "web", "namespace": namespace, "labels": {"app": app}}})
}

#[test]
fn each_part_of_a_policy_withholds_and_says_so() {
    let cases = [
        (json!({}), ""),
        (json!({"ingresses": {}}), ""),
        (json!({"secrets": {"enabled": false}}), ""),
        (json!({"ingresses": {"enabled": false}}), "kind"),
        (json!({"ingresses": {"namespaces": ["shop", "x"]}}), ""),
        (
            json!({"ingresses": {"namespaces": ["x"]}}),
            "metadata.namespace",
        ),
        (
            json!({"ingresses": {"selector": {"matchLabels": {"app": "web"}}}}),
            "",
        ),
        (
            json!({"ingresses": {"selector": {"matchLabels": {"app": "db"}}}}),
            "metadata.labels",
        ),
    ];
    for (to_host, field) in cases {
        let context = with(json!({"toHost": to_host}));
        let refusal = admits(Kind::Ingress, &ingress("shop", "web"), &context).err();
        assert_eq!(
            refusal
                .as_ref()
                .map_or("", |refusal| refusal.field.as_str()),
            field,
            "{to_host}"
        );
        if let Some(refusal) = refusal {
            assert_eq!(refusal.reason, Reason::NotSynced);
            assert!(
                refusal.message.contains("spec.sync.toHost.ingresses"),
                "{refusal}"
            );
        }
    }
}

#[test]
fn a_node_that_runs_pods_is_always_shown() {
    let node = json!({"metadata": {"name": "a", "labels": {"pool": "blue"}}});
    let cases = [
        (json!({}), [true, true]),
        (json!({"nodes": {"policy": "Used"}}), [false, true]),
        (
            json!({"nodes": {"selector": {"matchLabels": {"pool": "blue"}}}}),
            [true, true],
        ),
        (
            json!({"nodes": {"selector": {"matchLabels": {"pool": "red"}}}}),
            [false, true],
        ),
    ];
    for (from_host, shown) in cases {
        let context = with(json!({"fromHost": from_host}));
        let found = [false, true].map(|used| shows_node(&node, used, &context));
        assert_eq!(found, shown, "{from_host}");
    }
}

#[test]
fn a_kind_is_off_that_goes_or_is_shown_nowhere() {
    let off = with(json!({
        "toHost": {"volumesnapshots": {"enabled": false}},
        "fromHost": {"volumesnapshotclasses": {"enabled": false}, "storageclasses": {"enabled": true}},
    }));
    assert!(is_off(Kind::VolumeSnapshot, &off) && is_off(Kind::VolumeSnapshotClass, &off));
    assert!(!is_off(Kind::StorageClass, &off) && !is_off(Kind::Ingress, &off));
}

#[test]
fn the_kinds_of_a_policy_are_those_of_the_table() {
    for plural in TO_HOST {
        let kind = Kind::all().find(|kind| kind.plural() == plural);
        let is_own = crate::own_class::Class::ALL
            .iter()
            .any(|own| Some(own.kind()) == kind);
        assert!(is_own || kind.is_some_and(Kind::is_translated), "{plural}");
    }
    for plural in FROM_HOST {
        let kind = Kind::all().find(|kind| kind.plural() == plural).unwrap();
        let mapped = crate::mapping::KINDS.contains(&kind);
        assert_eq!(mapped, MAPPED.contains(&plural), "{plural}");
        assert!(
            kind.is_mirrored() || kind == Kind::Event || mapped,
            "{plural}"
        );
    }
    // What is told of a volume follows from the claim that has it.
    let left: Vec<_> = Kind::all()
        .filter(|kind| kind.is_mirrored() && !FROM_HOST.contains(&kind.plural()))
        .collect();
    assert_eq!(left, [Kind::PersistentVolume]);
}
