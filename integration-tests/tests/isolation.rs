//! What a control plane reaches by network and who asks its DNS server, proved by packets: the NetworkPolicies that
//! control makes in each host namespace.
//!
//! The proxy to pods and Services, webhooks by URL: the administrator inside points the virtual API server wherever she
//! wants. Each request that gets no answer is shown to be one that does where it leads to what is her own.

use std::{fmt::Write as _, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use integration_tests::{Host, Output, Tenant, eventually, host};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// What is said where nobody answers; a refusal would say who.
const SILENCE: [&str; 3] = ["imeout", "deadline", "allotted"];
/// What the API server says of somebody who answers and does not speak TLS.
const ANSWERED: &str = "server gave HTTP response to HTTPS client";
/// An address that no range of a network's own holds. Nobody has it but who takes it here.
const PUBLIC: &str = "192.0.2.80";
const PORT: u16 = 8099;

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp"],
        }]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn populate(tenant: &Tenant) {
    tenant.inside().apply(&pod("web", &json!({})).to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/web --timeout=180s")
        .ok();
}

/// Address of the first object that a query of the host finds.
#[track_caller]
fn address(host: &Host, query: &str, pointer: &str) -> String {
    let found = host.list(query);
    let found = found.first().and_then(|object| object.pointer(pointer));
    found.and_then(Value::as_str).expect(query).to_owned()
}

/// Points a pod that no node runs to an address.
fn forge(tenant: &Tenant, name: &str, address: &str) {
    let gated = pod(
        name,
        &json!({"schedulingGates": [{"name": "example.com/never"}]}),
    );
    tenant.inside().apply(&gated.to_string());
    let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}}).to_string();
    tenant
        .inside()
        .kubectl_args(&[
            "patch",
            "pod",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ])
        .ok();
}

/// Leads a Service without selector to an address. The proxy takes it only if it is that of the pod that is named.
fn lead(tenant: &Tenant, name: &str, pod: &str, address: &str) {
    let metadata = json!({"name": name});
    let ports = json!([{"port": 80}]);
    let target = json!({"kind": "Pod", "namespace": "default", "name": pod});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports},
    });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
        "subsets": [{"addresses": [{"ip": address, "targetRef": target}], "ports": ports}],
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [service, endpoints]});
    tenant.inside().apply(&list.to_string());
}

/// Asks the virtual API server for something that it must ask somebody else for.
fn get(tenant: &Tenant, path: &str) -> Output {
    let args = format!("get --raw /api/v1/namespaces/default/{path} --request-timeout=4s");
    // Endpoints count a moment after they were stored.
    eventually("the Service has endpoints", || {
        let output = tenant.kubectl(&args).run();
        if output.stderr.contains("no endpoints available") {
            Err(output)
        } else {
            Ok(output)
        }
    })
}

fn is_silent(output: &Output) -> bool {
    !output.succeeded() && SILENCE.iter().any(|word| output.stderr.contains(word))
}

/// Asks for everything at once, and fails with every answer.
#[track_caller]
fn nobody_answers(tenant: &Tenant, paths: &[(&str, String)]) {
    let answers: Vec<Output> = thread::scope(|scope| {
        let asked: Vec<_> = paths
            .iter()
            .map(|(_, path)| scope.spawn(|| get(tenant, path)))
            .collect();
        asked
            .into_iter()
            .map(|each| each.join().expect("no thread panics"))
            .collect()
    });
    let mut wrong = String::new();
    for ((what, _), answer) in paths.iter().zip(answers) {
        if !is_silent(&answer) {
            // Writing to a String does not fail.
            let _ = writeln!(wrong, "- {what}: {answer}");
        }
    }
    assert!(wrong.is_empty(), "these answered:\n{wrong}");
}

/// A pod of the host that serves at a node's address, and at one that looks like somebody's on the Internet.
struct Server(Host, String);

impl Server {
    fn start() -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (host, name) = (Host::get(), format!("public-{}", &id[..6]));
        let script = format!(
            "ip address add {PUBLIC}/32 dev lo; trap 'ip address del {PUBLIC}/32 dev lo; exit' TERM; \
             httpd -f -p {PORT} -h /tmp & wait"
        );
        let mut served = pod(
            &name,
            &json!({"hostNetwork": true, "terminationGracePeriodSeconds": 5}),
        );
        let container = &mut served["spec"]["containers"][0];
        container["command"] = json!(["sh", "-c", script]);
        container["securityContext"] = json!({"capabilities": {"add": ["NET_ADMIN"]}});
        container["readinessProbe"] = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
        host.apply(&served.to_string());
        host.kubectl(&format!(
            "wait --for=condition=Ready pod/{name} --timeout=120s"
        ))
        .ok();
        Self(host, name)
    }

    fn node(&self) -> String {
        let query = format!("pods --field-selector=metadata.name={}", self.1);
        address(&self.0, &query, "/status/hostIP")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0
            .kubectl(&format!("delete pod {} --wait=false", self.1))
            .run();
    }
}

/// What a webhook at that place makes of an object that it is asked about.
fn asks_webhook(tenant: &Tenant, name: &str, at: &str) -> Output {
    let authority = KeyPair::generate()
        .and_then(|key| CertificateParams::new(Vec::new())?.self_signed(&key))
        .expect("keys can be made");
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 3,
            "clientConfig": {"url": format!("https://{at}/"), "caBundle": STANDARD.encode(authority.pem())},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}],
            "objectSelector": {"matchLabels": {"asks": name}},
        }],
    });
    tenant.inside().apply(&hook.to_string());
    let asked = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-", "labels": {"asks": name}}});
    // A configuration counts a moment after it was stored.
    eventually(&format!("the webhook at {at} is asked"), || {
        let output = tenant.kubectl("create -f -").input(asked.to_string()).run();
        if output.succeeded() {
            Err(output)
        } else {
            Ok(output)
        }
    })
}

#[test]
fn a_control_plane_reaches_its_own_pods_and_public_addresses_and_nothing_else_of_the_host() {
    let (mallory, victim) = Tenant::pair("mallory", "victim");
    let host = Host::get();
    thread::scope(|scope| {
        scope.spawn(|| populate(&victim));
        populate(&mallory);
    });
    let inside = |tenant: &Tenant| {
        tenant
            .kubectl("get pod web -o jsonpath={.status.podIP}")
            .ok()
    };
    let (own, foreign) = (inside(&mallory), inside(&victim));
    let part = |part: &str| format!("-n {} pods -l vcluster.dev/part={part}", victim.namespace);
    let sync = format!(
        "-n {} pods -l app.kubernetes.io/name=vcluster-sync",
        host::RELEASE
    );
    let node = address(&host, "nodes", "/status/addresses/0/address");
    let api = address(
        &host,
        "-n default services --field-selector=metadata.name=kubernetes",
        "/spec/clusterIP",
    );
    let pod_ip = "/status/podIP";
    let targets = [
        ("another's pod", "http", foreign.clone(), 80, ""),
        (
            "another's API server",
            "https",
            address(&host, &part("control-plane"), pod_ip),
            6443,
            "version",
        ),
        (
            "another's DNS server",
            "http",
            address(&host, &part("dns"), pod_ip),
            8080,
            "health",
        ),
        (
            "the metrics of sync",
            "http",
            address(&host, &sync, pod_ip),
            9090,
            "metrics",
        ),
        ("the host's API server", "https", api, 443, "version"),
        ("a kubelet", "https", node, 10250, "healthz"),
    ];
    let mut paths = Vec::new();
    for (n, (what, scheme, address, port, path)) in targets.iter().enumerate() {
        forge(&mallory, &format!("lure-{n}"), address);
        paths.push((*what, format!("pods/{scheme}:lure-{n}:{port}/proxy/{path}")));
    }
    lead(&mallory, "door", "lure-0", &foreign);
    paths.push((
        "another's pod by Endpoints",
        "services/door:80/proxy/".to_owned(),
    ));
    nobody_answers(&mallory, &paths);

    // The very same requests, where they lead to what is the own.
    forge(&mallory, "lure-0", &own);
    lead(&mallory, "door", "lure-0", &own);
    for path in ["pods/http:lure-0:80/proxy/", "services/door:80/proxy/"] {
        eventually("the own pod answers", || {
            let output = get(&mallory, path);
            if output.stdout.contains("hello") {
                Ok(())
            } else {
                Err(output)
            }
        });
    }

    let server = Server::start();
    for (name, at, answered) in [
        ("own", format!("{own}:80"), true),
        ("foreign", format!("{foreign}:80"), false),
        ("public", format!("{PUBLIC}:{PORT}"), true),
        ("private", format!("{}:{PORT}", server.node()), false),
    ] {
        let output = asks_webhook(&mallory, name, &at);
        let right = if answered {
            output.stderr.contains(ANSWERED)
        } else {
            is_silent(&output)
        };
        assert!(right, "a webhook at {at} ({name}): {output}");
    }

    what_is_needed_works(&mallory);
    only_own_pods_ask_the_dns_server(&mallory, &victim);
}

/// What a virtual API server needs sync for, over the fence.
fn what_is_needed_works(tenant: &Tenant) {
    tenant.kubectl("logs web").ok();
    let said = tenant.kubectl("exec web -- cat /tmp/index.html").ok();
    assert_eq!(said.trim(), "hello");
    tenant
        .kubectl("create service clusterip made --tcp=80")
        .ok();
    tenant
        .kubectl("wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=60s")
        .ok();
}

fn only_own_pods_ask_the_dns_server(mallory: &Tenant, victim: &Tenant) {
    let server = |tenant: &Tenant| {
        let query = format!(
            "-n {} services --field-selector=metadata.name=vcluster-dns",
            tenant.namespace
        );
        address(tenant.host(), &query, "/spec/clusterIP")
    };
    let (own, foreign) = (server(mallory), server(victim));
    let asks = |tenant: &Tenant, server: &str| {
        let name = "kubernetes.default.svc.cluster.local";
        let args = ["exec", "web", "--", "nslookup", name, server];
        tenant.inside().kubectl_args(&args).run()
    };
    for (tenant, server) in [(mallory, &own), (victim, &foreign)] {
        let answer = asks(tenant, server);
        assert!(answer.succeeded(), "{answer}");
    }
    for (tenant, server) in [(mallory, &foreign), (victim, &own)] {
        let answer = asks(tenant, server);
        assert!(
            !answer.succeeded(),
            "another's DNS server answers: {answer}"
        );
    }
}

#[test]
fn the_policies_are_controls_and_are_put_right_when_somebody_changes_them() {
    let tenant = Tenant::create("fenced");
    let (host, namespace) = (tenant.host(), &tenant.namespace);
    let spec = |name: &str| {
        let args = format!("-n {namespace} get networkpolicy {name} -o json");
        let output = host.kubectl(&args).run();
        let found: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        (found["metadata"]["uid"].clone(), found["spec"].clone())
    };
    let open =
        json!({"spec": {"egress": [{}], "ingress": [{}], "policyTypes": ["Egress", "Ingress"]}})
            .to_string();
    let patch = |name: &str, more: &[&str]| {
        let what = ["-n", namespace, "patch", "networkpolicy", name];
        let args = [&what[..], &["--type=merge", "-p", &open], more].concat();
        host.kubectl_args(&args)
    };
    for name in ["vcluster-control-plane-egress", "vcluster-dns-ingress"] {
        let (uid, wanted) = spec(name);
        assert!(wanted.is_object(), "{name} is there");
        patch(name, &[]).ok();
        eventually(&format!("{name} is put right"), || {
            let found = spec(name);
            if found == (uid.clone(), wanted.clone()) {
                Ok(())
            } else {
                Err(found.1)
            }
        });
        host.kubectl(&format!("-n {namespace} delete networkpolicy {name}"))
            .ok();
        eventually(&format!("{name} comes back"), || {
            let found = spec(name);
            if found.0 != uid && found.1 == wanted {
                Ok(())
            } else {
                Err(found.1)
            }
        });
        let account = format!("--as=system:serviceaccount:{namespace}:vcluster-sync");
        host.kubectl(&format!(
            "-n {namespace} delete networkpolicy {name} --dry-run=server {account}"
        ))
        .refused(&["only translated objects"]);
        patch(name, &[&account, "--dry-run=server"]).refused(&["a tenant"]);
    }
}
