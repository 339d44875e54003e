//! Tables of what rules do to objects, both ways, and properties of it.

use proptest::prelude::*;
use serde_json::{Value, json};
use vcluster_resources::custom_resource::{CustomResource, compile};

use super::*;
use crate::{
    Change, Context, Kind,
    fixture::context as plain,
    kind::Translation,
    plan::{self, Action, Knowledge, View},
};

mod shown;
mod status;
mod update;

fn rule(with: &Value) -> Rule {
    let mut rule = json!({
        "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
        "references": [
            {"path": "spec.secretName", "kind": "Secret", "made": "ByHost"},
            {"path": "spec.password.name", "kind": "Secret"},
            {"path": "spec.services[*].name", "kind": "Service"},
            {"path": "spec.issuerRef.name", "kind": "ConfigMap", "when": "object.spec.issuerRef.kind == 'Issuer'"},
        ],
        "patches": [
            {"path": "spec.commonName", "expression": "value == null ? null : cluster.name + '.' + value"},
            {"path": "status.url", "reverse": "value.substring(5)"},
        ],
        "hostOwns": ["status", "spec.renewal"],
    });
    for (key, value) in with.as_object().unwrap() {
        rule[key] = value.clone();
    }
    let rules: Vec<CustomResource> = vec![serde_json::from_value(rule).unwrap()];
    let (rules, findings) = compile(&rules);
    assert_eq!(findings, []);
    rules[0].clone()
}

fn identity(from_host: bool, is_namespaced: bool) -> Identity {
    Identity {
        group: "cert-manager.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Certificate".to_owned(),
        plural: "certificates".to_owned(),
        is_namespaced,
        comes_from_host: from_host,
    }
}

fn context(rule: Rule, identity: Identity) -> Context {
    let synced = Synced {
        kind: Custom::leak(identity),
        rule,
        has_status: true,
        may_name_namespaces: false,
    };
    Context {
        custom: [synced].into_iter().collect(),
        ..plain()
    }
}

fn sending() -> Context {
    context(rule(&json!({})), identity(false, true))
}

fn kind(context: &Context) -> Kind {
    Kind::Custom(context.custom.iter().next().unwrap().kind)
}

fn certificate() -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "u1", "generation": 7, "labels": {"app": "web"},
            "annotations": {"example.com/x": "y", "vcluster.dev/z": "no"}, "finalizers": ["f"],
            "ownerReferences": [{"name": "o"}],
        },
        "spec": {
            "secretName": "tls", "password": {"name": "pass", "key": "k"}, "commonName": "web",
            "services": [{"name": "a"}, {"name": "9b"}, {"port": 1}],
            "issuerRef": {"name": "ca", "kind": "ClusterIssuer"},
            "renewal": "theirs",
            "newerField": {"kept": true},
        },
        "status": {"url": "old"},
    })
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

#[test]
fn references_and_patches_are_rewritten_and_everything_else_passes() {
    let context = sending();
    insta::assert_json_snapshot!("certificate", to_host(&certificate(), &context).unwrap());
}

#[test]
fn a_reference_with_a_condition_is_one_where_it_holds() {
    let context = sending();
    let mut object = certificate();
    object["spec"]["issuerRef"]["kind"] = "Issuer".into();
    let host = to_host(&object, &context).unwrap();
    assert_eq!(host["spec"]["issuerRef"]["name"], "ca-x-shop-x-demo");
    let used: Vec<_> = references(&object, &context)
        .into_iter()
        .map(|used| (used.kind, used.name))
        .collect();
    let wanted = [
        (Kind::Secret, "tls"),
        (Kind::Secret, "pass"),
        (Kind::ConfigMap, "ca"),
    ];
    assert_eq!(used, wanted.map(|(kind, name)| (kind, name.to_owned())));
    let made: Vec<_> = made_by_host(&object, &context)
        .into_iter()
        .map(|used| used.name)
        .collect();
    assert_eq!(made, ["tls"]);
}

#[test]
fn what_cannot_be_translated_is_refused_by_field() {
    let context = sending();
    for (change, says) in [
        (
            json!({"spec": {"secretName": 7}}),
            "spec.secretName: must be the name",
        ),
        (
            json!({"spec": {"issuerRef": null}}),
            "spec.issuerRef.name: the condition",
        ),
        (
            json!({"spec": {"commonName": 7}}),
            "spec.commonName: its patch",
        ),
        (
            json!({"spec": {"other": "vcluster-pki"}}),
            "spec.other: must not name",
        ),
        (
            json!({"spec": {"list": [{"ref": "team-a/vcluster-kubeconfig"}]}}),
            "spec.list[0].ref: must not name",
        ),
        (
            json!({"spec": {"claim": "data-demo-0"}}),
            "spec.claim: must not name",
        ),
        (
            json!({"data": {"account": "vcluster-sync"}}),
            "data.account: must not name",
        ),
        (
            json!({"spec": {"secrets": {"vcluster-pki": {}}}}),
            "spec.secrets.vcluster-pki: must not name",
        ),
        (
            json!({"spec": {"values": "{\"secretName\":\"vcluster-gateway\"}"}}),
            "spec.values: must not name \"vcluster-gateway\"",
        ),
        (
            json!({"spec": {"host": "vcluster-dns.team-a.svc"}}),
            "spec.host: must not name",
        ),
        (
            json!({"spec": {"ref": {"name": "x", "namespace": "shop"}}}),
            "spec.ref.namespace: must not name namespace \"shop\"",
        ),
        (
            json!({"spec": {"targetNamespace": "other"}}),
            "spec.targetNamespace: must not name namespace \"other\"",
        ),
        (
            json!({"spec": {"namespaces": ["team-a", "other"]}}),
            "spec.namespaces: must not name namespace \"other\"",
        ),
        (json!({"kind": "Other"}), "kind: has no rule"),
    ] {
        let mut object = certificate();
        merge(&mut object, &change);
        let refusal = to_host(&object, &context).unwrap_err().to_string();
        assert!(refusal.starts_with(says), "{refusal}");
    }
}

#[test]
fn a_namespace_is_named_that_is_the_host_namespace_or_that_the_administrator_allows() {
    let with =
        json!({"patches": [{"path": "spec.ref.namespace", "expression": "cluster.namespace"}]});
    let patched = context(rule(&with), identity(false, true));
    let mut object = certificate();
    object["spec"]["ref"] = json!({"namespace": "shop"});
    let host = to_host(&object, &patched).unwrap();
    assert_eq!(host["spec"]["ref"]["namespace"], "team-a");
    let allowed = Synced {
        may_name_namespaces: true,
        ..sending().custom.iter().next().unwrap().clone()
    };
    let allowing = Context {
        custom: [allowed].into_iter().collect(),
        ..plain()
    };
    let host = to_host(&object, &allowing).unwrap();
    assert_eq!(host["spec"]["ref"]["namespace"], "shop");
}

#[test]
fn a_custom_object_goes_the_way_of_every_kind() {
    let context = sending();
    let kind = kind(&context);
    let Translation::ToHost(rules) = &kind.description().translation else {
        panic!("not to the host")
    };
    let object = certificate();
    let see = |object, host, knowledge| {
        let view = View {
            object,
            host,
            needed: true,
            knowledge,
        };
        plan::to_host(kind, rules, view, &context)
    };
    assert!(matches!(
        see(Some(&object), None, Knowledge::Partial),
        Action::Wait(_)
    ));
    let Action::Create(mut host) = see(Some(&object), None, Knowledge::Complete) else {
        panic!("not made")
    };
    host["metadata"]["uid"] = "h1".into();
    assert_eq!(
        see(Some(&object), Some(&host), Knowledge::Complete),
        Action::Nothing
    );
    assert!(matches!(
        see(None, Some(&host), Knowledge::Partial),
        Action::Wait(_)
    ));
    assert!(matches!(
        see(None, Some(&host), Knowledge::Complete),
        Action::DeleteHost(_)
    ));
    // What an earlier rule showed of the host's does not go there.
    let mut shown = object.clone();
    shown["metadata"]["labels"] = json!({"vcluster.dev/managed": "true"});
    shown["metadata"]["annotations"] = json!({"vcluster.dev/cluster-uid": context.cluster_uid});
    assert_eq!(
        see(Some(&shown), None, Knowledge::Complete),
        Action::Nothing
    );
    // Another kind of that name, a Service of Knative say, is another one's.
    let mut another = host.clone();
    another["metadata"]["annotations"]["vcluster.dev/kind"] = "Certificate".into();
    let (object, another) = (Some(&object), Some(&another));
    assert_eq!(see(None, another, Knowledge::Complete), Action::Nothing);
    assert!(matches!(
        see(object, another, Knowledge::Complete),
        Action::Refuse(_)
    ));
}

fn arbitrary() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|all| all.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_the_object_holds_the_way_ends_and_a_second_look_changes_nothing(
        spec in arbitrary(), status in arbitrary(), theirs in arbitrary(),
    ) {
        let context = sending();
        let mut object = certificate();
        object["spec"]["more"] = spec;
        object["status"] = status.clone();
        if let Ok(mut host) = to_host(&object, &context) {
            host["metadata"]["uid"] = "h1".into();
            prop_assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
            host["status"] = theirs;
            for _ in 0..2 {
                if let Some(patch) = status_to_virtual(&host, &object, &context) {
                    merge(&mut object, &patch.body);
                }
            }
            // A null and nothing are the same to an API server, and a merge cannot write one.
            let again = status_to_virtual(&host, &object, &context);
            let has_null = host["status"].to_string().contains("null");
            prop_assert!(has_null || again.is_none(), "{:?}", again);
            prop_assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
        }
    }
}
