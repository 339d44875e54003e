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
/// What a tenant reads who changes something that sync keeps.
pub const MANAGED_MESSAGE: &str = "objects with the label vcluster.dev/managed mirror the host \
     cluster's, or lead to its services, and cannot be changed from inside the virtual cluster: make \
     one of another name without the label";

/// Service accounts of the controllers that work on what sync keeps: they guard it with finalizers,
/// and report on ServiceCIDRs.
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";
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
        ("managed", managed()),
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
        &json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"],
            "operations": ["CREATE", "UPDATE"],
        }]),
        Some(API_SERVER_USER),
        &[&format!("({headless}) || ({external}) || ({kept})")],
        SERVICES_MESSAGE,
    )
}

/// Kinds of which sync keeps objects, by group.
const MANAGED: [(&str, &str, &[&str]); 8] = [
    (
        "",
        "v1",
        &[
            "nodes",
            "nodes/status",
            "persistentvolumes",
            "persistentvolumes/status",
            "services",
            "services/status",
        ],
    ),
    (
        "networking.k8s.io",
        "*",
        &["ingressclasses", "servicecidrs", "servicecidrs/status"],
    ),
    (
        "storage.k8s.io",
        "*",
        &[
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "storageclasses",
            "volumeattributesclasses",
        ],
    ),
    ("snapshot.storage.k8s.io", "*", &["volumesnapshotclasses"]),
    ("node.k8s.io", "*", &["runtimeclasses"]),
    ("scheduling.k8s.io", "*", &["priorityclasses"]),
    ("resource.k8s.io", "*", &["deviceclasses"]),
    (
        "rbac.authorization.k8s.io",
        "*",
        &["clusterroles", "clusterrolebindings"],
    ),
];

fn managed() -> Value {
    let without = |object: &str| {
        format!(
            "({object} == null || !has({object}.metadata.labels) || \
             !('{}' in {object}.metadata.labels))",
            label::MANAGED
        )
    };
    let (new, old) = (without("object"), without("oldObject"));
    // Of a volume or a range they change no more than finalizers and status.
    let controllers = format!(
        "(request.operation == 'UPDATE' && request.userInfo.username.startsWith('{CONTROLLERS}') && \
         request.resource.resource in ['persistentvolumes', 'servicecidrs'] && \
         object.spec == oldObject.spec && object.metadata.?labels == oldObject.metadata.?labels && \
         object.metadata.?annotations == oldObject.metadata.?annotations && \
         object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)"
    );
    let rules: Vec<Value> = MANAGED
        .iter()
        .map(|(group, version, resources)| {
            json!({
                "apiGroups": [group], "apiVersions": [version], "resources": resources,
                "operations": ["CREATE", "UPDATE", "DELETE"],
            })
        })
        .collect();
    policy(
        "managed.vcluster.dev.static.k8s.io",
        &Value::from(rules),
        Some(layout::SYNC_USER),
        &[&format!("({new} && {old}) || {controllers}")],
        MANAGED_MESSAGE,
    )
}

/// The proxy to nodes dials whatever port of a host's node the caller names: for nobody, because an
/// administrator can act as any user.
fn node_proxy() -> Value {
    policy(
        "node-proxy.vcluster.dev.static.k8s.io",
        &json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes/proxy"],
            "operations": ["CONNECT"],
        }]),
        None,
        &["false"],
        NODE_PROXY_MESSAGE,
    )
}

/// A policy and its binding. The user who is spared, if any, is not asked about.
fn policy(
    name: &str,
    rules: &Value,
    spared: Option<&str>,
    allowed: &[&str],
    message: &str,
) -> Value {
    let validations: Vec<Value> = allowed
        .iter()
        .map(|expression| json!({ "expression": expression, "message": message }))
        .collect();
    let conditions: Vec<Value> = spared
        .iter()
        .map(|user| {
            json!({
                "name": "spared",
                "expression": format!("request.userInfo.username != '{user}'"),
            })
        })
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
                    "matchConstraints": { "resourceRules": rules },
                    "matchConditions": conditions,
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
