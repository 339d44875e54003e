//! What would take the fences down, or reach objects of others by rules and mappings.

use integration_tests::{Tenant, eventually};
use serde_json::{Value, json};

use crate::{object::object, victim::Victim};

const GADGETS: &str = "gadgets.test.vcluster.dev";

/// Deletes every webhook and policy that an administrator inside can see. What keeps the tenant is a file of
/// the API server's, so that every row that is tried afterwards says whether it is still in force.
pub(crate) fn disarm(mallory: &Tenant) {
    for kind in [
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ] {
        mallory.kubectl(&format!("delete {kind} --all")).run();
    }
    // Nor does one of the tenant's own stand in for it, under the very name.
    let own = json!({"webhooks": [{
        "name": "services.vcluster.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "failurePolicy": "Ignore", "clientConfig": {"url": "https://192.0.2.1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["DELETE"]}],
    }]});
    let own = object(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "services.vcluster.dev",
        &own,
    );
    mallory.kubectl("create -f -").input(own.to_string()).run();
}

fn conditions_say(mallory: &Tenant, words: &[&str]) {
    let (name, namespace) = (&mallory.name, &mallory.namespace);
    eventually(&format!("the conditions say {words:?}"), || {
        let args = format!("-n {namespace} get virtualcluster {name} -o json");
        let found = mallory.host().kubectl(&args).json()["status"]["conditions"].to_string();
        let says = words.iter().all(|word| found.contains(word));
        says.then_some(()).ok_or(found)
    });
}

/// A mapping of another's Secret shows nothing, and says whose right is missing.
pub(crate) fn maps_nothing_of_others(mallory: &Tenant, victim: &Victim) {
    let crown = "crown-x-default-x-victim";
    let mapping = json!({
        "from": {"namespace": victim.namespace, "name": crown},
        "to": {"namespace": "default", "name": "stolen"},
    });
    let mapped = json!({"fromHost": {"secrets": {"mappings": [mapping]}}});
    mallory.patch_sync(&mapped).ok();
    conditions_say(mallory, &[crown, "vcluster-sync may not get it"]);
    mallory.kubectl("get secret stolen").refused(&["NotFound"]);
    mallory.patch_sync(&json!({"fromHost": null})).ok();
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": GADGETS},
        "spec": {
            "group": "test.vcluster.dev", "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// A custom resource that names another's object names one of the tenant's own on the host.
pub(crate) fn custom_resources_name_only_own(mallory: &Tenant) {
    let host = mallory.host();
    host.kubectl("apply --server-side -f -")
        .input(definition().to_string())
        .ok();
    host.kubectl(&format!(
        "wait --for=condition=Established crd/{GADGETS} --timeout=60s"
    ))
    .ok();
    let rule = json!({
        "group": "test.vcluster.dev", "version": "v1", "plural": "gadgets", "direction": "ToHost",
        "references": [{"path": "spec.secret", "kind": "Secret"}],
    });
    mallory.patch_sync(&json!({"customResources": [rule]})).ok();
    let crown = "crown-x-default-x-victim";
    let gadget = |name: &str, secret: &str| {
        let more = json!({"metadata": {"namespace": "default"}, "spec": {"secret": secret}});
        let gadget = object("test.vcluster.dev/v1", "Gadget", name, &more).to_string();
        eventually("the kind is served inside", || {
            let output = mallory.kubectl("apply -f -").input(&*gadget).run();
            output.succeeded().then_some(()).ok_or(output)
        });
    };
    gadget("thief", crown);
    gadget("key", "vcluster-pki");
    let named = |name: &str| {
        let all = host.list(&format!("-n {} {GADGETS}", mallory.namespace));
        all.into_iter()
            .find(|made| made["metadata"]["annotations"]["vcluster.dev/name"] == name)
            .map(|made| {
                made["spec"]["secret"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
    };
    for (name, foreign) in [("thief", crown), ("key", "vcluster-pki")] {
        let found = eventually(&format!("gadget {name} is on the host"), || {
            named(name).ok_or("nothing of that name")
        });
        assert!(
            found != foreign && !found.is_empty(),
            "{name} names {found:?}"
        );
    }
}
