//! Static admission policies of a virtual API server (KEP-5793, Kubernetes 1.36 and later).
//!
//! They are files that the API server reads, not objects in its store: the tenant, administrator or
//! not, can neither see nor remove them. A change of a policy is picked up without a restart.

use serde_json::{Value, json};
use vcluster_resources::{label, layout};

/// Folder of the files in the API server's container.
pub const FOLDER: &str = "/etc/kubernetes/admission";
/// Key and file of the configuration, read once at the start.
const CONFIG: &str = "config.json";
/// Folder of the policies below [`FOLDER`]; nothing else may lie in it.
const POLICIES: &str = "policies";
/// User of the API server itself, who makes `default/kubernetes`.
const API_SERVER_USER: &str = "system:apiserver";

/// What a tenant reads who makes a Service with a cluster IP.
pub const SERVICES_MESSAGE: &str = "Services with a cluster IP are not supported in this virtual \
     cluster yet: use clusterIP: None (headless) or type ExternalName";
/// What a tenant reads who changes a node of sync's.
pub const NODES_MESSAGE: &str = "nodes with the label vcluster.dev/managed mirror nodes of the host \
     cluster and cannot be changed from inside the virtual cluster";

/// What a tenant reads who asks for the proxy to a node.
pub const NODE_PROXY_MESSAGE: &str =
    "the nodes are the host cluster's: their ports cannot be reached through the API server";

/// Where the API server finds its configuration.
pub fn config_path() -> String {
    format!("{FOLDER}/{CONFIG}")
}

/// The data of the ConfigMap: one key per file.
pub fn files() -> Value {
    let mut files = serde_json::Map::new();
    files.insert(CONFIG.to_owned(), text(&config()));
    for (name, documents) in policies() {
        files.insert(format!("{name}.json"), text(&documents));
    }
    Value::Object(files)
}

/// The ConfigMap as a volume: the configuration in one folder, the policies in one below.
pub fn volume() -> Value {
    let mut items = vec![json!({ "key": CONFIG, "path": CONFIG })];
    items.extend(policies().iter().map(|(name, _)| {
        json!({ "key": format!("{name}.json"), "path": format!("{POLICIES}/{name}.json") })
    }));
    json!({ "name": layout::ADMISSION_CONFIG_MAP, "items": items })
}

/// Digest of what the API server reads once.
pub fn config_fingerprint() -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(&Sha256::digest(config().to_string())[..8])
}

fn text(document: &Value) -> Value {
    Value::from(format!("{document:#}\n"))
}

fn config() -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{
            "name": "ValidatingAdmissionPolicy",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyConfiguration",
                "staticManifestsDir": format!("{FOLDER}/{POLICIES}"),
            },
        }],
    })
}

/// Each policy with its binding, by the name of its file.
fn policies() -> [(&'static str, Value); 3] {
    [
        ("node-proxy", node_proxy()),
        ("nodes", nodes()),
        ("services", services()),
    ]
}

fn services() -> Value {
    let headless = "has(object.spec.clusterIP) && object.spec.clusterIP == 'None'";
    let external = "has(object.spec.type) && object.spec.type == 'ExternalName'";
    // default/kubernetes has one and may still be labelled.
    let kept = "request.operation == 'UPDATE' && has(oldObject.spec.clusterIP) \
                && oldObject.spec.clusterIP != '' && oldObject.spec.clusterIP != 'None' \
                && has(object.spec.clusterIP) && object.spec.clusterIP == oldObject.spec.clusterIP";
    policy(
        "services.vcluster.dev.static.k8s.io",
        &json!({
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"],
            "operations": ["CREATE", "UPDATE"],
        }),
        API_SERVER_USER,
        &[&format!("({headless}) || ({external}) || ({kept})")],
        SERVICES_MESSAGE,
    )
}

fn nodes() -> Value {
    let without = |object: &str| {
        format!(
            "{object} == null || !has({object}.metadata.labels) || !('{}' in {object}.metadata.labels)",
            label::MANAGED
        )
    };
    policy(
        "nodes.vcluster.dev.static.k8s.io",
        &json!({
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes", "nodes/status"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
        }),
        layout::SYNC_USER,
        &[&without("object"), &without("oldObject")],
        NODES_MESSAGE,
    )
}

/// The proxy to nodes dials whatever port of a host's node the caller names: not for tenants.
fn node_proxy() -> Value {
    policy(
        "node-proxy.vcluster.dev.static.k8s.io",
        &json!({
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes/proxy"],
            "operations": ["CONNECT"],
        }),
        API_SERVER_USER,
        &["false"],
        NODE_PROXY_MESSAGE,
    )
}

/// A policy that spares one user, and its binding.
fn policy(name: &str, rule: &Value, spared: &str, allowed: &[&str], message: &str) -> Value {
    let validations: Vec<Value> = allowed
        .iter()
        .map(|expression| json!({ "expression": expression, "message": message }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy",
                "metadata": { "name": name },
                "spec": {
                    "failurePolicy": "Fail",
                    "matchConstraints": { "resourceRules": [rule] },
                    "matchConditions": [{
                        "name": "spared",
                        "expression": format!("request.userInfo.username != '{spared}'"),
                    }],
                    "validations": validations,
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": { "name": name },
                "spec": { "policyName": name, "validationActions": ["Deny"] },
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_the_ones_that_were_reviewed() {
        let files = files();
        let text: Vec<String> = files
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, text)| format!("=== {name}\n{}", text.as_str().unwrap()))
            .collect();
        insta::assert_snapshot!(text.join(""));
    }

    #[test]
    fn every_file_is_mounted() {
        let mounted: Vec<_> = volume()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["key"].clone())
            .collect();
        for name in files().as_object().unwrap().keys() {
            assert!(mounted.contains(&Value::from(name.as_str())), "{name}");
        }
    }
}
