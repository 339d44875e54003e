//! What a policy may say, and what a selector selects.

use serde_json::{Value, json};

use super::*;

fn policy(value: Value) -> SyncPolicy {
    serde_json::from_value(value).unwrap()
}

#[test]
fn every_violation_is_told_by_its_field() {
    let cases = [
        (json!({}), ""),
        (
            json!({"toHost": {"ingresses": {"enabled": false}, "pods": {"namespaces": ["shop"]}},
                "fromHost": {"nodes": {"policy": "Used", "selector": {}}, "events": {"enabled": false}}}),
            "",
        ),
        (json!({"toHost": {"ingress": {}}}), "to_host[ingress]"),
        (
            json!({"toHost": {"pods": {"enabled": false}}}),
            "to_host[pods].enabled",
        ),
        (
            json!({"toHost": {"serviceaccounts": {"enabled": true, "namespaces": ["shop"]}}}),
            "",
        ),
        (
            json!({"toHost": {"priorityclasses": {"enabled": true, "selector": {}}, "storageclasses": {"enabled": true}}}),
            "",
        ),
        (
            json!({"toHost": {"storageclasses": {"enabled": true, "namespaces": ["shop"]}}}),
            "to_host[storageclasses].namespaces",
        ),
        (
            json!({"toHost": {"serviceaccounts": {"enabled": true, "selector": {}}}}),
            "to_host[serviceaccounts].selector",
        ),
        (
            json!({"toHost": {"secrets": {"namespaces": ["Shop"]}}}),
            "to_host[secrets].namespaces",
        ),
        (
            json!({"toHost": {"secrets": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}}),
            "to_host[secrets].selector.match_expressions[0].values",
        ),
        (
            json!({"fromHost": {"nodes": {"enabled": false}}}),
            "from_host[nodes].enabled",
        ),
        (
            json!({"fromHost": {"storageclasses": {"policy": "All"}}}),
            "from_host[storageclasses].policy",
        ),
        (
            json!({"fromHost": {"events": {"selector": {}}}}),
            "from_host[events].selector",
        ),
        (
            json!({"fromHost": {"persistentvolumes": {}}}),
            "from_host[persistentvolumes]",
        ),
    ];
    for (value, field) in cases {
        assert_violates(&value, field);
    }
}

#[test]
fn every_mapping_that_is_wrong_is_told_by_its_field() {
    let cases = [
        (
            json!({"fromHost": {"secrets": {"mappings": [
                {"from": {"name": "a"}, "to": {"namespace": "shop", "name": "a"}},
                {"from": {"namespace": "infra", "name": "b"}, "to": {"namespace": "shop", "name": "b"}},
            ]}},
            "toHost": {"services": {"mappings": [
                {"from": {"namespace": "shop", "name": "web"}, "to": {"name": "shop-web"}},
            ]}}}),
            "",
        ),
        (
            json!({"fromHost": {"secrets": {"mappings": [
                {"from": {"name": "vcluster-pki"}, "to": {"namespace": "shop", "name": "a"}},
            ]}}}),
            "from_host[secrets].mappings[0].from.name",
        ),
        (
            json!({"fromHost": {"configmaps": {"mappings": [
                {"from": {"name": "a"}, "to": {"namespace": "shop", "name": "x"}},
                {"from": {"name": "b"}, "to": {"namespace": "shop", "name": "x"}},
            ]}}}),
            "from_host[configmaps].mappings",
        ),
        (
            json!({"fromHost": {"configmaps": {"enabled": true}}}),
            "from_host[configmaps]",
        ),
        (
            json!({"fromHost": {"nodes": {"mappings": [
                {"from": {"name": "a"}, "to": {"namespace": "shop", "name": "x"}},
            ]}}}),
            "from_host[nodes].mappings",
        ),
        (
            json!({"toHost": {"secrets": {"mappings": [
                {"from": {"namespace": "shop", "name": "web"}, "to": {"name": "web"}},
            ]}}}),
            "to_host[secrets].mappings",
        ),
        (
            json!({"toHost": {"services": {"mappings": [
                {"from": {"namespace": "shop", "name": "web"}, "to": {"name": "a-x-b"}},
            ]}}}),
            "to_host[services].mappings[0].to.name",
        ),
    ];
    for (value, field) in cases {
        assert_violates(&value, field);
    }
}

/// The policy is wrong in that field and in no other, or not at all.
#[track_caller]
fn assert_violates(value: &Value, field: &str) {
    let found = policy(value.clone()).violations();
    let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
    let wanted = Vec::from_iter((!field.is_empty()).then_some(field));
    assert_eq!(fields, wanted, "{value}");
}

#[test]
fn the_messages_name_every_kind_that_can_be_given() {
    for kind in TO_HOST {
        assert!(TO_HOST_ONLY.contains(kind), "{kind}");
    }
    for kind in FROM_HOST {
        assert!(FROM_HOST_ONLY.contains(kind), "{kind}");
    }
}

#[test]
fn a_selector_selects_as_kubernetes_does() {
    let labels = [("app", "web"), ("tier", "")];
    let label = |key: &str| {
        let found = labels.iter().find(|(label, _)| *label == key);
        found.map(|(_, value)| *value)
    };
    let expression = |operator: &str, key: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let cases = [
        (json!({}), true),
        (json!({"matchLabels": {"app": "web"}}), true),
        (json!({"matchLabels": {"app": "web", "tier": "x"}}), false),
        (expression("In", "app", &["db", "web"]), true),
        (expression("In", "other", &["web"]), false),
        (expression("NotIn", "app", &["web"]), false),
        (expression("NotIn", "other", &["web"]), true),
        (expression("Exists", "tier", &[]), true),
        (expression("Exists", "other", &[]), false),
        (expression("DoesNotExist", "tier", &[]), false),
        (expression("DoesNotExist", "other", &[]), true),
    ];
    for (selector, selected) in cases {
        let found: Selector = serde_json::from_value(selector.clone()).unwrap();
        assert_eq!(found.matches(label), selected, "{selector}");
    }
}
