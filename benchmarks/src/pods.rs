//! The pods of the load, and what the generator looks at in a pod.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

/// What is true of a pod that runs.
const CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// Whether a pod has a token of its ServiceAccount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Mounted,
    None,
}

/// A pod of an ordinary web server, as a user writes it.
pub(crate) fn manifest(name: &str, token: Token) -> String {
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": "web", "tier": "frontend", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"},
        },
        "spec": {
            "automountServiceAccountToken": token == Token::Mounted,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "web",
                "image": "registry.example.com/team/web:1.2.3",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"},
                },
                "readinessProbe": probe, "livenessProbe": probe,
                "volumeMounts": [{"name": "cache", "mountPath": "/var/cache"}],
            }],
            "volumes": [{"name": "cache", "emptyDir": {}}],
        },
    })
    .to_string()
}

/// The pod with a ConfigMap in its environment.
pub(crate) fn with_config(name: &str, config: &str) -> String {
    let mut pod: Value = serde_json::from_str(&manifest(name, Token::None)).unwrap_or_default();
    pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": config}}]);
    pod.to_string()
}

/// What a kubelet says of a pod that runs; one patch.
pub(crate) fn running(number: usize) -> String {
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": null});
    let ip = format!("10.244.{}.{}", number / 250 % 250, number % 250 + 1);
    json!({"status": {
        "phase": "Running", "hostIP": "10.77.0.1", "hostIPs": [{"ip": "10.77.0.1"}],
        "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
        "conditions": CONDITIONS.map(condition),
        "containerStatuses": [{
            "name": "web", "image": "registry.example.com/team/web:1.2.3",
            "imageID": "registry.example.com/team/web@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "containerID": "containerd://0000000000000000000000000000000000000000000000000000000000000000",
            "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}},
        }],
    }})
    .to_string()
}

/// The body of a binding to a node.
pub(crate) fn binding(name: &str, node: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    })
    .to_string()
}

/// The event of a watch of pods.
#[derive(Debug, Deserialize)]
pub(crate) struct Event<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) object: Pod<'a>,
}

/// What of a pod is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod<'a> {
    #[serde(borrow)]
    pub(crate) metadata: Metadata<'a>,
    #[serde(borrow)]
    pub(crate) spec: Spec<'a>,
    #[serde(borrow)]
    pub(crate) status: Status<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) namespace: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    annotations: Annotations<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations<'a> {
    #[serde(borrow, rename = "vcluster.dev/name")]
    name: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec<'a> {
    #[serde(borrow)]
    pub(crate) node_name: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status<'a> {
    #[serde(borrow)]
    conditions: Vec<Condition<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

impl Pod<'_> {
    /// Its name inside, or its own if it is nobody's translation.
    pub(crate) fn virtual_name(&self) -> &str {
        self.metadata
            .annotations
            .name
            .as_deref()
            .unwrap_or(&self.metadata.name)
    }

    pub(crate) fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|condition| condition.kind == "Ready" && condition.status == "True")
    }
}

/// A pod on the host as sync made it, turned into what makes others like it: `NAME` and `NAMESPACE` stand for
/// those of each.
pub(crate) fn template(mut made: Value, name: &str, namespace: &str) -> String {
    if let Some(metadata) = made.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "selfLink",
        ] {
            metadata.remove(key);
        }
    }
    if let Some(object) = made.as_object_mut() {
        object.remove("status");
    }
    if let Some(spec) = made.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("nodeName");
    }
    let quoted = |text: &str| format!("\"{text}\"");
    let text = made
        .to_string()
        .replace(&quoted(namespace), "\"NAMESPACE\"");
    text.replace(name, "NAME")
}

/// A pod of the template.
pub(crate) fn of_template(template: &str, name: &str, namespace: &str) -> String {
    template
        .replace("NAMESPACE", namespace)
        .replace("NAME", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_shows_the_pod_s_own_name_inside() {
        let line = json!({"type": "MODIFIED", "object": {
            "metadata": {"name": "p-x-load-x-vc", "namespace": "t-1", "annotations": {"vcluster.dev/name": "p"}},
            "spec": {"nodeName": "node-1"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }});
        let text = line.to_string();
        let event: Event<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(event.object.virtual_name(), "p");
        assert!(event.object.is_ready());
        let text = r#"{"type":"BOOKMARK","object":{"metadata":{}}}"#;
        let event: Event<'_> = serde_json::from_str(text).unwrap();
        assert!(!event.object.is_ready());
    }

    #[test]
    fn a_template_makes_pods_of_other_names() {
        let made = json!({"metadata": {"name": "w1-x-load-x-vc", "namespace": "t-0", "uid": "1"}, "status": {}});
        let text = of_template(&template(made, "w1", "t-0"), "p7", "t-3");
        let made: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            made,
            json!({"metadata": {"name": "p7-x-load-x-vc", "namespace": "t-3"}})
        );
    }
}
