//! What the host's controllers say of the objects of a virtual cluster is told inside, of every kind that goes to the host.
//! What add-ons serve (snapshots, devices, custom kinds) is in their own scenarios.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";

/// `apiVersion`, kind, collection and content of an object of each kind.
fn kinds() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let selector = json!({"matchLabels": {"app": "web"}});
    let container = json!({
        "name": "main", "image": "docker.io/library/busybox:latest", "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"],
        "envFrom": [{"configMapRef": {"name": "web"}}, {"secretRef": {"name": "web"}}],
    });
    let claim = json!({
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}},
    });
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    vec![
        // What the pod uses comes before it.
        (
            "v1",
            "ConfigMap",
            "configmaps",
            json!({"data": {"COLOR": "green"}}),
        ),
        (
            "v1",
            "Secret",
            "secrets",
            json!({"stringData": {"PASSWORD": "open"}}),
        ),
        ("v1", "ServiceAccount", "serviceaccounts", json!({})),
        (
            "v1",
            "Pod",
            "pods",
            json!({"spec": {
                "serviceAccountName": "web", "terminationGracePeriodSeconds": 1, "containers": [container],
            }}),
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            json!({"spec": claim}),
        ),
        (
            "v1",
            "Service",
            "services",
            json!({"spec": {"ports": [{"port": 80}]}}),
        ),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "endpointslices",
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["203.0.113.7"]}],
            }),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            "ingresses",
            json!({"spec": {"rules": [{
                "host": "told.example.com",
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
            }]}}),
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "networkpolicies",
            json!({"spec": {"podSelector": {}}}),
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            json!({"spec": {"minAvailable": 0, "selector": selector}}),
        ),
    ]
}

fn on_host(tenant: &Tenant, collection: &str) -> Value {
    eventually(&format!("one of {collection} reaches the host"), || {
        let all = tenant
            .host()
            .list(&format!("-n {} {collection}", tenant.namespace));
        let annotation = |object: &Value, key: &str| {
            object["metadata"]["annotations"][format!("vcluster.dev/{key}")].clone()
        };
        let is_it = |object: &Value| {
            annotation(object, "name") == "web" && annotation(object, "namespace") == NAMESPACE
        };
        all.into_iter()
            .find(is_it)
            .ok_or_else(|| format!("no {collection}"))
    })
}

/// An Event as a controller of the host writes it.
fn event(tenant: &Tenant, version: &str, kind: &str, about: &Value) -> Value {
    let name = host::name(about);
    let now = about["metadata"]["creationTimestamp"].clone();
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{name}.{}", kind.to_lowercase()), "namespace": tenant.namespace},
        "involvedObject": {
            "apiVersion": version, "kind": kind, "namespace": tenant.namespace,
            "name": name, "uid": about["metadata"]["uid"],
        },
        "type": "Warning", "reason": "Tested", "message": format!("{kind} {name:?} was looked at"),
        "source": {"component": "tester"}, "reportingComponent": "tester",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}

#[test]
fn what_the_host_says_of_an_object_of_any_kind_is_told_inside_by_its_own_name() {
    let tenant = Tenant::create("told");
    let sent = json!({"toHost": {"serviceaccounts": {"enabled": true}}});
    tenant.patch_sync(&sent).ok();
    tenant
        .kubectl(&format!("create namespace {NAMESPACE}"))
        .ok();
    for (version, kind, _, mut object) in kinds() {
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"]["name"] = "web".into();
        object["metadata"]["namespace"] = NAMESPACE.into();
        tenant.inside().apply(&object.to_string());
    }
    for (version, kind, collection, _) in kinds() {
        let about = on_host(&tenant, collection);
        let said = event(&tenant, version, kind, &about);
        tenant.host().apply(&said.to_string());
        eventually(&format!("the Event about the {kind} is told"), || {
            let fields =
                format!("involvedObject.kind={kind},involvedObject.name=web,reason=Tested");
            let command = format!("-n {NAMESPACE} get events --field-selector={fields} -o json");
            let told = host::items(&tenant.kubectl(&command).json());
            let message = told.first().map(|told| told["message"].clone());
            match message {
                Some(message) if message == format!("{kind} \"web\" was looked at") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}
