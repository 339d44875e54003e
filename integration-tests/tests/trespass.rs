//! What a hostile tenant holds in its hands (tokens found in pods, sync's own user, the account by which sync works on
//! the host) leads nowhere but to its own virtual cluster.

use integration_tests::{
    Command, Host, Tenant,
    attempt::{Attempt, Outcome, translation, try_all},
    eventually, host,
};
use serde_json::{Value, json};

const SYNC: &str = "--as=system:vcluster:sync --as-group=system:masters";

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn pod(name: &str) -> Value {
    object(
        "v1",
        "Pod",
        name,
        &json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}],
        }),
    )
}

/// Kubernetes' own claim of 16 MiB.
fn claim(name: &str, volume: &str) -> Value {
    object(
        "v1",
        "PersistentVolumeClaim",
        name,
        &json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}},
            "storageClassName": "", "volumeName": volume,
        }),
    )
}

#[test]
fn a_token_found_in_a_pod_is_good_in_its_own_virtual_cluster_only() {
    let (mallory, victim) = Tenant::pair("mallory", "victim");
    mallory.inside().apply(&pod("pry").to_string());
    mallory
        .kubectl("wait --for=condition=Ready pod/pry --timeout=120s")
        .ok();
    let found = mallory
        .kubectl("exec pry -- ls /var/run/secrets /var/run/secrets/kubernetes.io")
        .ok();
    let words: Vec<&str> = found.split_whitespace().collect();
    let only = [
        "/var/run/secrets:",
        "kubernetes.io",
        "/var/run/secrets/kubernetes.io:",
        "serviceaccount",
    ];
    assert_eq!(words, only, "nothing of the host's is mounted");
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let token = mallory
        .kubectl(&format!("exec pry -- cat {folder}/token"))
        .ok();
    let with_token = |config: &Host, name: &str| {
        let mut config = config
            .kubectl("config view --raw --flatten --minify -o json")
            .json();
        config["users"][0]["user"] = json!({"token": token});
        let path = mallory.folder().join(name);
        std::fs::write(&path, config.to_string()).expect("the folder was made for this");
        Host::by(path)
    };
    for (elsewhere, name) in [(mallory.host(), "host"), (&victim.inside(), "victim")] {
        let refused = with_token(elsewhere, name)
            .kubectl("get --raw /api/v1/namespaces")
            .run();
        assert!(!refused.succeeded(), "{name}: {refused}");
        assert!(
            refused.stderr.contains("nauthorized") || refused.stderr.contains("logged in"),
            "{name}: {refused}"
        );
    }
    // In its own cluster it is what it says.
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "metadata": {"name": "token"}, "spec": {"token": token}});
    let review = mallory
        .kubectl("create -o json -f -")
        .input(review.to_string())
        .json();
    assert_eq!(review["status"]["authenticated"], true, "{review}");
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:default"
    );
}

/// The administrator inside may act as anybody, so also as the user whom the static policies spare.
#[test]
fn who_acts_as_sync_inside_gains_nothing_on_the_host() {
    let (mallory, victim) = Tenant::pair("mallory", "victim");
    let port = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    victim
        .inside()
        .apply(&object("v1", "Service", "web", &port).to_string());
    let address = victim
        .kubectl("get service web -o jsonpath={.spec.clusterIP}")
        .ok();
    let as_sync = |args: &str, object: &Value| -> Command {
        mallory
            .kubectl(&format!("{args} {SYNC}"))
            .input(object.to_string())
    };

    // Past the webhook: the address is the other's, and stays so.
    let mut twin = object("v1", "Service", "twin", &port);
    twin["spec"]["clusterIP"] = address.as_str().into();
    as_sync("create -f -", &twin).ok();
    told(&mallory, "twin", &["clusterIP", "already allocated"]);
    assert_eq!(translation(&mallory, &twin), None);
    let mut taker = twin.clone();
    taker["metadata"]["name"] = "taker".into();
    taker["spec"]["clusterIP"] = Value::Null;
    taker["spec"]["externalIPs"] = json!([address]);
    as_sync("create -f -", &taker).ok();
    told(&mallory, "taker", &["spec.externalIPs"]);
    assert_eq!(translation(&mallory, &taker), None);

    // A volume that looks as if sync had brought it.
    let volume = json!({"capacity": {"storage": "16Mi"}, "accessModes": ["ReadWriteOnce"],
        "storageClassName": "", "csi": {"driver": "host.vcluster.dev", "volumeHandle": "another"}});
    let mut volume = object("v1", "PersistentVolume", "brought", &volume);
    volume["metadata"]["labels"] = json!({"vcluster.dev/managed": "true"});
    as_sync("create -f -", &volume).ok();
    try_all(
        &mallory,
        &[Attempt {
            what: "a claim of a volume that looks as if sync had brought it",
            object: claim("bringer", "brought"),
            outcome: Outcome::Told(vec!["HostAccessRefused", "spec.volumeName"]),
        }],
    );

    // What mirrors the host is put right.
    let node = eventually("a node shows", || {
        let nodes = host::items(&mallory.kubectl("get nodes -o json").json());
        nodes
            .first()
            .map(host::name)
            .map(str::to_owned)
            .ok_or("none")
    });
    mallory
        .kubectl(&format!("label node {node} forged=yes {SYNC}"))
        .ok();
    mallory.kubectl(&format!("delete node {node} {SYNC}")).ok();
    eventually("the node is back as it was", || {
        let shown = mallory.kubectl(&format!("get node {node} -o json")).run();
        (shown.succeeded() && !shown.stdout.contains("forged"))
            .then_some(())
            .ok_or(shown)
    });
    let unlabelled = mallory
        .host()
        .kubectl(&format!("get node {node} -o json"))
        .json();
    assert_eq!(unlabelled["metadata"]["labels"].get("forged"), None);
}

/// A node of the tenant's own leads the virtual API server where the tenant wants, who gets nothing back.
#[test]
fn a_node_of_the_tenants_own_leads_to_nothing_of_the_hosts() {
    let mallory = Tenant::create("mallory");
    // Its own API server: where an enforcer of NetworkPolicies runs, nobody else would answer at all (`isolation`).
    let api = mallory
        .kubectl("-n default get service kubernetes -o jsonpath={.spec.clusterIP}")
        .ok();
    mallory
        .kubectl("create -f -")
        .input(object("v1", "Node", "lure", &json!({})).to_string())
        .ok();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": api}, {"type": "InternalDNS", "address": api},
            {"type": "Hostname", "address": api}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 443}},
    }});
    let status = status.to_string();
    mallory
        .inside()
        .kubectl_args(&[
            "patch",
            "node",
            "lure",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ])
        .ok();
    let mut lured = pod("lured");
    lured["spec"]["nodeName"] = "lure".into();
    mallory.kubectl("create -f -").input(lured.to_string()).ok();
    let output = mallory.kubectl("logs lured").run();
    let says = |word| output.stderr.contains(word);
    assert!(
        !output.succeeded() && (says("x509") || says("tls:")),
        "{output}"
    );
}

#[test]
fn the_tenants_account_on_the_host_stays_within_its_bounds() {
    let (mallory, victim) = Tenant::pair("mallory", "victim");
    let host = mallory.host();
    let (own, foreign) = (&mallory.namespace, &victim.namespace);
    let annotate =
        format!("annotate namespace {own} vcluster.dev/ingress-hosts=mallory.example.com");
    host.kubectl(&annotate).ok();
    let account = format!("--as=system:serviceaccount:{own}:vcluster-sync");
    for (attempt, words) in [
        (
            format!("-n {own} exec mallory-0 -c kube-apiserver -- true"),
            "translated pods only",
        ),
        (
            format!("-n {own} attach mallory-0 -c kube-apiserver"),
            "translated pods only",
        ),
        (
            format!("get --raw /api/v1/namespaces/{own}/pods/mallory-0/portforward?ports=2379"),
            "translated pods only",
        ),
        (
            format!("-n {foreign} exec victim-0 -c kube-apiserver -- true"),
            "orbidden",
        ),
        (format!("-n {foreign} get secrets"), "orbidden"),
        (format!("-n {foreign} get pods"), "orbidden"),
        (
            format!("-n {own} create token vcluster-workload"),
            "orbidden",
        ),
        (format!("-n {own} create token vcluster-sync"), "orbidden"),
        (
            format!("-n {own} delete service mallory --dry-run=server"),
            "only translated objects",
        ),
        (
            format!("-n {own} delete pod mallory-0 --dry-run=server"),
            "only translated objects",
        ),
        (
            format!("-n {own} delete pvc data-mallory-0 --dry-run=server"),
            "only translated objects",
        ),
        (
            format!("-n {own} delete statefulset mallory --dry-run=server"),
            "orbidden",
        ),
        (
            format!("-n {own} delete virtualcluster mallory --dry-run=server"),
            "orbidden",
        ),
    ] {
        host.kubectl(&format!("{account} {attempt}"))
            .refused(&[words]);
    }
    for (kind, object, words) in objects_out_of_bounds() {
        let mut object = object;
        object["metadata"]["namespace"] = own.as_str().into();
        object["metadata"]["labels"] = json!({"vcluster.dev/part": "workload"});
        let create = host
            .kubectl(&format!("create --dry-run=server -f - {account}"))
            .input(object.to_string())
            .run();
        assert!(
            !create.succeeded() && create.stderr.contains(words),
            "{kind} should say {words:?}: {create}"
        );
    }
}

fn objects_out_of_bounds() -> Vec<(&'static str, Value, &'static str)> {
    let pod_with = |more: Value| {
        let mut pod = pod("p");
        pod["spec"]["serviceAccountName"] = "vcluster-workload".into();
        for (key, value) in more.as_object().into_iter().flatten() {
            pod["spec"][key] = value.clone();
        }
        pod
    };
    let volume =
        |source: &str, value: Value| pod_with(json!({"volumes": [{"name": "v", source: value}]}));
    let claim_with = |key: &str, value: Value| {
        let mut claim = claim("c", "any");
        claim["spec"]
            .as_object_mut()
            .expect("a spec")
            .remove("volumeName");
        claim["spec"][key] = value;
        claim
    };
    let service = |key: &str, value: Value| {
        object(
            "v1",
            "Service",
            "s",
            &json!({"ports": [{"port": 80}], key: value}),
        )
    };
    let ingress = |spec: Value| object("networking.k8s.io/v1", "Ingress", "i", &spec);
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let paths = json!({"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]});
    let pki = json!({"name": "vcluster-pki"});
    let copy = json!({"kind": "PersistentVolumeClaim", "name": "data-mallory-0"});
    vec![
        (
            "a CSI driver",
            volume("csi", json!({"driver": "d", "nodePublishSecretRef": pki})),
            "control plane's Secrets",
        ),
        (
            "a pull",
            pod_with(json!({"imagePullSecrets": [pki]})),
            "control plane's Secrets",
        ),
        (
            "the store",
            volume(
                "persistentVolumeClaim",
                json!({"claimName": "data-mallory-0"}),
            ),
            "only claims that were translated",
        ),
        (
            "a made claim",
            volume(
                "ephemeral",
                json!({"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}}),
            ),
            "a tenant's pod may",
        ),
        ("a volume", claim("c", "any"), "choose among the host's"),
        (
            "a selector",
            claim_with("selector", json!({"matchLabels": {"a": "b"}})),
            "choose among the host's",
        ),
        (
            "a copy",
            claim_with("dataSource", copy),
            "copy only of what was translated",
        ),
        (
            "addresses",
            service("externalIPs", json!(["192.0.2.1"])),
            "externalIPs",
        ),
        (
            "the API's pods",
            service("selector", json!({"vcluster.dev/part": "control-plane"})),
            "only translated pods",
        ),
        (
            "the rest",
            ingress(json!({"defaultBackend": backend})),
            "must name the host of each rule",
        ),
        (
            "any host",
            ingress(json!({"rules": [{"http": paths}]})),
            "must name the host of each rule",
        ),
        (
            "a host",
            ingress(json!({"rules": [{"host": "victim.example.com", "http": paths}]})),
            "may not claim victim.example.com",
        ),
    ]
}

#[track_caller]
fn told(tenant: &Tenant, name: &str, words: &[&str]) {
    eventually(&format!("an Event about {name}"), || {
        let args = format!("get events --field-selector=involvedObject.name={name} -o json");
        let events = host::items(&tenant.kubectl(&args).json());
        let said: Vec<String> = events
            .iter()
            .map(|event| event["message"].to_string())
            .collect();
        let fits = |said: &String| words.iter().all(|word| said.contains(word));
        said.iter()
            .any(fits)
            .then_some(())
            .ok_or_else(|| format!("{said:?}"))
    });
}
