//! What is learnt of definitions, and what becomes of the copy.

use vcluster_resources::custom_resource::{CustomResource, compile};

use super::*;

mod versions;

fn host() -> Value {
    json!({
        "metadata": {
            "name": "certificates.cert-manager.io", "uid": "h",
            "annotations": {"cert-manager.io/inject-ca-from": "x/y"}, "labels": {"app": "cert-manager"},
        },
        "spec": {
            "group": "cert-manager.io", "scope": "Namespaced",
            "names": {"kind": "Certificate", "plural": "certificates", "shortNames": ["cert"]},
            "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "w"}}}},
            "versions": [
                {"name": "v1alpha2", "served": false, "storage": false, "schema": {}},
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                    "additionalPrinterColumns": [{"name": "Ready", "type": "string", "jsonPath": ".x"}]},
                {"name": "v2", "served": true, "storage": false, "schema": {}},
            ],
        },
    })
}

fn known() -> Arc<Value> {
    Arc::new(prune(&host()))
}

fn rule(with: &Value) -> Rule {
    let mut rule = json!({
        "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
    });
    for (key, value) in with.as_object().unwrap() {
        rule[key] = value.clone();
    }
    let rule: CustomResource = serde_json::from_value(rule).unwrap();
    compile(&[rule]).0.remove(0)
}

#[test]
fn the_copy_has_one_version_and_no_webhook() {
    let learnt = learn(&known(), &rule(&json!({}))).unwrap();
    assert_eq!(learnt.identity.kind, "Certificate");
    assert!(learnt.has_status && learnt.identity.is_namespaced && !learnt.identity.comes_from_host);
    insta::assert_json_snapshot!("copy", learnt.copy("c1"));
}

#[test]
fn the_kind_of_a_definition_is_that_of_its_stored_version_or_of_one_that_is_served() {
    let mut host = host();
    let version = |host: &Value| stored(host).map(|kind| kind.version);
    assert_eq!(version(&host).as_deref(), Some("v1"));
    host["spec"]["versions"][1]["served"] = false.into();
    assert_eq!(version(&host).as_deref(), Some("v2"));
    host["spec"]["versions"][2]["served"] = false.into();
    assert_eq!(version(&host), None);
    host["spec"]["versions"][2]["served"] = true.into();
    host["spec"]["scope"] = "Cluster".into();
    assert_eq!(version(&host), None);
}

#[test]
fn a_rule_that_the_definition_does_not_fit_is_told_why() {
    let mut cluster = host();
    cluster["spec"]["scope"] = "Cluster".into();
    for (host, with, says) in [
        (&host(), json!({"version": "v1alpha2"}), "it serves v1, v2"),
        (
            &host(),
            json!({"direction": "FromHost"}),
            "must name the virtual namespace",
        ),
        (&cluster, json!({}), "only be shown"),
        (
            &cluster,
            json!({"direction": "FromHost", "namespace": "x"}),
            "must name none",
        ),
        (&json!({}), json!({}), "cannot be read"),
    ] {
        let error = learn(&Arc::new(host.clone()), &rule(&with))
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_copy_is_made_kept_and_never_put_in_the_place_of_the_tenant_s_own() {
    let learnt = learn(&known(), &rule(&json!({}))).unwrap();
    assert_eq!(step(None, &learnt, "c1"), Step::Create(learnt.copy("c1")));
    let mut found = learnt.copy("c1");
    found["metadata"]["uid"] = "v".into();
    // As an API server fills it in.
    found["spec"]["names"]["singular"] = "certificate".into();
    assert_eq!(step(Some(&found), &learnt, "c1"), Step::Wait);
    found["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
    assert_eq!(step(Some(&found), &learnt, "c1"), Step::Ready);
    found["spec"]["versions"][0]["schema"] = json!({});
    let Step::Patch(patch) = step(Some(&found), &learnt, "c1") else {
        panic!("not patched")
    };
    assert_eq!(patch.body["metadata"]["uid"], "v");
    // Of an earlier virtual cluster of that name, or the tenant's.
    found["metadata"]["annotations"] = json!({});
    assert_eq!(step(Some(&found), &learnt, "c1"), Step::Own);
    found["spec"]["versions"][0]["name"] = "v9".into();
    assert_eq!(step(Some(&found), &learnt, "c1"), Step::Unfit);
}

#[test]
fn who_converts_a_definition_s_versions_is_no_change_of_it() {
    let mut renewed = host();
    renewed["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = "new".into();
    renewed["metadata"]["resourceVersion"] = "9".into();
    let renewed = Arc::new(prune(&renewed));
    let learn = |host: &Arc<Value>| learn(host, &rule(&json!({}))).unwrap();
    assert_eq!(learn(&renewed), learn(&known()));
}
