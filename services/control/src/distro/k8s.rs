//! Upstream Kubernetes: kube-apiserver and kube-controller-manager beside kine with SQLite.
//!
//! kine and kube-apiserver are native sidecars (init containers that are restarted always), so that
//! they start in order and stop in reverse: the API server never outlives its store. There is no
//! scheduler, because the host schedules; and the controllers that act on nodes and volumes are
//! off, because those are the host's.

use serde_json::{Value, json};
use vcluster_resources::layout::{
    API_TARGET_PORT, FRONT_PROXY_USER, PLATFORM_CA_CERT, SYNC_CLIENT_CERT, SYNC_CLIENT_KEY,
};

use super::{CONFIG_HASH, DATA_VOLUME, Inputs, resources};
use crate::address::Range;
use crate::admission;
use crate::container::{USER, container, probe, security};
use crate::pki::credential::{
    AGGREGATOR_CERT, AGGREGATOR_KEY, AGGREGATOR_USER, API_SERVER_CERT, API_SERVER_KEY,
    CONTROLLER_MANAGER_CONFIG,
};
use crate::pki::roots::{
    CA_CERT, CA_KEY, FRONT_PROXY_CA_CERT, SERVICE_ACCOUNT_PRIVATE, SERVICE_ACCOUNT_PUBLIC,
};

/// Folder of the keys.
pub(crate) const PKI: &str = "/etc/kubernetes/pki";
const SOCKET: &str = "/run/kine/kine.sock";
const SERVICE_RANGES: &str = "--service-cluster-ip-range=";
const CONTROLLER_MANAGER_PORT: u16 = 10257;

/// Controllers that act on nodes, addresses and volumes of a cluster that has its own.
const CONTROLLERS_OFF: [&str; 8] = [
    "device-taint-eviction-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "taint-eviction-controller",
    "ttl-controller",
];

/// Renders the StatefulSet.
pub fn render(inputs: Inputs<'_>) -> Value {
    let subject = inputs.subject;
    let mut annotations = subject.annotations();
    annotations[CONFIG_HASH] = inputs.config_hash.into();
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "serviceName": subject.name().as_str(),
            // A pod that never became ready must not stand in the way of its own cure.
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": selector(inputs) },
            "template": {
                "metadata": { "labels": subject.labels(), "annotations": annotations },
                "spec": pod(inputs),
            },
            "volumeClaimTemplates": [claim(inputs)],
        },
    })
}

/// Labels that select the pods of the control plane.
pub fn selector(inputs: Inputs<'_>) -> Value {
    use vcluster_resources::label;
    json!({
        label::CLUSTER: inputs.subject.name().as_str(),
        label::PART: label::Part::ControlPlane.as_str(),
    })
}

fn pod(inputs: Inputs<'_>) -> Value {
    json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // The API server finds sync by the host's DNS.
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "initContainers": [kine(inputs), api_server(inputs)],
        "containers": [controller_manager(inputs)],
        "volumes": [
            { "name": "pki", "secret": {
                "secretName": vcluster_resources::layout::PKI_SECRET,
                // Readable by the group of the pod and nobody else.
                "defaultMode": 0o440,
            } },
            { "name": "admission", "configMap": admission::volume() },
            { "name": "run", "emptyDir": {} },
            { "name": "tmp", "emptyDir": {} },
        ],
    })
}

fn claim(inputs: Inputs<'_>) -> Value {
    let sqlite = &inputs.spec.store.sqlite;
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": DATA_VOLUME,
            "labels": inputs.subject.labels(),
            "annotations": inputs.subject.annotations(),
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": sqlite.size } },
        },
    });
    if let Some(class) = &sqlite.storage_class_name {
        claim["spec"]["storageClassName"] = class.as_str().into();
    }
    claim
}

fn kine(inputs: Inputs<'_>) -> Value {
    let images = inputs.images;
    container(
        images,
        json!({
            "name": "kine",
            "image": images.kine,
            "restartPolicy": "Always",
            "command": ["kine"],
            "args": [
                format!("--listen-address=unix://{SOCKET}"),
                "--endpoint=sqlite:///data/state.db?_journal=WAL&cache=shared&_busy_timeout=30000",
                "--metrics-bind-address=0",
            ],
            "startupProbe": {
                "exec": { "command": ["/bin/busybox", "test", "-S", SOCKET] },
                "periodSeconds": 1,
                "failureThreshold": 120,
            },
            "resources": resources(
                &inputs.spec.control_plane.store,
                [("cpu", "20m"), ("memory", "48Mi")],
            ),
            "securityContext": security(&[]),
            "volumeMounts": [
                { "name": DATA_VOLUME, "mountPath": "/data" },
                { "name": "run", "mountPath": "/run/kine" },
                { "name": "tmp", "mountPath": "/tmp" },
            ],
        }),
    )
}

fn api_server(inputs: Inputs<'_>) -> Value {
    let images = inputs.images;
    container(
        images,
        json!({
            "name": "kube-apiserver",
            "image": format!("{}:v{}", images.kube_apiserver, inputs.spec.version),
            "restartPolicy": "Always",
            "command": ["kube-apiserver"],
            "args": api_server_args(inputs),
            "ports": [{ "name": "https", "containerPort": API_TARGET_PORT, "protocol": "TCP" }],
            // 403 until RBAC is bootstrapped, so it is also what controller-manager waits for.
            "startupProbe": probe("HTTPS", "/livez", API_TARGET_PORT, 1, 300),
            "readinessProbe": probe("HTTPS", "/readyz", API_TARGET_PORT, 2, 3),
            "livenessProbe": probe("HTTPS", "/livez", API_TARGET_PORT, 10, 6),
            "resources": resources(
                &inputs.spec.control_plane.api_server,
                [("cpu", "50m"), ("memory", "256Mi")],
            ),
            "securityContext": security(&["NET_BIND_SERVICE"]),
            "volumeMounts": [
                { "name": "pki", "mountPath": PKI, "readOnly": true },
                { "name": "admission", "mountPath": admission::FOLDER, "readOnly": true },
                { "name": "run", "mountPath": "/run/kine" },
            ],
        }),
    )
}

fn api_server_args(inputs: Inputs<'_>) -> Vec<String> {
    let pki = |file: &str| format!("{PKI}/{file}");
    vec![
        "--secure-port=6443".to_owned(),
        // The endpoints of default/kubernetes: the host Service, which lives longer than a pod.
        format!("--advertise-address={}", inputs.address),
        format!("{SERVICE_RANGES}{}", services(inputs)),
        format!("--etcd-servers=unix://{SOCKET}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        format!(
            "--admission-control-config-file={}",
            admission::config_path()
        ),
        format!("--client-ca-file={}", pki(CA_CERT)),
        format!("--tls-cert-file={}", pki(API_SERVER_CERT)),
        format!("--tls-private-key-file={}", pki(API_SERVER_KEY)),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", pki(SERVICE_ACCOUNT_PUBLIC)),
        format!(
            "--service-account-signing-key-file={}",
            pki(SERVICE_ACCOUNT_PRIVATE)
        ),
        format!(
            "--requestheader-client-ca-file={}",
            pki(FRONT_PROXY_CA_CERT)
        ),
        // The gateway, and this API server itself: aggregated API servers read the list too.
        format!("--requestheader-allowed-names={FRONT_PROXY_USER},{AGGREGATOR_USER}"),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-uid-headers=X-Remote-Uid".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", pki(AGGREGATOR_CERT)),
        format!("--proxy-client-key-file={}", pki(AGGREGATOR_KEY)),
        // Nodes lead to sync, which knows the tenant by this certificate. Its name comes first: the
        // internal address is that of the host's node, where ports of Services are dialled.
        "--kubelet-preferred-address-types=InternalDNS,InternalIP".to_owned(),
        format!("--kubelet-client-certificate={}", pki(SYNC_CLIENT_CERT)),
        format!("--kubelet-client-key={}", pki(SYNC_CLIENT_KEY)),
        // A node of the tenant's own making leads only to services of the installation, whose certificates this
        // CA signs, and under the paths of a kubelet: only sync serves those.
        format!("--kubelet-certificate-authority={}", pki(PLATFORM_CA_CERT)),
    ]
}

/// The ranges of its Services: the first one's first address becomes that of `default/kubernetes`.
fn services(inputs: Inputs<'_>) -> String {
    let block = inputs.address.block();
    match inputs.second {
        Some(second) => format!("{block},{second}"),
        None => block,
    }
}

/// The second range of Services in a StatefulSet that was rendered here.
pub fn second_range(stateful_set: &Value) -> Option<Range> {
    let containers = stateful_set.pointer("/spec/template/spec/initContainers")?;
    let args = containers
        .as_array()?
        .iter()
        .filter_map(|one| one["args"].as_array());
    let ranges = args
        .flatten()
        .find_map(|arg| arg.as_str()?.strip_prefix(SERVICE_RANGES))?;
    ranges.split_once(',')?.1.parse().ok()
}

fn controller_manager(inputs: Inputs<'_>) -> Value {
    let images = inputs.images;
    container(
        images,
        json!({
            "name": "kube-controller-manager",
            "image": format!("{}:v{}", images.kube_controller_manager, inputs.spec.version),
            "command": ["kube-controller-manager"],
            "args": controller_manager_args(),
            // No startup or readiness probe: the API server is usable before the controllers are, and
            // the pod's readiness must not wait for them.
            "livenessProbe": probe("HTTPS", "/healthz", CONTROLLER_MANAGER_PORT, 10, 6),
            "resources": resources(
                &inputs.spec.control_plane.controller_manager,
                [("cpu", "20m"), ("memory", "64Mi")],
            ),
            "securityContext": security(&["NET_BIND_SERVICE"]),
            "volumeMounts": [{ "name": "pki", "mountPath": PKI, "readOnly": true }],
        }),
    )
}

fn controller_manager_args() -> Vec<String> {
    let pki = |file: &str| format!("{PKI}/{file}");
    let controllers: Vec<String> = CONTROLLERS_OFF
        .iter()
        .map(|controller| format!("-{controller}"))
        .collect();
    vec![
        format!("--kubeconfig={}", pki(CONTROLLER_MANAGER_CONFIG)),
        // For the kubelet's probe. Without authentication and authorization kubeconfigs nothing but
        // /healthz, /readyz and /livez answers.
        "--bind-address=0.0.0.0".to_owned(),
        format!("--controllers=*,{}", controllers.join(",")),
        "--use-service-account-credentials=true".to_owned(),
        format!(
            "--service-account-private-key-file={}",
            pki(SERVICE_ACCOUNT_PRIVATE)
        ),
        format!("--root-ca-file={}", pki(CA_CERT)),
        format!("--cluster-signing-cert-file={}", pki(CA_CERT)),
        format!("--cluster-signing-key-file={}", pki(CA_KEY)),
        // There is one: the StatefulSet never runs two pods of one ordinal.
        "--leader-elect=false".to_owned(),
        "--profiling=false".to_owned(),
        // With the default limits the controllers of a fresh cluster take seconds to start.
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;
    use vcluster_resources::cluster::VirtualClusterSpec;

    use super::*;
    use crate::address::Address;
    use crate::distro::Images;
    use crate::subject::Subject;

    fn rendered() -> Value {
        with(None)
    }

    fn with(second: Option<Range>) -> Value {
        render(Inputs {
            subject: &Subject::sample(),
            spec: &VirtualClusterSpec::default(),
            address: Address::of("10.96.7.17").unwrap(),
            second,
            config_hash: "0123456789abcdef",
            images: &Images {
                kube_apiserver: "registry.k8s.io/kube-apiserver".to_owned(),
                kube_controller_manager: "registry.k8s.io/kube-controller-manager".to_owned(),
                kine: "docker.io/rancher/kine:v0.17.5".to_owned(),
                coredns: "registry.k8s.io/coredns/coredns:v1.15.0".to_owned(),
                pull_policy: None,
            },
        })
    }

    #[test]
    fn the_stateful_set_is_the_one_that_was_reviewed() {
        insta::assert_yaml_snapshot!(rendered());
    }

    #[test]
    fn a_second_range_stands_behind_its_own_and_is_found_again() {
        let second = "fd96::/112".parse().unwrap();
        let found = with(Some(second));
        let args = found["spec"]["template"]["spec"]["initContainers"][1]["args"].to_string();
        let expected = "\"--service-cluster-ip-range=10.96.7.16/28,fd96::/112\"";
        assert!(args.contains(expected), "{args}");
        assert_eq!(second_range(&found), Some(second));
        assert_eq!(second_range(&rendered()), None);
        assert_eq!(second_range(&json!({})), None);
    }

    #[test]
    fn every_field_is_one_that_kubernetes_knows() {
        let rendered = rendered();
        let typed: StatefulSet = serde_json::from_value(rendered.clone()).unwrap();
        // A misspelt field is dropped by the type; the selector and metadata come back as they were.
        let back = serde_json::to_value(&typed).unwrap();
        assert_eq!(back["spec"], rendered["spec"]);
    }
}
