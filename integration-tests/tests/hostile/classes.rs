//! Classes of the host that are not shown, and another tenant's own.

use integration_tests::{
    Host, Tenant,
    attempt::{Attempt, Fact, Outcome},
    eventually,
};
use serde_json::{Value, json};

use crate::object::{attempt, object, pod, told};

/// A class of the host that its administrator shares with nobody, removed with the test.
pub(crate) struct Unshared<'a> {
    host: &'a Host,
    name: String,
}

impl<'a> Unshared<'a> {
    /// Makes a PriorityClass that is above everything but the system's.
    pub(crate) fn priority(host: &'a Host, name: String) -> Self {
        let class = object(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            &name,
            &json!({"value": 900_000_000}),
        );
        host.apply(&class.to_string());
        Self { host, name }
    }
}

impl Drop for Unshared<'_> {
    fn drop(&mut self) {
        let args = format!("delete priorityclass {} --ignore-not-found", self.name);
        self.host.kubectl(&args).run();
    }
}

/// Has both ask for their own classes to go to the host, and the victim's be there.
pub(crate) fn ask(mallory: &Tenant, victim: &Tenant) -> String {
    let asked = json!({"priorityclasses": {"enabled": true}, "storageclasses": {"enabled": true}});
    for tenant in [mallory, victim] {
        tenant.patch_sync(&json!({"toHost": asked})).ok();
    }
    let crown = object(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        "crown",
        &json!({"value": 90}),
    );
    victim.inside().apply(&crown.to_string());
    let name = format!("crown.{}.{}.vcluster.dev", victim.name, victim.namespace);
    eventually("the victim's class is on the host", || {
        crown_of(victim, &name).ok_or("not yet")
    });
    name
}

/// UID and value of a class of the host.
pub(crate) fn crown_of(tenant: &Tenant, name: &str) -> Option<(Value, Value)> {
    let args = format!("priorityclasses --field-selector=metadata.name={name}");
    let found = tenant.host().list(&args).pop()?;
    Some((found["metadata"]["uid"].clone(), found["value"].clone()))
}

/// What is tried with the host's name of the victim's class.
pub(crate) fn anothers(name: &str) -> Vec<Attempt> {
    let claim = json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": name,
        "resources": {"requests": {"storage": "16Mi"}},
    }});
    let marked = json!({"value": 1, "metadata": {"annotations": {
        "vcluster.dev/kind": "PriorityClass", "vcluster.dev/name": "crown",
    }}});
    vec![
        attempt(
            "a class that bears the host's name of another's",
            object("scheduling.k8s.io/v1", "PriorityClass", name, &marked),
            Outcome::Harmless(vec![Fact::Is("/value", json!(1))]),
        ),
        attempt(
            "the priority of another's class",
            pod("usurper", &json!({"priorityClassName": name})),
            Outcome::Harmless(vec![
                Fact::Is("/spec/priority", json!(1)),
                Fact::Lacks(format!("\"priorityClassName\":\"{name}\"")),
            ]),
        ),
        attempt(
            "storage of another's class",
            object("v1", "PersistentVolumeClaim", "usurper", &claim),
            told(&["NotOnHost", "spec.storageClassName"]),
        ),
        attempt(
            "a class above everybody",
            object(
                "scheduling.k8s.io/v1",
                "PriorityClass",
                "emperor",
                &json!({"value": 1_000_000}),
            ),
            told(&["NotSynced", "value"]),
        ),
        attempt(
            "a class of storage that names another's Secret",
            object(
                "storage.k8s.io/v1",
                "StorageClass",
                "prying",
                &json!({
                    "provisioner": "rancher.io/local-path",
                    "parameters": {"csi.storage.k8s.io/provisioner-secret-namespace": "kube-system"},
                }),
            ),
            told(&["HostAccessRefused", "provisioner-secret-namespace"]),
        ),
    ]
}

/// Pods whose classes only bear the names of the host's, or of none.
pub(crate) fn classes(unshared: &Unshared<'_>) -> Vec<Attempt> {
    let name = unshared.name.as_str();
    let priority = json!({"value": 999_000_000});
    vec![
        attempt(
            "a class of the name of one that the host does not share",
            object("scheduling.k8s.io/v1", "PriorityClass", name, &priority),
            Outcome::StaysInside,
        ),
        attempt(
            "the priority of that class",
            pod("preemptor", &json!({"priorityClassName": name})),
            Outcome::Harmless(vec![
                Fact::Is("/spec/priorityClassName", Value::Null),
                Fact::Is("/spec/priority", json!(0)),
            ]),
        ),
        attempt(
            "a runtime of the tenant's own",
            object(
                "node.k8s.io/v1",
                "RuntimeClass",
                "unfenced",
                &json!({"handler": "runc"}),
            ),
            Outcome::StaysInside,
        ),
        attempt(
            "a runtime that the host does not show",
            pod("unfenced", &json!({"runtimeClassName": "unfenced"})),
            told(&["NotOnHost", "spec.runtimeClassName"]),
        ),
    ]
}
