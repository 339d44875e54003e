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

#[test]
fn a_selector_names_only_labels_that_an_object_can_have() {
    let long = "a".repeat(63);
    let (longest, too_long) = (
        format!("{}/{long}", vec!["a"; 127].join(".")),
        "a".repeat(64),
    );
    let labels = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let needs = |key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("a{n}"), json!(""))).collect();
    let cases = [
        (labels("app.kubernetes.io/name", "web"), ""),
        (labels("A_b.c-1", ""), ""),
        (labels(&longest, &long), ""),
        (labels("", "web"), "match_labels"),
        (labels("-a", "web"), "match_labels"),
        (labels("a/b/c", "web"), "match_labels"),
        (labels("Example.com/a", "web"), "match_labels"),
        (labels("a..b/c", "web"), "match_labels"),
        (labels(&format!("b{longest}"), "web"), "match_labels"),
        (labels(&too_long, "web"), "match_labels"),
        (labels("app", &too_long), "match_labels"),
        (labels("app", "not so"), "match_labels"),
        (json!({"matchLabels": many}), "match_labels"),
        (needs("app", json!(["a", ""])), ""),
        (needs("a b", json!(["a"])), "match_expressions[0].key"),
        (needs("app", json!(["a b"])), "match_expressions[0].values"),
        (needs("app", json!([])), "match_expressions[0].values"),
        (
            needs("app", json!(vec!["a"; 65])),
            "match_expressions[0].values",
        ),
        (
            json!({"matchExpressions": vec![json!({"key": "a", "operator": "Exists"}); 17]}),
            "match_expressions",
        ),
    ];
    for (selector, wrong) in cases {
        let policy = json!({"toHost": {"secrets": {"selector": selector}}});
        let policy: SyncPolicy = serde_json::from_value(policy).unwrap();
        let found: Vec<_> = policy
            .violations()
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        let wrong = (!wrong.is_empty()).then(|| format!("to_host[secrets].selector.{wrong}"));
        assert_eq!(found, Vec::from_iter(wrong), "{selector}");
    }
}
