//! Static admission of a virtual API server (KEP-5793, Kubernetes 1.36 and later): policies, and the
//! webhook by which Services get their addresses from the host.
//!
//! They are files that the API server reads, not objects in its store: the tenant, administrator or
//! not, can neither see nor remove them. A change of a policy is picked up without a restart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vcluster_resources::{label, layout};

use crate::distro::k8s::PKI;

/// Folder of the files in the API server's container.
pub const FOLDER: &str = "/etc/kubernetes/admission";
/// Key and file of the configuration, read once at the start.
const CONFIG: &str = "config.json";
/// Key and file of the webhooks' credentials, read once at the start.
const CREDENTIALS: &str = "webhooks.conf";
/// Folder of the policies below [`FOLDER`]; nothing else may lie in it.
const POLICIES: &str = "policies";
/// Folder of the webhooks below [`FOLDER`]; nothing else may lie in it.
const WEBHOOKS: &str = "webhooks";
/// Key and file of the webhook for Services.
const SERVICES: &str = "services-webhook.json";
/// User of the API server itself, who makes `default/kubernetes`.
const API_SERVER_USER: &str = "system:apiserver";

/// What a tenant reads who changes something that sync keeps.
pub const MANAGED_MESSAGE: &str = "objects with the label vcluster.dev/managed mirror the host \
     cluster's, or lead to its services, and cannot be changed from inside the virtual cluster: make \
     one of another name without the label";

/// Service accounts of the controllers that work on what sync keeps: they guard it with finalizers,
/// and report on ServiceCIDRs.
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";
/// What a tenant reads who asks for the proxy to a node.
pub const NODE_PROXY_MESSAGE: &str = "the nodes are the host cluster's: but for stats/summary, which tells of one's own pods, their \
     ports cannot be reached through the API server";

/// Where the API server finds its configuration.
pub fn config_path() -> String {
    format!("{FOLDER}/{CONFIG}")
}

/// Where sync answers, and how it is known.
#[derive(Debug, Clone, Copy)]
pub struct Sync<'a> {
    /// Namespace of its Service.
    pub namespace: &'a str,
    /// Certificates that verify it, PEM.
    pub roots: &'a str,
}

impl Sync<'_> {
    fn host(&self) -> String {
        let (service, port) = (layout::SYNC_SERVICE, layout::WEBHOOK_PORT);
        format!("{service}.{}.svc:{port}", self.namespace)
    }
}

/// The data of the ConfigMap: one key per file.
pub fn files(sync: Sync<'_>) -> Value {
    let mut files = serde_json::Map::new();
    files.insert(CONFIG.to_owned(), text(&config()));
    files.insert(CREDENTIALS.to_owned(), text(&credentials(sync.namespace)));
    files.insert(SERVICES.to_owned(), text(&services(sync)));
    for (name, documents) in policies() {
        files.insert(format!("{name}.json"), text(&documents));
    }
    Value::Object(files)
}

/// The ConfigMap as a volume: the configuration in one folder, the policies in one below.
pub fn volume() -> Value {
    let mut items = vec![
        json!({ "key": CONFIG, "path": CONFIG }),
        json!({ "key": CREDENTIALS, "path": CREDENTIALS }),
        json!({ "key": SERVICES, "path": format!("{WEBHOOKS}/{SERVICES}") }),
    ];
    items.extend(policies().iter().map(|(name, _)| {
        json!({ "key": format!("{name}.json"), "path": format!("{POLICIES}/{name}.json") })
    }));
    json!({ "name": layout::ADMISSION_CONFIG_MAP, "items": items })
}

/// Digest of what the API server reads once, for a sync in that namespace.
pub fn config_fingerprint(namespace: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let read = format!("{}{}", config(), credentials(namespace));
    hex::encode(&Sha256::digest(read)[..8])
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
        }, {
            "name": "MutatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": format!("{FOLDER}/{CREDENTIALS}"),
                "staticManifestsDir": format!("{FOLDER}/{WEBHOOKS}"),
            },
        }],
    })
}

/// What the API server shows to whom: its certificate to sync, found by host and port, and nothing
/// to the tenant's own webhooks.
fn credentials(namespace: &str) -> Value {
    let sync = Sync {
        namespace,
        roots: "",
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{
            "name": sync.host(),
            "user": {
                "client-certificate": format!("{PKI}/{}", layout::SYNC_CLIENT_CERT),
                "client-key": format!("{PKI}/{}", layout::SYNC_CLIENT_KEY),
            },
        }],
    })
}

/// Asks sync before a Service is stored, unless it would let it pass as it is: those can be made and changed while sync
/// is down. It is asked once: what a webhook of the tenant's makes of the Service afterwards, sync puts right on the
/// host. The API server is spared for the one Service that it makes, as a tenant's
/// administrator may impersonate it.
fn services(sync: Sync<'_>) -> Value {
    let name = "services.vcluster.dev.static.k8s.io";
    let own = format!(
        "!(request.userInfo.username == '{API_SERVER_USER}' && request.namespace == 'default' && \
         object.metadata.name == 'kubernetes')"
    );
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": name },
        "webhooks": [{
            "name": name,
            "clientConfig": {
                "url": format!("https://{}{}", sync.host(), layout::SERVICES_WEBHOOK_PATH),
                "caBundle": STANDARD.encode(sync.roots),
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"],
                "operations": ["CREATE", "UPDATE"], "scope": "Namespaced",
            }],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "sideEffects": "NoneOnDryRun",
            "reinvocationPolicy": "Never",
            "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
            "matchConditions": [
                { "name": "not-the-api-servers-own", "expression": own },
                {
                    "name": "not-syncs",
                    "expression": format!("request.userInfo.username != '{}'", layout::SYNC_USER),
                },
                { "name": "has-an-address", "expression": HAS_AN_ADDRESS },
                { "name": "gets-an-address", "expression": gets_an_address() },
                { "name": "asks-for-something-new", "expression": asks_for_something_new() },
            ],
        }],
    })
}

/// Sync has nothing to say about an external name, whatever it was before.
const HAS_AN_ADDRESS: &str =
    "!(has(object.spec) && has(object.spec.type) && object.spec.type == 'ExternalName')";

/// That it names no external IPs, which sync refuses.
const NO_EXTERNAL_IPS: &str =
    "(!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0)";

/// Nor about a headless Service that says so itself, unless it is one to be refused.
fn gets_an_address() -> String {
    let most = layout::SERVICE_PORTS;
    format!(
        "!(has(object.spec) && has(object.spec.clusterIP) && object.spec.clusterIP == 'None' && \
         {NO_EXTERNAL_IPS} && (!has(object.spec.ports) || size(object.spec.ports) <= {most}))"
    )
}

/// Nor about a change of nothing but metadata: sync must be able to be down while a finalizer is taken away. One
/// whose second address is due, and what sync keeps inside, is for sync to judge all the same.
fn asks_for_something_new() -> String {
    let unmanaged = |object: &str| {
        let key = label::MANAGED;
        format!("(!has({object}.metadata.labels) || !('{key}' in {object}.metadata.labels))")
    };
    let (new, old) = (unmanaged("object"), unmanaged("oldObject"));
    format!(
        "!(request.operation == 'UPDATE' && has(object.spec) && has(oldObject.spec) && \
         object.spec == oldObject.spec && {NO_EXTERNAL_IPS} && {new} && {old} && \
         (!has(object.spec.ipFamilyPolicy) || object.spec.ipFamilyPolicy == 'SingleStack' || \
         (has(object.spec.clusterIPs) && size(object.spec.clusterIPs) == 2)))"
    )
}

/// Each policy with its binding, by the name of its file.
fn policies() -> [(&'static str, Value); 2] {
    [("node-proxy", node_proxy()), ("managed", managed())]
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
            "configmaps",
            "secrets",
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
    // What is mapped into a namespace goes with it.
    let with_namespace = format!(
        "(request.operation == 'DELETE' && \
         request.userInfo.username == '{CONTROLLERS}namespace-controller' && \
         request.resource.resource in ['configmaps', 'secrets', 'services'])"
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
        &[&format!(
            "({new} && {old}) || {controllers} || {with_namespace}"
        )],
        MANAGED_MESSAGE,
    )
}

/// The proxy to nodes dials whatever port of a host's node the caller names: for nobody, because an
/// administrator can act as any user. Without scheme and port it leads where logs come from, to sync, which has one
/// document to give: for whom RBAC allows.
fn node_proxy() -> Value {
    policy(
        "node-proxy.vcluster.dev.static.k8s.io",
        &json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes/proxy"],
            "operations": ["CONNECT"],
        }]),
        None,
        &["!request.name.contains(':') && object.path == '/stats/summary'"],
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

    const SYNC: Sync<'_> = Sync {
        namespace: "vcluster-system",
        roots: "PEM",
    };

    #[test]
    fn the_files_are_the_ones_that_were_reviewed() {
        let files = files(SYNC);
        let text: Vec<String> = files
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, text)| format!("=== {name}\n{}", text.as_str().unwrap()))
            .collect();
        insta::assert_snapshot!(text.join(""));
    }

    /// Whether sync is asked about a Service to be made, or changed from `old`, by the tenant's administrator.
    fn is_asked(object: &Value, old: &Value) -> bool {
        let operation = if old.is_null() { "CREATE" } else { "UPDATE" };
        let request = json!({
            "operation": operation, "namespace": "shop", "userInfo": {"username": "admin"},
        });
        let mut context = cel::Context::default();
        for (name, value) in [
            ("request", &request),
            ("object", object),
            ("oldObject", old),
        ] {
            context.add_variable(name, value.clone()).unwrap();
        }
        let webhooks = services(SYNC);
        let conditions = webhooks["webhooks"][0]["matchConditions"].as_array();
        conditions.unwrap().iter().all(|condition| {
            let expression = condition["expression"].as_str().unwrap();
            let verdict = cel::Program::compile(expression).unwrap().execute(&context);
            verdict.unwrap() == cel::Value::Bool(true)
        })
    }

    fn service(spec: &Value) -> Value {
        json!({"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec})
    }

    #[test]
    fn sync_is_asked_about_every_service_of_which_it_has_something_to_say() {
        let own = |more: Value| {
            let mut spec = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            service(&spec)
        };
        let given = own(json!({"clusterIP": "10.96.3.4", "clusterIPs": ["10.96.3.4"]}));
        let external = service(&json!({"type": "ExternalName", "externalName": "example.com"}));
        let headless = own(json!({"clusterIP": "None"}));
        let prefers = |addresses: Value| {
            own(json!({"ipFamilyPolicy": "PreferDualStack", "clusterIPs": addresses}))
        };
        let (one, two) = (
            prefers(json!(["10.96.3.4"])),
            prefers(json!(["10.96.3.4", "fd96::4"])),
        );
        let many: Vec<_> = (0..=layout::SERVICE_PORTS)
            .map(|port| json!({"port": port}))
            .collect();
        let external_ips = json!({"clusterIP": "None", "externalIPs": ["192.0.2.1"]});
        let mut managed = given.clone();
        managed["metadata"]["labels"][label::MANAGED] = "true".into();
        let mut labelled = given.clone();
        labelled["metadata"] = json!({"name": "web"});
        let none = Value::Null;
        for (object, old, asked) in [
            (&external, &none, false),
            (&headless, &none, false),
            (&given, &none, true),
            (&own(json!({})), &none, true),
            (&service(&json!({})), &none, true),
            (&json!({"metadata": {"name": "web"}}), &none, true),
            (&own(external_ips), &none, true),
            (
                &own(json!({"clusterIP": "None", "ports": many})),
                &none,
                true,
            ),
            (&own(json!({"type": "NodePort"})), &none, true),
            // From one to the other.
            (&external, &given, false),
            (&given, &external, true),
            (&own(json!({"type": "NodePort"})), &external, true),
            (&given, &headless, true),
            (
                &own(json!({"type": "LoadBalancer", "clusterIP": "10.96.3.4"})),
                &given,
                true,
            ),
            (&own(json!({})), &given, true),
            // Metadata only.
            (&labelled, &given, false),
            (&given, &given, false),
            (&managed, &given, true),
            (&given, &managed, true),
            (&one, &one, true),
            (&two, &two, false),
        ] {
            assert_eq!(is_asked(object, old), asked, "{object} was {old}");
        }
    }

    #[test]
    fn every_file_is_mounted() {
        let mounted: Vec<_> = volume()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["key"].clone())
            .collect();
        for name in files(SYNC).as_object().unwrap().keys() {
            assert!(mounted.contains(&Value::from(name.as_str())), "{name}");
        }
    }
}
