//! A pod with as much in it as one can have.

use serde_json::{Value, json};

pub(super) fn pod() -> Value {
    let mut pod = crate::fixture::pod_with(spec());
    pod["metadata"]["labels"] = json!({"app.kubernetes.io/name": "web", "tier": "front"});
    pod["metadata"]["annotations"] = json!({
        "note": "two\nlines",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "kubernetes.io/egress-bandwidth": "10M",
    });
    pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true},
    ]);
    pod
}

fn spec() -> Value {
    json!({
        "containers": [{
            "name": "main",
            "image": "nginx:1",
            "args": ["--api=$(KUBERNETES_SERVICE_HOST)"],
            "env": env(),
            "envFrom": [
                {"configMapRef": {"name": "settings"}},
                {"prefix": "X_", "secretRef": {"name": "keys", "optional": true}},
            ],
            "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
            "volumeMounts": [{"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}],
        }],
        "initContainers": [{"name": "init", "image": "busybox:1", "restartPolicy": "Always"}],
        "ephemeralContainers": [{"name": "debug", "image": "busybox:1", "env": [
            {"name": "E", "valueFrom": {"secretKeyRef": {"name": "debug-key", "key": "k"}}},
        ]}],
        "volumes": volumes(),
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "web",
        "serviceAccount": "web",
        "nodeSelector": {"disk": "ssd"},
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            ]}},
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"tier": "front"}},
                 "matchLabelKeys": ["tier"], "mismatchLabelKeys": ["app.kubernetes.io/name"]},
            ]},
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"tier": "front"}},
        }],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "priority": 10,
        "priorityClassName": "high",
        "preemptionPolicy": "Never",
        "overhead": {"cpu": "1m"},
        "schedulerName": "default-scheduler",
        "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["example.com"]}],
        "hostname": "web-0",
        "subdomain": "web",
        "readinessGates": [{"conditionType": "example.com/ready"}],
        "securityContext": {"fsGroup": 1, "seccompProfile": {"type": "RuntimeDefault"}},
        "shareProcessNamespace": true,
        "hostUsers": false,
        "enableServiceLinks": true,
        "terminationGracePeriodSeconds": 7,
        "activeDeadlineSeconds": 3600,
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "os": {"name": "linux"},
    })
}

fn env() -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    json!([
        {"name": "PLAIN", "value": "$(KUBERNETES_SERVICE_HOST) $$"},
        field("NAME", "metadata.name"),
        field("NAMESPACE", "metadata.namespace"),
        field("UID", "metadata.uid"),
        field("TIER", "metadata.labels['tier']"),
        field("NOTE", "metadata.annotations['note']"),
        field("ACCOUNT", "spec.serviceAccountName"),
        field("NODE", "spec.nodeName"),
        field("IP", "status.podIP"),
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "SETTING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
        {"name": "FILE", "valueFrom": {"fileKeyRef": {"volumeName": "scratch", "path": "env", "key": "k"}}},
    ])
}

fn volumes() -> Value {
    json!([
        {"name": "scratch", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": true}},
        {"name": "cache", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}},
        {"name": "model", "image": {"reference": "models/one:1"}},
        {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "a", "path": "b"}]}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 256, "optional": true}},
        {"name": "info", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}},
        ]}},
        {"name": "kube-api-access-abcde", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}},
    ])
}
