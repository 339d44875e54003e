//! Rules, and what the VirtualCluster says of them.

use integration_tests::{Command, Tenant, eventually};
use serde_json::{Value, json};

pub(super) fn rule(definition: &str, with: &Value) -> Value {
    let (plural, group) = definition.split_once('.').expect("it has a group");
    let mut rule =
        json!({"group": group, "version": "v1", "plural": plural, "direction": "ToHost"});
    for (key, value) in with.as_object().expect("an object") {
        rule[key] = value.clone();
    }
    rule
}

pub(super) fn patch(tenant: &Tenant, rules: &Value) -> Command {
    tenant.patch_sync(&json!({"customResources": rules}))
}

/// Waits until the condition says so.
pub(super) fn said(tenant: &Tenant, status: &str, words: &[&str]) {
    eventually(&format!("CustomResourcesReady is {status}"), || {
        let args = format!(
            "-n {} get virtualcluster {} -o json",
            tenant.namespace, tenant.name
        );
        let cluster = tenant.host().kubectl(&args).json();
        let conditions = cluster["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == "CustomResourcesReady");
        let found = found.ok_or("it is not there")?;
        let message = found["message"].to_string();
        let says = found["status"] == status && words.iter().all(|word| message.contains(word));
        says.then_some(()).ok_or_else(|| found.to_string())
    });
}
