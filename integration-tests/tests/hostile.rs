//! Two tenants, one of whom tries everything: each attempt is refused, or harmless for the reason that its row gives.
//!
//! What other files show stands there: objects that sync keeps (`managed`), the kubelet endpoint
//! (`kubelet`), the policies that bound the services' accounts (`policies`, `privileges`).

use integration_tests::{
    Tenant,
    attempt::{Attempt, Fact, Outcome, try_all},
    eventually, host,
};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
const REFUSED: &str = "HostAccessRefused";

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn object(version: &str, kind: &str, name: &str, more: &Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    merge(&mut object, more);
    object
}

fn container(more: &Value) -> Value {
    let mut container = json!({"name": "main", "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]});
    merge(&mut container, more);
    container
}

/// A pod with `more` in its spec or, under the keys `metadata` and `container`, there.
fn pod(name: &str, more: &Value) -> Value {
    let mut spec = more.clone();
    let members = spec.as_object_mut().expect("fields");
    let metadata = members.remove("metadata").unwrap_or_else(|| json!({}));
    let container = container(&members.remove("container").unwrap_or_else(|| json!({})));
    spec["containers"] = json!([container]);
    spec["terminationGracePeriodSeconds"] = 1.into();
    object(
        "v1",
        "Pod",
        name,
        &json!({"metadata": metadata, "spec": spec}),
    )
}

fn attempt(what: &'static str, object: Value, outcome: Outcome) -> Attempt {
    Attempt {
        what,
        object,
        outcome,
    }
}

fn told(words: &[&'static str]) -> Outcome {
    Outcome::Told(words.to_vec())
}

/// Pods that would reach the nodes, or what others keep there.
fn pods_that_reach_out() -> Vec<Attempt> {
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
fn pods_that_lie(mallory: &Tenant, victim: &Tenant) -> Vec<Attempt> {
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
fn pods_that_push(mallory: &Tenant) -> Vec<Attempt> {
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
fn pods_that_pry() -> Vec<Attempt> {
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

/// Volumes that are another's.
fn volumes(victim: &Victim) -> Vec<Attempt> {
    let claim = |name: &str, more: &Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}});
        merge(&mut spec, more);
        object("v1", "PersistentVolumeClaim", name, &json!({"spec": spec}))
    };
    let forged = json!({
        "metadata": {"annotations": {"vcluster.dev/host-claim-uid": "1"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "csi": {"driver": "host.vcluster.dev", "volumeHandle": victim.volume}},
    });
    vec![
        attempt(
            "another's volume",
            claim(
                "thief",
                &json!({"storageClassName": "", "volumeName": victim.volume}),
            ),
            told(&[REFUSED, "spec.volumeName"]),
        ),
        attempt(
            "a copy of the control plane's claim",
            claim(
                "copy",
                &json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "data-mallory-0"}}),
            ),
            Outcome::Harmless(vec![Fact::Lacks("\"data-mallory-0\"".to_owned())]),
        ),
        attempt(
            "a volume that names another's storage",
            object("v1", "PersistentVolume", "forged", &forged),
            told(&["NotSupported", "storage class"]),
        ),
    ]
}

/// Addresses and pods that are another's, and nodes.
fn network(victim: &Victim) -> Vec<Attempt> {
    let service = |name: &str, more: &Value| {
        let mut spec = json!({"ports": [{"port": 80}]});
        merge(&mut spec, more);
        object("v1", "Service", name, &json!({"spec": spec}))
    };
    let kept = json!({"metadata": {"labels": {"vcluster.dev/managed": "true"}}});
    vec![
        attempt(
            "addresses of others",
            service("greedy", &json!({"externalIPs": [victim.address]})),
            Outcome::Refused(vec!["spec.externalIPs"]),
        ),
        attempt(
            "another's address",
            service("twin", &json!({"clusterIP": victim.address})),
            Outcome::Refused(vec!["clusterIP", "already allocated"]),
        ),
        attempt(
            "another's pods behind a Service",
            service("web", &json!({"selector": {"app": "web"}})),
            Outcome::Harmless(vec![
                Fact::Is("/spec/selector/vcluster.dev~1namespace", json!("default")),
                Fact::Is("/spec/selector/app", Value::Null),
            ]),
        ),
        attempt(
            "everybody's pods in a NetworkPolicy",
            object(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                "wall",
                &json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
            ),
            Outcome::Harmless(vec![Fact::Is(
                "/spec/podSelector/matchLabels/vcluster.dev~1part",
                json!("workload"),
            )]),
        ),
        attempt(
            "a node of the host's",
            object("v1", "Node", "extra", &kept),
            Outcome::Refused(vec!["vcluster.dev/managed"]),
        ),
        attempt(
            "a node of the tenant's own",
            object("v1", "Node", "own", &json!({})),
            Outcome::StaysInside,
        ),
    ]
}

/// Requests and names that are another's.
fn ingresses() -> Vec<Attempt> {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let paths = json!({"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]});
    let ingress = |name: &str, annotations: Value, spec: Value| {
        let more = json!({"metadata": {"annotations": annotations}, "spec": spec});
        object("networking.k8s.io/v1", "Ingress", name, &more)
    };
    let at = |host: &str| json!({"rules": [{"host": host, "http": paths}]});
    vec![
        attempt(
            "every request that nobody else takes",
            ingress("rest", json!({}), json!({"defaultBackend": backend})),
            told(&[REFUSED, "spec.defaultBackend"]),
        ),
        attempt(
            "the same by a rule",
            ingress("hostless", json!({}), json!({"rules": [{"http": paths}]})),
            told(&[REFUSED, "spec.rules[0].host"]),
        ),
        attempt(
            "a Secret of another namespace",
            ingress(
                "login",
                json!({"nginx.ingress.kubernetes.io/auth-secret": "kube-system/admin"}),
                at("mallory.example.com"),
            ),
            told(&[REFUSED, "auth-secret"]),
        ),
        attempt(
            "another's host name",
            ingress("host", json!({}), at("victim.example.com")),
            told(&[
                "HostRefused",
                "victim.example.com",
                "vcluster.dev/ingress-hosts",
            ]),
        ),
        attempt(
            "another's host name as an alias",
            ingress(
                "alias",
                json!({"nginx.ingress.kubernetes.io/server-alias": "victim.example.com"}),
                at("mallory.example.com"),
            ),
            Outcome::Harmless(vec![Fact::Lacks("victim.example.com".to_owned())]),
        ),
        attempt(
            "a certificate for another's host name",
            {
                let mut spec = at("mallory.example.com");
                spec["tls"] = json!([{"hosts": ["victim.example.com"], "secretName": "mine"}]);
                ingress("certificate", json!({}), spec)
            },
            told(&["HostRefused", "victim.example.com"]),
        ),
        attempt(
            "a host name of one's own",
            ingress("own", json!({}), at("shop.mallory.example.com")),
            Outcome::Harmless(vec![Fact::Is(
                "/spec/rules/0/host",
                json!("shop.mallory.example.com"),
            )]),
        ),
    ]
}

/// What the victim has.
struct Victim {
    address: String,
    volume: String,
}

/// A Secret, a volume, a Service and the pod that uses all of it.
fn settle(victim: &Tenant) -> Victim {
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}});
    let volumes = json!([
        {"name": "crown", "secret": {"secretName": "crown"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    ]);
    let port = json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    for object in [
        object(
            "v1",
            "Secret",
            "crown",
            &json!({"stringData": {"jewel": "koh-i-noor"}}),
        ),
        object("v1", "PersistentVolumeClaim", "data", &claim),
        object("v1", "Service", "web", &port),
        pod(
            "crown",
            &json!({"metadata": {"labels": {"app": "web"}}, "volumes": volumes}),
        ),
    ] {
        victim.inside().apply(&object.to_string());
    }
    victim
        .kubectl("wait --for=condition=Ready pod/crown --timeout=120s")
        .ok();
    Victim {
        address: victim
            .kubectl("get service web -o jsonpath={.spec.clusterIP}")
            .ok(),
        volume: victim
            .kubectl("get pvc data -o jsonpath={.spec.volumeName}")
            .ok(),
    }
}

#[test]
fn what_a_hostile_tenant_makes_is_refused_or_harmless() {
    let (mallory, victim) = Tenant::pair("mallory", "victim");
    // The host's administrator has said who may claim which host names.
    for tenant in [&mallory, &victim] {
        let hosts = format!(
            "vcluster.dev/ingress-hosts={0}.example.com,*.{0}.example.com",
            tenant.name
        );
        tenant
            .host()
            .kubectl(&format!("annotate namespace {} {hosts}", tenant.namespace))
            .ok();
    }
    let settled = settle(&victim);
    let before = untouched(&victim);
    let mut attempts = pods_that_reach_out();
    attempts.extend(pods_that_lie(&mallory, &victim));
    attempts.extend(pods_that_push(&mallory));
    attempts.extend(pods_that_pry());
    attempts.extend(volumes(&settled));
    attempts.extend(network(&settled));
    attempts.extend(ingresses());
    try_all(&mallory, &attempts);
    nothing_is_caught_but_own_pods(&mallory);
    assert_eq!(
        untouched(&victim),
        before,
        "the other tenant's objects are as they were"
    );

    // No finalizer holds the virtual cluster.
    let (name, namespace) = (&mallory.name, &mallory.namespace);
    mallory
        .host()
        .vcluster(&format!("delete {name} -n {namespace} --timeout 120s"))
        .ok();
    assert_eq!(untouched(&victim), before);
}

/// UIDs of the host's objects of a tenant.
fn untouched(tenant: &Tenant) -> Vec<Value> {
    let kinds = "pods,services,secrets,persistentvolumeclaims";
    let args = format!(
        "-n {} {kinds} -l vcluster.dev/part=workload",
        tenant.namespace
    );
    let found = tenant.host().list(&args);
    found
        .iter()
        .map(|object| object["metadata"]["uid"].clone())
        .collect()
}

/// Whatever selects pods on the host for this tenant selects none of the control plane's.
fn nothing_is_caught_but_own_pods(tenant: &Tenant) {
    let host = tenant.host();
    let kinds = "services,networkpolicies -l vcluster.dev/part=workload";
    for object in host.list(&format!("-n {} {kinds}", tenant.namespace)) {
        let spec = &object["spec"];
        let of_policy = spec.pointer("/podSelector/matchLabels");
        let labels = of_policy.unwrap_or_else(|| &spec["selector"]);
        let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else {
            continue;
        };
        let pairs: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        for pod in host.list(&format!("pods -A -l {}", pairs.join(","))) {
            let (namespace, part) = (
                &pod["metadata"]["namespace"],
                &pod["metadata"]["labels"]["vcluster.dev/part"],
            );
            assert_eq!(
                (namespace, part),
                (&json!(tenant.namespace), &json!("workload")),
                "{object}"
            );
        }
    }
}
