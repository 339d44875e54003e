//! Selectors, affinity and spreading stay within the tenant.

use super::*;

#[test]
fn terms_are_confined_to_the_cluster_and_its_namespaces() {
    let uid = context().cluster_uid;
    let term = |more: Value| {
        let mut term = json!({"topologyKey": "z", "labelSelector": {"matchLabels": {"app": "db"}}});
        let Value::Object(more) = more else { panic!() };
        term.as_object_mut().unwrap().extend(more);
        term
    };
    let app = json!({"key": "label.vcluster.dev/app", "operator": "In", "values": ["db"]});
    let space = |operator: &str, names: &[&str]| json!({"key": "vcluster.dev/namespace", "operator": operator, "values": names});
    let blue =
        json!({"key": "namespace-label.vcluster.dev/team", "operator": "In", "values": ["blue"]});
    let host = |requirements: Value| {
        json!({"topologyKey": "z", "labelSelector": {
            "matchLabels": {"vcluster.dev/cluster-uid": uid}, "matchExpressions": requirements,
        }})
    };
    let blue_selector = json!({"matchLabels": {"team": "blue"}});
    let cases = [
        (json!({}), vec![json!([app, space("In", &["shop"])])]),
        (
            json!({"namespaces": ["a", "b"]}),
            vec![json!([app, space("In", &["a", "b"])])],
        ),
        (json!({"namespaceSelector": {}}), vec![json!([app])]),
        (
            json!({"namespaceSelector": blue_selector}),
            vec![json!([app, blue])],
        ),
        (
            json!({"namespaces": ["a"], "namespaceSelector": {}}),
            vec![json!([app])],
        ),
        (
            json!({"namespaces": ["a"], "namespaceSelector": blue_selector}),
            vec![
                json!([app, space("In", &["a"])]),
                json!([app, blue, space("NotIn", &["a"])]),
            ],
        ),
    ];
    for (more, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(host).collect();
        let spec = host_spec(json!({"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term(more.clone())],
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 7, "podAffinityTerm": term(more.clone())},
            ],
        }}}));
        let anti = &spec["affinity"]["podAntiAffinity"];
        assert_eq!(
            anti["requiredDuringSchedulingIgnoredDuringExecution"],
            json!(expected),
            "{more}"
        );
        let weighted: Vec<_> = expected
            .into_iter()
            .map(|term| json!({"weight": 7, "podAffinityTerm": term}))
            .collect();
        assert_eq!(
            anti["preferredDuringSchedulingIgnoredDuringExecution"],
            json!(weighted),
            "{more}"
        );
    }
    let both = term(json!({"namespaces": ["a"], "namespaceSelector": blue_selector}));
    let refusal = refusal(json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [both],
    }}}));
    assert_eq!(
        refusal.field,
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
    );
}

#[test]
fn a_term_without_a_selector_selects_no_pod_on_either_side() {
    let spec = host_spec(json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z", "namespaces": ["a"]}],
    }}}));
    assert_eq!(
        spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
        json!([{"topologyKey": "z"}])
    );
}

#[test]
fn label_keys_are_merged_once_and_dropped() {
    let spread = |expressions: Value| {
        json!({"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
            "matchLabelKeys": ["app", "missing"],
            "labelSelector": {"matchExpressions": expressions},
        }]})
    };
    let merged = json!([{"key": "app", "operator": "In", "values": ["web"]}]);
    let by_us = host_spec(spread(json!([])));
    let by_the_api_server = host_spec(spread(merged));
    assert_eq!(by_us, by_the_api_server);
    let constraint = &by_us["topologySpreadConstraints"][0];
    assert_eq!(constraint.get("matchLabelKeys"), None);
    assert_eq!(
        constraint["labelSelector"]["matchExpressions"],
        json!([
            {"key": "label.vcluster.dev/app", "operator": "In", "values": ["web"]},
            {"key": "vcluster.dev/namespace", "operator": "In", "values": ["shop"]},
        ])
    );
}

#[test]
fn a_named_node_becomes_a_requirement() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let here = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
    let terms = |affinity: Value| {
        let spec = host_spec(json!({"nodeName": "n1", "affinity": affinity}));
        assert_eq!(spec.get("nodeName"), None);
        spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"].clone()
    };
    assert_eq!(terms(json!({})), json!([{"matchFields": [here]}]));
    assert_eq!(terms(Value::Null), json!([{"matchFields": [here]}]));
    let ssd = json!([{"key": "disk", "operator": "In", "values": ["ssd"]}]);
    let alternatives = json!([{"matchExpressions": ssd}, {}]);
    assert_eq!(
        terms(json!({"nodeAffinity": {required: {"nodeSelectorTerms": alternatives}}})),
        json!([{"matchExpressions": ssd, "matchFields": [here]}, {}])
    );
}
