//! Namespaces that are selected.

use super::*;

/// Whether a Certificate with this under this key of its spec goes to the host.
fn passes(key: &str, value: &Value, context: &Context) -> Result<(), String> {
    let mut object = certificate();
    object["spec"]["endpoint"] = json!({key: value});
    let made = to_host(&object, context);
    made.map(|_| ()).map_err(|refusal| refusal.to_string())
}

#[test]
fn namespaces_are_selected_only_if_that_is_the_host_namespace_alone() {
    let own = json!({"kubernetes.io/metadata.name": "team-a"});
    let by_name = |operator: &str, values: &Value| {
        json!({"matchExpressions": [
            {"key": "x", "operator": "Exists"},
            {"key": "kubernetes.io/metadata.name", "operator": operator, "values": values},
        ]})
    };
    let table = [
        (json!(null), true),
        (json!({"matchNames": ["team-a"]}), true),
        (
            json!({"any": false, "matchNames": ["team-a", "team-a"]}),
            true,
        ),
        (json!({"matchLabels": own}), true),
        (
            json!({"matchLabels": {"kubernetes.io/metadata.name": "team-a", "x": "y"}}),
            true,
        ),
        (by_name("In", &json!(["team-a"])), true),
        (json!({}), false),
        (json!({"any": true}), false),
        (json!({"any": true, "matchNames": ["team-a"]}), false),
        (json!({"any": "true", "matchNames": ["team-a"]}), false),
        (json!({"any": false}), false),
        (json!({"matchNames": []}), false),
        (json!({"matchNames": ["team-a", "other"]}), false),
        (json!({"matchNames": ["team-a"], "matchLabels": own}), false),
        (
            json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}}),
            false,
        ),
        (json!({"matchLabels": {"team": "a"}}), false),
        (json!({"matchLabels": own, "matchRegex": ".*"}), false),
        (by_name("In", &json!(["team-a", "other"])), false),
        (by_name("In", &json!([])), false),
        (by_name("NotIn", &json!(["team-a"])), false),
        (json!([own]), false),
        (json!("all()"), false),
        (json!(true), false),
    ];
    let context = sending();
    let keys = [
        "namespaceSelector",
        "serviceMonitorNamespaceSelector",
        "NamespaceSelector",
        "namespaceSelectors",
    ];
    for (selector, is_own) in table {
        for key in keys {
            match passes(key, &selector, &context) {
                Ok(()) => assert!(is_own, "{key}: {selector}"),
                Err(said) => {
                    assert!(!is_own, "{key}: {selector}: {said}");
                    let field = format!("spec.endpoint.{key}: must not select namespaces");
                    assert!(said.starts_with(&field), "{said}");
                    for word in ["leave it out", "{matchNames: [team-a]}", "otherNamespaces"] {
                        assert!(said.contains(word), "{said}");
                    }
                }
            }
        }
    }
    let plain = json!({"matchLabels": {"app": "web"}});
    assert_eq!(passes("selector", &plain, &context), Ok(()));
}

#[test]
fn a_rule_may_have_the_host_namespace_selected_and_the_administrator_allow_others() {
    let any = json!({"any": true});
    let with = json!({"patches": [
        {"path": "spec.endpoint.namespaceSelector", "expression": "{'matchNames': [cluster.namespace]}"},
    ]});
    let patched = context(rule(&with), identity(false, true));
    assert_eq!(passes("namespaceSelector", &any, &patched), Ok(()));
    let allowed = Synced {
        may_name_namespaces: true,
        ..sending().custom.iter().next().unwrap().clone()
    };
    let allowing = Context {
        custom: [allowed].into_iter().collect(),
        ..plain()
    };
    assert_eq!(passes("namespaceSelector", &any, &allowing), Ok(()));
}

#[test]
fn a_name_within_a_text_is_not_known_for_a_namespace_s() {
    let context = sending();
    assert_eq!(passes("source", &json!("other/web"), &context), Ok(()));
}
