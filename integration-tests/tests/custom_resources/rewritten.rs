//! Objects that the host writes in its own way.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

use crate::{
    GADGETS,
    definitions::{define, definition},
    rule::{patch, rule, said},
    sides::outside,
};

/// Has the host write a duration of an object of that namespace as cert-manager's webhook does.
struct Rewriting<'a>(&'a Tenant);

impl Rewriting<'_> {
    fn policy(&self) -> Value {
        let metadata = json!({"name": self.0.namespace});
        json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": metadata,
                "spec": {
                    "matchConstraints": {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.0.namespace}},
                        "resourceRules": [{
                            "apiGroups": ["test.vcluster.dev"], "apiVersions": ["v1"], "resources": ["gadgets"],
                            "operations": ["CREATE", "UPDATE"],
                        }],
                    },
                    "matchConditions": [
                        {"name": "is-short", "expression": "object.spec.duration.endsWith('h')"},
                    ],
                    "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                        "[JSONPatch{op: 'replace', path: '/spec/duration', value: object.spec.duration + '0m0s'}]"}}],
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
                "metadata": metadata, "spec": {"policyName": self.0.namespace},
            },
        ]})
    }
}

impl Drop for Rewriting<'_> {
    fn drop(&mut self) {
        let delete = self.0.host().kubectl("delete --ignore-not-found -f -");
        drop(delete.input(self.policy().to_string()).run());
    }
}

fn gadget(duration: &str) -> String {
    json!({
        "apiVersion": "test.vcluster.dev/v1", "kind": "Gadget",
        "metadata": {"namespace": "default", "name": "lamp"}, "spec": {"duration": duration},
    })
    .to_string()
}

/// Writes to the host that this tenant's bill counts.
fn writes(tenant: &Tenant) -> i64 {
    let usage = format!("usage {} -n {} -o json", tenant.name, tenant.namespace);
    let spent = tenant.host().vcluster(&usage).json();
    let writes = spent["items"][0]["host"]["writes"].as_i64();
    writes.expect("they are counted")
}

#[test]
fn what_the_host_rewrites_is_written_once_and_goes_with_the_cluster_without_its_rule() {
    let tenant = Tenant::create("rewritten");
    let host = tenant.host();
    define(host, &definition("Gadget", "gadgets", "Namespaced"));
    let rewriting = Rewriting(&tenant);
    host.apply(&rewriting.policy().to_string());
    let trial = gadget("1h").replace("\"default\"", &format!("{:?}", tenant.namespace));
    eventually("the host rewrites", || {
        let create = host.kubectl("create --dry-run=server -o json -f -");
        let made = create.input(trial.clone()).json();
        let is_rewritten = made["spec"]["duration"] == "1h0m0s";
        is_rewritten.then_some(()).ok_or(made)
    });
    patch(&tenant, &json!([rule(GADGETS, &json!({}))])).ok();
    said(&tenant, "True", &[GADGETS]);
    tenant.inside().apply(&gadget("2160h"));
    let explained = || {
        let place = format!(
            "--cluster {} --host-namespace {}",
            tenant.name, tenant.namespace
        );
        let explain = format!("explain gadget.test.vcluster.dev/lamp -n default {place} -o json");
        host.vcluster(&explain).json()
    };
    let is_synced = || {
        eventually("it is as it should be", || {
            let answer = explained();
            let synced = answer["state"] == "Synced";
            synced.then_some(()).ok_or(answer)
        });
    };
    let made = outside(&tenant, GADGETS, "lamp");
    assert_eq!(made["spec"]["duration"], "2160h0m0s");
    is_synced();
    let told = "get events -o json --field-selector reason=WrittenOtherwise";
    eventually("it is told that the host writes it in its own way", || {
        let events = host::items(&tenant.kubectl(told).json());
        let said = events
            .iter()
            .any(|event| event["message"].to_string().contains("spec.duration"));
        said.then_some(()).ok_or_else(|| format!("{events:?}"))
    });

    // What changes nothing on the host is not written there, however often it is looked at.
    let version = outside(&tenant, GADGETS, "lamp")["metadata"]["resourceVersion"].clone();
    let before = writes(&tenant);
    for round in 0..3 {
        tenant
            .kubectl(&format!(
                "annotate --overwrite {GADGETS} lamp example.com/round={round}"
            ))
            .ok();
    }
    for _ in 0..3 {
        let place = format!(
            "--cluster {} --host-namespace {}",
            tenant.name, tenant.namespace
        );
        let resync = format!("resync gadget.test.vcluster.dev/lamp -n default {place}");
        host.vcluster(&resync).ok();
        is_synced();
    }
    let after = outside(&tenant, GADGETS, "lamp");
    assert_eq!(after["metadata"]["resourceVersion"], version, "{after}");
    assert_eq!(writes(&tenant), before);

    // What is changed goes down.
    tenant.inside().apply(&gadget("1h"));
    eventually("the change goes down", || {
        let now = outside(&tenant, GADGETS, "lamp");
        let is_there = now["spec"]["duration"] == "1h0m0s";
        is_there.then_some(()).ok_or(now)
    });

    // Without its rule it stays, but nothing waits for it when the virtual cluster is deleted.
    patch(&tenant, &json!([])).ok();
    host.vcluster(&format!(
        "delete {} -n {} --timeout 120s",
        tenant.name, tenant.namespace
    ))
    .ok();
}
