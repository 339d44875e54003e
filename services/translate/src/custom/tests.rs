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
fn a_status_that_is_written_by_itself_is_not_sent_whatever_the_rule_says() {
    let context = context(
        rule(&json!({"hostOwns": ["spec.renewal"], "patches": []})),
        identity(false, true),
    );
    let mut host = to_host(&certificate(), &context).unwrap();
    assert_eq!(host.get("status"), None);
    host["status"] = json!({"url": "another"});
    assert_eq!(
        update_host(&certificate(), &host, &context),
        Ok(Change::None)
    );
}

#[test]
fn what_came_up_is_reversed_once() {
    let with = json!({"patches": [{"path": "status.url", "reverse": "'x' + value"}]});
    let context = context(rule(&with), identity(false, true));
    let mut object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    host["status"] = json!({"url": "new"});
    let up = status_to_virtual(&host, &object, &context).unwrap();
    assert_eq!(up.body["status"], json!({"url": "xnew"}));
    merge(&mut object, &up.body);
    assert_eq!(status_to_virtual(&host, &object, &context), None);
    host.as_object_mut().unwrap().remove("status");
    assert_eq!(status_to_virtual(&host, &object, &context), None);
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
fn what_a_controller_of_the_host_adds_stays_and_what_it_changes_is_put_right() {
    let context = sending();
    let object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    host["spec"]["defaulted"] = json!({"by": "webhook"});
    host["spec"]["services"][2]["protocol"] = "TCP".into();
    host["spec"]["renewal"] = "host's".into();
    host["status"] = json!({"ready": true});
    host["extra"] = json!(1);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    host["spec"]["secretName"] = "changed".into();
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(
        patch.body["spec"],
        json!({"secretName": "tls-x-shop-x-demo"})
    );
}

#[test]
fn what_the_host_makes_of_a_write_is_accepted_until_somebody_changes_it() {
    let context = sending();
    let object = certificate();
    let sent = to_host(&object, &context).unwrap();
    let answer = |changes: &Value| {
        let mut host = sent.clone();
        host["metadata"]["uid"] = "h1".into();
        merge(&mut host, changes);
        host
    };
    let rewritten = json!({"spec": {"commonName": "DEMO.WEB", "services": [{"name": "a"}]}});
    let host = answer(&rewritten);
    let accepted = accept(&object, &host, &sent, &context).unwrap();
    for field in ["spec.commonName", "spec.services"] {
        assert!(accepted.message.contains(field), "{}", accepted.message);
    }
    let mut host = host;
    merge(&mut host, &accepted.patch.body);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    assert_eq!(accept(&object, &host, &sent, &context), None, "once");
    for (changes, is_written) in [
        (
            json!({"spec": {"defaulted": 1, "renewal": "theirs"}, "status": {"ready": true}}),
            false,
        ),
        (json!({"spec": {"commonName": "by.hand"}}), true),
        (json!({"spec": {"services": []}}), true),
        (json!({"spec": {"secretName": "by-hand"}}), true),
        (
            json!({"metadata": {"annotations": {"vcluster.dev/sent": "another"}}}),
            true,
        ),
    ] {
        let mut later = host.clone();
        merge(&mut later, &changes);
        let change = update_host(&object, &later, &context).unwrap();
        assert_eq!(change != Change::None, is_written, "{changes}");
    }
    let mut changed = object.clone();
    changed["spec"]["commonName"] = "other".into();
    assert_ne!(update_host(&changed, &host, &context), Ok(Change::None));
}

#[test]
fn only_what_was_written_is_accepted_and_only_in_its_answer() {
    let context = sending();
    let object = certificate();
    let sent = to_host(&object, &context).unwrap();
    let mut host = sent.clone();
    assert_eq!(accept(&object, &host, &sent, &context), None, "as sent");
    host["spec"]["commonName"] = "DEMO.WEB".into();
    host["spec"]["newerField"] = json!({"kept": false});
    let table = [
        (json!({"spec": {"commonName": "demo.web"}}), false),
        (
            json!({"spec": {"commonName": "demo.web", "newerField": {"kept": true}}}),
            true,
        ),
        (
            json!({"spec": {"commonName": "demo.web", "newerField": null}}),
            true,
        ),
        (
            json!({"spec": {"commonName": {"x": 1}, "newerField": {"kept": true}}}),
            false,
        ),
        (json!({"metadata": {"labels": {"a": "b"}}}), false),
    ];
    for (written, is_accepted) in table {
        let accepted = accept(&object, &host, &written, &context);
        assert_eq!(accepted.is_some(), is_accepted, "{written}");
    }
    // A field that the host leaves out is sent again: its definition may know it one day.
    let mut pruned = host.clone();
    pruned["spec"].as_object_mut().unwrap().remove("newerField");
    assert_eq!(accept(&object, &pruned, &sent, &context), None);
    host["metadata"]["annotations"][to_host::SENT] = "earlier".into();
    assert_eq!(accept(&object, &host, &sent, &context), None);
}

#[test]
fn what_the_host_owns_may_change_in_an_accepted_object() {
    let context = sending();
    let mut object = certificate();
    object["spec"]["renewal"] = "ours".into();
    let sent = to_host(&object, &context).unwrap();
    let mut host = sent.clone();
    host["spec"]["commonName"] = "DEMO.WEB".into();
    let accepted = accept(&object, &host, &sent, &context).unwrap();
    merge(&mut host, &accepted.patch.body);
    host["spec"]["renewal"] = "theirs".into();
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    object["spec"]["renewal"] = "another".into();
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
}

#[test]
fn a_field_that_is_taken_away_inside_is_taken_away_on_the_host() {
    let context = sending();
    let mut object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    object["spec"].as_object_mut().unwrap().remove("newerField");
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(patch.body["spec"], json!({"newerField": null}));
    merge(&mut host, &patch.body);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
}

#[test]
fn what_the_host_owns_comes_up_with_the_names_put_back() {
    let context = sending();
    let object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    host["metadata"]["uid"] = "h1".into();
    host["metadata"]["generation"] = 3.into();
    host["spec"]["renewal"] = "host's".into();
    host["status"] = json!({
        "url": "http:web", "secret": "tls-x-shop-x-demo", "observedGeneration": 3,
        "conditions": [{"message": "team-a/web-x-shop-x-demo is ready: tls-x-shop-x-demo.", "observedGeneration": 2}],
    });
    let first = status_to_virtual(&host, &object, &context).unwrap();
    assert_eq!(first.subresource, None);
    assert_eq!(
        first.body,
        json!({"metadata": {"uid": "u1"}, "spec": {"renewal": "host's"}})
    );
    let mut object = object;
    merge(&mut object, &first.body);
    let second = status_to_virtual(&host, &object, &context).unwrap();
    assert_eq!(
        second.body["status"],
        json!({
            "url": "web", "secret": "tls", "observedGeneration": 7,
            "conditions": [{"message": "shop/web is ready: tls.", "observedGeneration": 2}],
        })
    );
    merge(&mut object, &second.body);
    assert_eq!(status_to_virtual(&host, &object, &context), None);
    // What the host has not said yet takes nothing away.
    host.as_object_mut().unwrap().remove("status");
    assert_eq!(status_to_virtual(&host, &object, &context), None);
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

#[test]
fn objects_of_the_host_namespace_are_shown_in_the_virtual_one_and_no_translations() {
    let rule = rule(
        &json!({"direction": "FromHost", "namespace": "certs", "references": [], "patches": [
            {"path": "spec.note", "reverse": "'shown: ' + value"},
        ]}),
    );
    let context = context(rule, identity(true, true));
    let synced = context.custom.iter().next().unwrap();
    let mut host = certificate();
    host["metadata"]["namespace"] = "team-a".into();
    host["spec"]["note"] = "x".into();
    let shown = Shown::of(&host, synced, &context).unwrap();
    assert_eq!(shown.object["metadata"]["namespace"], "certs");
    assert_eq!(
        shown.object["metadata"]["labels"]["vcluster.dev/managed"],
        "true"
    );
    assert_eq!(shown.object["metadata"].get("finalizers"), None);
    assert_eq!(shown.object["spec"]["note"], "shown: x");
    let mut found = shown.object.clone();
    found["metadata"]["uid"] = "v1".into();
    assert_eq!(shown.difference(&found, synced), None);
    found["spec"]["secretName"] = "tenant's".into();
    assert_eq!(
        shown.difference(&found, synced).unwrap().body["spec"],
        json!({"secretName": "tls"})
    );
    found = shown.object.clone();
    found["status"] = json!({"url": "other"});
    assert_eq!(
        shown.difference(&found, synced).unwrap().body["status"],
        json!({"url": "old"})
    );
    host["metadata"]["annotations"]["vcluster.dev/kind"] = "Certificate.cert-manager.io".into();
    assert_eq!(
        Shown::of(&host, synced, &context),
        None,
        "it is a translation"
    );
}

#[test]
fn what_lives_in_no_namespace_is_shown_only_with_the_administrator_s_label() {
    let rule = rule(&json!({"direction": "FromHost", "references": [], "patches": []}));
    let context = context(rule, identity(true, false));
    let synced = context.custom.iter().next().unwrap();
    let mut host = certificate();
    assert_eq!(Shown::of(&host, synced, &context), None);
    host["metadata"]["labels"]["vcluster.dev/shareable"] = "true".into();
    let shown = Shown::of(&host, synced, &context).unwrap();
    assert_eq!(shown.object["metadata"].get("namespace"), None);
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
