//! cert-manager itself, on the host: its own chart, definitions and controller, used from inside by rules that a user
//! writes into the VirtualCluster.
//!
//! It watches the host namespace of this tenant only, so that whatever else runs on the cluster does not notice it; and
//! it is taken away at the end.

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

/// Names the folder of the charts that `cargo xtask cluster up --with` has made.
const CHARTS: &str = "VCLUSTER_TEST_CHARTS";
/// cert-manager's own webhook writes it as "2160h0m0s".
const LONG: &str = "2160h";
const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// Its release.
const RELEASE: &str = "host-cert-manager";
/// What helm makes of it for the whole cluster.
const CLUSTER_WIDE: &str = "validatingwebhookconfigurations,mutatingwebhookconfigurations,clusterroles,clusterrolebindings";

/// cert-manager on the host, for one namespace.
struct CertManager<'a> {
    tenant: &'a Tenant,
    /// Its own namespace.
    namespace: String,
    /// Names of the definitions that were not there before.
    defined: Vec<String>,
}

impl<'a> CertManager<'a> {
    fn install(tenant: &'a Tenant) -> Self {
        let charts = env::var_os(CHARTS).expect("`cargo xtask test` says where charts are");
        let chart = PathBuf::from(charts).join("cert-manager");
        let chart = chart.to_string_lossy();
        let mut this = Self {
            tenant,
            namespace: format!("{}-issuer", tenant.namespace),
            defined: Vec::new(),
        };
        this.clear();
        this.define(&chart);
        let watched = format!("extraArgs={{--namespace={}}}", tenant.namespace);
        let leases = format!("global.leaderElection.namespace={}", this.namespace);
        let install = [
            "install",
            RELEASE,
            &chart,
            "--namespace",
            &this.namespace,
            "--create-namespace",
            "--set",
            &watched,
            "--set",
            &leases,
            "--set",
            "startupapicheck.enabled=false",
            "--wait",
            "--timeout",
            "4m",
        ];
        this.host().program("helm", &install).ok();
        this
    }

    /// Removes what an earlier run left that was killed: while its webhooks are registered and nobody answers them, no
    /// certificate is accepted anywhere, and helm does not take over what another release of the name has.
    fn clear(&self) {
        let of_release = format!("{CLUSTER_WIDE} -l app.kubernetes.io/instance={RELEASE}");
        let left = self.host().list(&of_release);
        let places = left.iter().filter_map(|object| {
            let annotations = &object["metadata"]["annotations"];
            annotations["meta.helm.sh/release-namespace"].as_str()
        });
        for place in places.collect::<BTreeSet<_>>() {
            self.remove(place);
        }
        let remove = format!("delete {of_release} --ignore-not-found");
        self.host().kubectl(&remove).ok();
    }

    fn remove(&self, namespace: &str) {
        let outside = self.host();
        let uninstall = ["uninstall", RELEASE, "--namespace", namespace, "--wait"];
        drop(outside.program("helm", &uninstall).run());
        let remove = format!("delete namespace {namespace} --ignore-not-found --wait=false");
        drop(outside.kubectl(&remove).run());
    }

    /// Its chart's definitions. Other tests may have put some there already, without helm.
    fn define(&mut self, chart: &str) {
        let args = [
            "template",
            "definitions",
            chart,
            "--set",
            "installCRDs=true",
        ];
        let only = ["--show-only", "templates/crds.yaml"];
        let text = self
            .host()
            .program("helm", &[&args[..], &only].concat())
            .ok();
        let file = self.tenant.folder().join("definitions.yaml");
        std::fs::write(&file, text).expect("the folder is the test's own");
        let read = "create --dry-run=client --validate=false -o json -f";
        let stream = self
            .host()
            .kubectl(&format!("{read} {}", file.display()))
            .ok();
        let printed = serde_json::Deserializer::from_str(&stream).into_iter::<Value>();
        // One after the other, or as a list.
        let definitions = printed.flat_map(|object| {
            let object = object.expect("kubectl prints JSON");
            let items = host::items(&object);
            if items.is_empty() {
                vec![object]
            } else {
                items
            }
        });
        for definition in definitions {
            let name = host::name(&definition).to_owned();
            let found = self.host().kubectl(&format!("get crd {name}")).run();
            if found.succeeded() {
                continue;
            }
            self.host()
                .kubectl("create -f -")
                .input(definition.to_string())
                .ok();
            self.defined.push(name);
        }
    }

    fn host(&self) -> &Host {
        self.tenant.host()
    }
}

impl Drop for CertManager<'_> {
    fn drop(&mut self) {
        self.remove(&self.namespace);
        for name in &self.defined {
            let remove = format!("delete crd {name} --ignore-not-found --wait=false");
            drop(self.host().kubectl(&remove).run());
        }
    }
}

/// As the user guide has them.
fn rules() -> Value {
    json!([
        {
            "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
            "references": [
                {"path": "spec.secretName", "kind": "Secret", "made": "ByHost"},
                {"path": "spec.issuerRef.name", "kind": "issuers.cert-manager.io",
                    "when": "object.spec.issuerRef.kind == 'Issuer'"},
            ],
        },
        {"group": "cert-manager.io", "version": "v1", "plural": "issuers", "direction": "ToHost"},
    ])
}

fn follow(tenant: &Tenant) {
    tenant.patch_sync(&json!({"customResources": rules()})).ok();
    tenant
        .host()
        .kubectl(&format!(
            "-n {} wait --for=condition=CustomResourcesReady virtualcluster/{} --timeout=120s",
            tenant.namespace, tenant.name
        ))
        .ok();
}

fn certificate(names: &[&str], duration: &str) -> String {
    json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "web"},
        "spec": {
            "secretName": "web-tls", "dnsNames": names, "duration": duration,
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"name": "self-signed", "kind": "Issuer"},
        },
    })
    .to_string()
}

/// The certificate as it is inside, in base64.
fn issued(tenant: &Tenant) -> String {
    let path = r"get secret web-tls -o jsonpath={.data.tls\.crt}";
    tenant.kubectl(path).ok()
}

#[test]
fn cert_manager_on_the_host_issues_what_is_ordered_inside() {
    let tenant = Tenant::create("issuer");
    let cert_manager = CertManager::install(&tenant);
    follow(&tenant);
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "self-signed"},
        "spec": {"selfSigned": {}},
    });
    tenant.inside().apply(&issuer.to_string());
    tenant
        .inside()
        .apply(&certificate(&["web.default.svc"], LONG));
    // What cert-manager says of them on the host is told inside.
    tenant
        .kubectl("wait --for=condition=Ready issuer/self-signed certificate/web --timeout=120s")
        .ok();

    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "tls", "secret": {"secretName": "web-tls"}}],
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"],
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
            }],
        },
    });
    tenant.inside().apply(&pod.to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/web --timeout=120s")
        .ok();
    let mounted = tenant.kubectl("exec web -- base64 -w 0 /tls/tls.crt").ok();
    let first = issued(&tenant);
    assert_eq!(mounted.trim(), first.trim());

    // Another order is another certificate, under the same name.
    let names = ["web.default.svc", "www.example.com"];
    tenant.inside().apply(&certificate(&names, LONG));
    eventually("the certificate is issued again", || {
        let now = issued(&tenant);
        (now != first).then_some(()).ok_or(now)
    });

    // What cert-manager's own webhook refuses on the host is told inside, with its words.
    tenant.inside().apply(&certificate(&names, "1m0s"));
    eventually("the refusal is told", || {
        let events = tenant.inside().list(
            "events --field-selector involvedObject.kind=Certificate,involvedObject.name=web",
        );
        let told = events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            message.contains("webhook.cert-manager.io") && message.contains("duration")
        });
        told.then_some(()).ok_or_else(|| format!("{events:?}"))
    });
    // As long as its controller is there to take off what it put on.
    tenant.kubectl("delete certificate web").ok();
    tenant.kubectl("delete issuer self-signed").ok();
    eventually("nothing of them is left on the host", || {
        let left = tenant.host().list(&format!(
            "-n {} certificates.cert-manager.io,issuers.cert-manager.io",
            tenant.namespace
        ));
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    drop(cert_manager);
}
