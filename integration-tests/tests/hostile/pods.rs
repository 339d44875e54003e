//! Pods that reach out, lie, push and pry.

use integration_tests::{
    Tenant,
    attempt::{Attempt, Fact, Outcome},
    eventually, host,
};
use serde_json::{Value, json};

use crate::object::{REFUSED, attempt, merge, pod, told};

/// Pods that would reach the nodes, or what others keep there.
pub(crate) fn that_reach_out() -> Vec<Attempt> {
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        merge(&mut volume, &source);
        json!({"volumes": [volume]})
    };
    let security = |security: Value| json!({"container": {"securityContext": security}});
    let rows = [
        (
            "the node's network",
            "net",
            json!({"hostNetwork": true}),
            "spec.hostNetwork",
        ),
        (
            "the node's processes",
            "pid",
            json!({"hostPID": true}),
            "spec.hostPID",
        ),
        (
            "the node's IPC",
            "ipc",
            json!({"hostIPC": true}),
            "spec.hostIPC",
        ),
        (
            "all rights on the node",
            "root",
            security(json!({"privileged": true})),
            "securityContext.privileged",
        ),
        (
            "a right over the node",
            "right",
            security(json!({"capabilities": {"add": ["SYS_MODULE"]}})),
            "capabilities.add[0]",
        ),
        (
            "a port of the node",
            "port",
            json!({"container": {"ports": [{"containerPort": 10250, "hostPort": 10250}]}}),
            "ports[0].hostPort",
        ),
        (
            "the node's files",
            "path",
            volume(json!({"hostPath": {"path": "/"}})),
            "spec.volumes[0].hostPath",
        ),
        (
            "storage from the node's address",
            "nfs",
            volume(json!({"nfs": {"server": "192.0.2.1", "path": "/"}})),
            "spec.volumes[0].nfs",
        ),
    ];
    let refused = rows
        .into_iter()
        .map(|(what, name, spec, field)| attempt(what, pod(name, &spec), told(&[REFUSED, field])));
    let driver =
        json!({"csi": {"driver": "example.com", "nodePublishSecretRef": {"name": "vcluster-pki"}}});
    let driver = attempt(
        "a CSI driver with the control plane's keys",
        pod("csi", &volume(driver)),
        told(&["spec.volumes[0].csi"]),
    );
    refused.chain([driver]).collect()
}

type Row = (&'static str, &'static str, Value, Vec<Fact>);

fn harmless((what, name, spec, facts): Row) -> Attempt {
    attempt(what, pod(name, &spec), Outcome::Harmless(facts))
}

/// Pods that lie about whose they are: on the host they are what they are.
pub(crate) fn that_lie(mallory: &Tenant, victim: &Tenant) -> Vec<Attempt> {
    let uid = |tenant: &Tenant| {
        let args = format!(
            "-n {} get virtualcluster {} -o json",
            tenant.namespace, tenant.name
        );
        tenant.host().kubectl(&args).json()["metadata"]["uid"].clone()
    };
    let (own, foreign) = (uid(mallory), uid(victim));
    let root = mallory
        .kubectl("get configmap kube-root-ca.crt -o json")
        .json();
    let ours = [
        Fact::Is(
            "/metadata/annotations/vcluster.dev~1cluster-uid",
            own.clone(),
        ),
        Fact::Is(
            "/metadata/annotations/vcluster.dev~1namespace",
            json!("default"),
        ),
        Fact::Is("/metadata/labels/vcluster.dev~1cluster-uid", own),
        Fact::Is("/metadata/labels/vcluster.dev~1part", json!("workload")),
        Fact::Is("/metadata/labels/vcluster.dev~1cluster", json!("mallory")),
    ];
    let claims = json!({"vcluster.dev/cluster-uid": foreign, "vcluster.dev/cluster": "victim",
        "vcluster.dev/namespace": "kube-system", "vcluster.dev/part": "control-plane", "app": "web"});
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt",
        "uid": root["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}]);
    let rows: Vec<Row> = vec![
        (
            "the name of another's host pod",
            "crown-x-default-x-victim",
            json!({}),
            ours.to_vec(),
        ),
        (
            "labels of ours",
            "labels",
            json!({"metadata": {"labels": claims}}),
            ours.to_vec(),
        ),
        (
            "annotations of ours",
            "notes",
            json!({"metadata": {"annotations": claims}}),
            ours.to_vec(),
        ),
        (
            "an owner, who controls it",
            "owned",
            json!({"metadata": {"ownerReferences": owner}}),
            vec![
                Fact::Is("/metadata/ownerReferences/0/kind", json!("VirtualCluster")),
                Fact::Is("/metadata/ownerReferences/0/name", json!("mallory")),
                Fact::Is("/metadata/ownerReferences/1", Value::Null),
            ],
        ),
        (
            "a finalizer that nobody takes away",
            "held",
            json!({"metadata": {"finalizers": ["example.com/never", "vcluster.dev/sync"]}}),
            vec![Fact::Is("/metadata/finalizers", Value::Null)],
        ),
    ];
    rows.into_iter().map(harmless).collect()
}

/// Pods that want more than the host's scheduler and its accounts give.
pub(crate) fn that_push(mallory: &Tenant) -> Vec<Attempt> {
    let node = eventually("a node shows", || {
        let nodes = host::items(&mallory.kubectl("get nodes -o json").json());
        nodes
            .first()
            .map(host::name)
            .map(str::to_owned)
            .ok_or("none")
    });
    let is = |pointer, value| vec![Fact::Is(pointer, value)];
    let pinned = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
        /nodeSelectorTerms/0/matchFields/0/values/0";
    let rows: Vec<Row> = vec![
        (
            "a node, past the scheduler",
            "pinned",
            json!({"nodeName": node}),
            is(pinned, json!(node)),
        ),
        (
            "every taint tolerated: an administrator who keeps nodes from tenants does it by policy (ADR 10)",
            "tolerant",
            json!({"tolerations": [{"operator": "Exists"}]}),
            is("/spec/tolerations/0/operator", json!("Exists")),
        ),
        (
            "the highest priority",
            "vip",
            json!({"priorityClassName": "system-node-critical"}),
            vec![
                Fact::Is("/spec/priorityClassName", Value::Null),
                Fact::Is("/spec/priority", json!(0)),
            ],
        ),
        (
            "a scheduler of the tenant's own",
            "scheduled",
            json!({"schedulerName": "evil"}),
            is("/spec/schedulerName", json!("default-scheduler")),
        ),
        (
            "a ServiceAccount of the host",
            "account",
            json!({"serviceAccountName": "default", "automountServiceAccountToken": true}),
            vec![
                Fact::Is("/spec/serviceAccountName", json!("vcluster-workload")),
                Fact::Is("/spec/automountServiceAccountToken", json!(false)),
                Fact::Lacks("serviceAccountToken".to_owned()),
            ],
        ),
    ];
    rows.into_iter().map(harmless).collect()
}

/// Pods that name Secrets of the host: the names become those of the tenant's own.
pub(crate) fn that_pry() -> Vec<Attempt> {
    let secrets = [
        "crown-x-default-x-victim",
        "vcluster-pki",
        "vcluster-sync",
        "vcluster-gateway",
    ];
    let lacks = |name: &str| Fact::Lacks(format!("\"{name}\""));
    let of_secrets = |what, name, spec| {
        let facts = secrets.into_iter().map(lacks).collect();
        attempt(what, pod(name, &spec), Outcome::Harmless(facts))
    };
    let each = |field: &str, key: &str| -> Vec<Value> {
        let one =
            |(n, secret): (usize, &&str)| json!({"name": format!("v{n}"), field: {key: secret}});
        secrets.iter().enumerate().map(one).collect()
    };
    let from: Vec<_> = secrets
        .iter()
        .map(|name| json!({"secretRef": {"name": name}}))
        .collect();
    let pulled: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    vec![
        of_secrets(
            "Secrets of the host as volumes",
            "mounts",
            json!({"volumes": each("secret", "secretName")}),
        ),
        of_secrets(
            "Secrets of the host as variables",
            "reads",
            json!({"container": {"envFrom": from}}),
        ),
        of_secrets(
            "Secrets of the host for pulling",
            "pulls",
            json!({"imagePullSecrets": pulled}),
        ),
    ]
}
