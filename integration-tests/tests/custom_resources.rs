//! Custom resources by rules of the VirtualCluster: kinds that no code of ours knows.
//!
//! cert-manager's own definitions are read from its Go module. Where its controller does not run on the host, the
//! test plays its part: it writes the Secret and the status.

use std::path::{Path, PathBuf};
use std::process;

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

const CERTIFICATES: &str = "certificates.cert-manager.io";
const GADGETS: &str = "gadgets.test.vcluster.dev";
const SHELVES: &str = "shelves.test.vcluster.dev";

/// The module that holds cert-manager's definitions, as Go's module proxy has it.
const MODULE: &str = "github.com/cert-manager/cert-manager@v1.11.5";

/// Its folder in Go's module cache.
fn module(folder: &Path) -> PathBuf {
    let mut go = process::Command::new("go");
    go.args(["mod", "download", "-json", MODULE])
        .current_dir(folder);
    let output = go.output().expect("go runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("go prints JSON");
    found["Dir"].as_str().expect("it is there").into()
}

/// Has cert-manager's definitions on the host, as its release has them.
fn define_certificates(host: &Host, folder: &Path) {
    for name in ["certificates", "issuers"] {
        let definition = format!("{name}.cert-manager.io");
        if host
            .kubectl(&format!("get crd {definition}"))
            .run()
            .succeeded()
        {
            continue;
        }
        let file = module(folder).join(format!("deploy/crds/crd-{name}.yaml"));
        let read = format!(
            "create --dry-run=client --validate=false -o json -f {}",
            file.display()
        );
        let mut definition = host.kubectl(&read).json();
        // Its labels are a template of its chart.
        definition["metadata"]["labels"] = Value::Null;
        define(host, &definition);
    }
}

fn define(host: &Host, definition: &Value) {
    host.kubectl("apply --server-side -f -")
        .input(definition.to_string())
        .ok();
    let name = host::name(definition);
    host.kubectl(&format!(
        "wait --for=condition=Established crd/{name} --timeout=60s"
    ))
    .ok();
}

fn definition(kind: &str, plural: &str, scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.test.vcluster.dev")},
        "spec": {
            "group": "test.vcluster.dev", "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

fn rule(definition: &str, with: &Value) -> Value {
    let (plural, group) = definition.split_once('.').expect("it has a group");
    let mut rule =
        json!({"group": group, "version": "v1", "plural": plural, "direction": "ToHost"});
    for (key, value) in with.as_object().expect("an object") {
        rule[key] = value.clone();
    }
    rule
}

fn patch(tenant: &Tenant, rules: &Value) -> integration_tests::Command {
    tenant.patch_sync(&json!({"customResources": rules}))
}

/// Waits until the condition says so.
fn said(tenant: &Tenant, status: &str, words: &[&str]) {
    eventually(&format!("CustomResourcesReady is {status}"), || {
        let args = format!(
            "-n {} get virtualcluster {} -o json",
            tenant.namespace, tenant.name
        );
        let cluster = tenant.host().kubectl(&args).json();
        let conditions = cluster["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == "CustomResourcesReady");
        let found = found.ok_or("it is not there")?;
        let message = found["message"].to_string();
        let says = found["status"] == status && words.iter().all(|word| message.contains(word));
        says.then_some(()).ok_or_else(|| found.to_string())
    });
}

fn outside(tenant: &Tenant, collection: &str, name: &str) -> Value {
    eventually(&format!("{collection} {name} reaches the host"), || {
        let all = tenant
            .host()
            .list(&format!("-n {} {collection}", tenant.namespace));
        let named =
            |object: &&Value| object["metadata"]["annotations"]["vcluster.dev/name"] == name;
        all.iter()
            .find(named)
            .cloned()
            .ok_or_else(|| format!("not among {}", all.len()))
    })
}

fn gone(tenant: &Tenant, collection: &str, name: &str) {
    eventually(&format!("{collection} {name} leaves the host"), || {
        let all = tenant
            .host()
            .list(&format!("-n {} {collection}", tenant.namespace));
        let named =
            |object: &&Value| object["metadata"]["annotations"]["vcluster.dev/name"] == name;
        all.iter()
            .find(named)
            .map_or(Ok(()), |left| Err(left.to_string()))
    });
}

fn inside(tenant: &Tenant, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{what} is as it should be inside"), || {
        let output = tenant.kubectl(&format!("get {what} -o json")).run();
        let found: Value =
            serde_json::from_str(&output.stdout).map_err(|_none| output.to_string())?;
        if is(&found) {
            Ok(found)
        } else {
            Err(found.to_string())
        }
    })
}

fn secret(namespace: &str, name: &str, certificate: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate, "tls.key": "key"},
    })
}

/// What cert-manager's controller does when a certificate is issued.
fn issue(tenant: &Tenant, made: &Value, certificate: &str, revision: u32) {
    let name = made["spec"]["secretName"]
        .as_str()
        .expect("it names a Secret");
    tenant
        .host()
        .apply(&secret(&tenant.namespace, name, certificate).to_string());
    let status = json!({"status": {"revision": revision, "conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "message": format!("{} is up to date", host::name(made)),
        "observedGeneration": made["metadata"]["generation"],
    }]}});
    let status = status.to_string();
    let args = [
        "-n",
        &tenant.namespace,
        "patch",
        CERTIFICATES,
        host::name(made),
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    tenant.host().kubectl_args(&args).ok();
}

fn certificate_rules() -> Value {
    json!([
        rule(
            CERTIFICATES,
            &json!({
                "references": [
                    {"path": "spec.secretName", "kind": "Secret", "made": "ByHost"},
                    {"path": "spec.issuerRef.name", "kind": "issuers.cert-manager.io",
                        "when": "!has(object.spec.issuerRef.kind) || object.spec.issuerRef.kind == 'Issuer'"},
                ],
                "patches": [{"path": "spec.commonName", "expression": "value == null ? cluster.name + '.test' : value"}],
            })
        ),
        rule("issuers.cert-manager.io", &json!({})),
    ])
}

/// What the host's controllers say of a certificate is told inside.
fn told_inside(tenant: &Tenant, made: &Value) {
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": "from-a-controller", "namespace": tenant.namespace},
        "involvedObject": {
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "namespace": tenant.namespace,
            "name": host::name(made), "uid": made["metadata"]["uid"],
        },
        "type": "Normal", "reason": "Renewed", "message": format!("renewed {}", host::name(made)),
        "source": {"component": "controller"},
    });
    tenant.host().apply(&event.to_string());
    eventually("the event is told inside", || {
        let args =
            "get events --field-selector=involvedObject.kind=Certificate,reason=Renewed -o json";
        let events = host::items(&tenant.kubectl(args).json());
        let found = events.iter().any(|event| event["message"] == "renewed web");
        found.then_some(()).ok_or_else(|| format!("{events:?}"))
    });
}

#[test]
fn a_certificate_is_issued_on_the_host_and_its_secret_is_used_inside() {
    let tenant = Tenant::create("certs");
    define_certificates(tenant.host(), tenant.folder());
    let runs = tenant
        .host()
        .list("-A pods -l app.kubernetes.io/name=cert-manager");
    let is_played = runs.is_empty();
    patch(&tenant, &certificate_rules()).ok();
    said(&tenant, "True", &[CERTIFICATES, "issuers.cert-manager.io"]);
    let copy = inside(&tenant, &format!("crd {CERTIFICATES}"), |_| true);
    assert_eq!(copy["spec"]["versions"].as_array().map(Vec::len), Some(1));

    let issuer = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Issuer",
        "metadata": {"namespace": "default", "name": "self"}, "spec": {"selfSigned": {}},
    });
    let certificate = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"namespace": "default", "name": "web", "labels": {"app": "web"}},
        "spec": {"secretName": "tls", "issuerRef": {"name": "self", "kind": "Issuer"}, "dnsNames": ["web.test"]},
    });
    tenant.inside().apply(&issuer.to_string());
    tenant.inside().apply(&certificate.to_string());
    let made = outside(&tenant, CERTIFICATES, "web");
    assert_eq!(made["spec"]["secretName"], "tls-x-default-x-certs");
    assert_eq!(made["spec"]["issuerRef"]["name"], "self-x-default-x-certs");
    assert_eq!(made["spec"]["commonName"], "certs.test");
    outside(&tenant, "issuers.cert-manager.io", "self");
    if is_played {
        issue(&tenant, &made, "first", 1);
    }
    let ready = |object: &Value| object["status"]["conditions"][0]["status"] == "True";
    let shown = inside(&tenant, &format!("{CERTIFICATES} web"), ready);
    if is_played {
        assert_eq!(
            shown["status"]["conditions"][0]["message"],
            "web is up to date"
        );
        let seen = &shown["status"]["conditions"][0]["observedGeneration"];
        assert_eq!(*seen, shown["metadata"]["generation"]);
    }
    let copy = inside(&tenant, "secret tls", |object| {
        object["data"]["tls.crt"].is_string()
    });
    assert_eq!(copy["type"], "kubernetes.io/tls");

    // A pod inside uses the Secret that the host made.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": "reader"},
        "spec": {
            "restartPolicy": "Never", "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
            "containers": [{
                "name": "main", "image": "docker.io/library/busybox:latest", "imagePullPolicy": "IfNotPresent",
                "command": ["cat", "/tls/tls.crt"], "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
            }],
        },
    });
    tenant.inside().apply(&pod.to_string());
    inside(&tenant, "pod reader", |pod| {
        pod["status"]["phase"] == "Succeeded"
    });
    if is_played {
        assert_eq!(tenant.kubectl("logs reader").ok(), "first");
        issue(&tenant, &made, "second", 2);
        inside(&tenant, "secret tls", |object| {
            object["data"]["tls.crt"] == "c2Vjb25k"
        });
    }

    told_inside(&tenant, &made);

    // Without the rules everything stays as it is, on both sides.
    patch(&tenant, &json!([])).ok();
    eventually("the condition goes with the rules", || {
        let args = format!(
            "-n {} get virtualcluster {} -o json",
            tenant.namespace, tenant.name
        );
        let conditions = tenant.host().kubectl(&args).json()["status"]["conditions"].to_string();
        if conditions.contains("CustomResourcesReady") {
            Err(conditions)
        } else {
            Ok(())
        }
    });
    tenant.kubectl(&format!("get {CERTIFICATES} web")).ok();
    outside(&tenant, CERTIFICATES, "web");
    // And when they come back, they find it again.
    patch(&tenant, &certificate_rules()).ok();
    said(&tenant, "True", &[CERTIFICATES]);
    let again = outside(&tenant, CERTIFICATES, "web");
    assert_eq!(again["metadata"]["uid"], made["metadata"]["uid"]);

    tenant.kubectl(&format!("delete {CERTIFICATES} web")).ok();
    gone(&tenant, CERTIFICATES, "web");
    tenant.kubectl("get secret tls").ok();
}

#[test]
fn a_rule_that_cannot_be_followed_is_told_and_keeps_nothing_else_waiting() {
    let tenant = Tenant::create("rules");
    define(
        tenant.host(),
        &definition("Gadget", "gadgets", "Namespaced"),
    );
    for (rules, says) in [
        (
            json!([rule(
                "certificates.cert-manager.io",
                &json!({"references": [{"path": "metadata.name", "kind": "Secret"}]})
            )]),
            "path must not lie in apiVersion, kind or metadata",
        ),
        (
            json!([rule(
                GADGETS,
                &json!({"references": [{"path": "spec.x", "kind": "Pod", "made": "ByHost"}]})
            )]),
            "made can be ByHost only with kind Secret or ConfigMap",
        ),
        (
            json!([rule(GADGETS, &json!({"patches": [{"path": "spec.x"}]}))]),
            "a patch must have an expression",
        ),
        (
            json!([rule(GADGETS, &json!({"hostOwns": ["a[*]"]}))]),
            "hostOwns must be paths",
        ),
        (
            json!([rule(GADGETS, &json!({"namespace": "x"}))]),
            "namespace must not be given",
        ),
        (
            json!([rule("gadgets.core", &json!({}))]),
            "group must be a DNS name with a dot",
        ),
    ] {
        patch(&tenant, &rules).refused(&[says]);
    }
    // What a schema cannot tell, the condition does.
    let broken = json!({"patches": [{"path": "spec.x", "expression": "value +"}]});
    patch(&tenant, &json!([rule(GADGETS, &broken)])).ok();
    said(&tenant, "False", &["patches[0].expression", "CEL"]);
    let uses = json!({"references": [{"path": "spec.config", "kind": "ConfigMap"}]});
    let rules = json!([
        rule("secretstores.external-secrets.io", &json!({})),
        rule(GADGETS, &uses),
    ]);
    patch(&tenant, &rules).ok();
    said(
        &tenant,
        "False",
        &["secretstores.external-secrets.io", "sync.customResources"],
    );
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "settings"},
        "data": {"a": "b"},
    });
    let gadget = |name: &str, spec: &Value| {
        json!({
            "apiVersion": "test.vcluster.dev/v1", "kind": "Gadget",
            "metadata": {"namespace": "default", "name": name}, "spec": spec,
        })
    };
    tenant.inside().apply(&config.to_string());
    inside(&tenant, &format!("crd {GADGETS}"), |_| true);
    let apply = |object: &Value| {
        eventually("the kind is served inside", || {
            let output = tenant.kubectl("apply -f -").input(object.to_string()).run();
            output
                .succeeded()
                .then_some(())
                .ok_or_else(|| output.to_string())
        });
    };
    apply(&gadget(
        "a",
        &json!({"config": "settings", "kept": {"x": [1]}}),
    ));
    let made = outside(&tenant, GADGETS, "a");
    assert_eq!(made["spec"]["config"], "settings-x-default-x-rules");
    assert_eq!(made["spec"]["kept"], json!({"x": [1]}));
    outside(&tenant, "configmaps", "settings");
    // Whoever names the control plane's own objects is refused, in whatever field.
    apply(&gadget("greedy", &json!({"account": "vcluster-sync"})));
    eventually("the tenant is told", || {
        let args = "get events --field-selector=involvedObject.kind=Gadget,involvedObject.name=greedy -o json";
        let events = tenant.kubectl(args).json().to_string();
        events.contains("spec.account").then_some(()).ok_or(events)
    });
    tenant.kubectl(&format!("delete {GADGETS} a")).ok();
    gone(&tenant, GADGETS, "a");
    // While a rule cannot be followed nobody knows what its objects use.
    outside(&tenant, "configmaps", "settings");
    patch(&tenant, &json!([rule(GADGETS, &uses)])).ok();
    gone(&tenant, "configmaps", "settings");
}

#[test]
fn objects_of_the_host_are_shown_inside_and_a_definition_of_the_tenant_s_own_is_left_alone() {
    let tenant = Tenant::create("shown");
    let host = tenant.host();
    define(host, &definition("Gadget", "gadgets", "Namespaced"));
    define(host, &definition("Shelf", "shelves", "Cluster"));
    // The tenant has a definition of its own, with a field more.
    let mut own = definition("Gadget", "gadgets", "Namespaced");
    own["metadata"]["annotations"] = json!({"example.com/own": "yes"});
    define(&tenant.inside(), &own);
    tenant.kubectl("create namespace gadgets").ok();
    let shared = format!("shelf-{}", tenant.namespace);
    let shelf = |name: &str, labels: &Value| {
        json!({
            "apiVersion": "test.vcluster.dev/v1", "kind": "Shelf",
            "metadata": {"name": name, "labels": labels}, "spec": {"height": 3},
        })
    };
    host.apply(&shelf(&shared, &json!({"vcluster.dev/shareable": "true"})).to_string());
    host.apply(&shelf(&format!("{shared}-not"), &json!({})).to_string());
    let gadget = json!({
        "apiVersion": "test.vcluster.dev/v1", "kind": "Gadget",
        "metadata": {"namespace": tenant.namespace, "name": "lamp"}, "spec": {"on": true},
    });
    host.apply(&gadget.to_string());
    patch(
        &tenant,
        &json!([
            rule(
                GADGETS,
                &json!({"direction": "FromHost", "namespace": "gadgets"})
            ),
            rule(SHELVES, &json!({"direction": "FromHost"})),
        ]),
    )
    .ok();
    said(
        &tenant,
        "True",
        &[GADGETS, SHELVES, "definition of its own"],
    );
    let lamp = format!("-n gadgets {GADGETS} lamp");
    inside(&tenant, &lamp, |object| object["spec"]["on"] == true);
    inside(&tenant, &format!("{SHELVES} {shared}"), |object| {
        object["spec"]["height"] == 3
    });
    tenant
        .kubectl(&format!("get {SHELVES} {shared}-not"))
        .refused(&["NotFound"]);
    let kept = tenant.kubectl(&format!("get crd {GADGETS} -o json")).json();
    assert_eq!(kept["metadata"]["annotations"]["example.com/own"], "yes");

    let change = json!({"spec": {"on": false}}).to_string();
    let args = [
        "-n",
        &tenant.namespace,
        "patch",
        GADGETS,
        "lamp",
        "--type=merge",
        "-p",
        &change,
    ];
    host.kubectl_args(&args).ok();
    inside(&tenant, &lamp, |object| object["spec"]["on"] == false);
    // Whoever changes it inside changes nothing.
    let change = json!({"spec": {"on": "broken"}}).to_string();
    let args = [
        "-n",
        "gadgets",
        "patch",
        GADGETS,
        "lamp",
        "--type=merge",
        "-p",
        &change,
    ];
    drop(tenant.inside().kubectl_args(&args).run());
    inside(&tenant, &lamp, |object| object["spec"]["on"] == false);
    host.kubectl(&format!("-n {} delete {GADGETS} lamp", tenant.namespace))
        .ok();
    eventually("it is gone inside", || {
        let output = tenant.kubectl(&format!("get {lamp}")).run();
        if output.succeeded() {
            Err(output.to_string())
        } else {
            Ok(())
        }
    });
    host.kubectl(&format!("delete {SHELVES} {shared} {shared}-not"))
        .ok();
}

/// Has the host write a duration of an object of that namespace as cert-manager's webhook does.
struct Rewriting<'a>(&'a Tenant);

impl Rewriting<'_> {
    fn policy(&self) -> Value {
        let metadata = json!({"name": self.0.namespace});
        json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": metadata,
                "spec": {
                    "matchConstraints": {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.0.namespace}},
                        "resourceRules": [{
                            "apiGroups": ["test.vcluster.dev"], "apiVersions": ["v1"], "resources": ["gadgets"],
                            "operations": ["CREATE", "UPDATE"],
                        }],
                    },
                    "matchConditions": [
                        {"name": "is-short", "expression": "object.spec.duration.endsWith('h')"},
                    ],
                    "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                        "[JSONPatch{op: 'replace', path: '/spec/duration', value: object.spec.duration + '0m0s'}]"}}],
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
                "metadata": metadata, "spec": {"policyName": self.0.namespace},
            },
        ]})
    }
}

impl Drop for Rewriting<'_> {
    fn drop(&mut self) {
        let delete = self.0.host().kubectl("delete --ignore-not-found -f -");
        drop(delete.input(self.policy().to_string()).run());
    }
}

fn gadget(duration: &str) -> String {
    json!({
        "apiVersion": "test.vcluster.dev/v1", "kind": "Gadget",
        "metadata": {"namespace": "default", "name": "lamp"}, "spec": {"duration": duration},
    })
    .to_string()
}

/// Writes to the host that this tenant's bill counts.
fn writes(tenant: &Tenant) -> i64 {
    let usage = format!("usage {} -n {} -o json", tenant.name, tenant.namespace);
    let spent = tenant.host().vcluster(&usage).json();
    let writes = spent["items"][0]["host"]["writes"].as_i64();
    writes.expect("they are counted")
}

#[test]
fn what_the_host_rewrites_is_written_once_and_goes_with_the_cluster_without_its_rule() {
    let tenant = Tenant::create("rewritten");
    let host = tenant.host();
    define(host, &definition("Gadget", "gadgets", "Namespaced"));
    let rewriting = Rewriting(&tenant);
    host.apply(&rewriting.policy().to_string());
    let trial = gadget("1h").replace("\"default\"", &format!("{:?}", tenant.namespace));
    eventually("the host rewrites", || {
        let create = host.kubectl("create --dry-run=server -o json -f -");
        let made = create.input(trial.clone()).json();
        let is_rewritten = made["spec"]["duration"] == "1h0m0s";
        is_rewritten.then_some(()).ok_or(made)
    });
    patch(&tenant, &json!([rule(GADGETS, &json!({}))])).ok();
    said(&tenant, "True", &[GADGETS]);
    tenant.inside().apply(&gadget("2160h"));
    let explained = || {
        let place = format!(
            "--cluster {} --host-namespace {}",
            tenant.name, tenant.namespace
        );
        let explain = format!("explain gadget.test.vcluster.dev/lamp -n default {place} -o json");
        host.vcluster(&explain).json()
    };
    let is_synced = || {
        eventually("it is as it should be", || {
            let answer = explained();
            let synced = answer["state"] == "Synced";
            synced.then_some(()).ok_or(answer)
        });
    };
    let made = outside(&tenant, GADGETS, "lamp");
    assert_eq!(made["spec"]["duration"], "2160h0m0s");
    is_synced();
    let told = "get events -o json --field-selector reason=WrittenOtherwise";
    eventually("it is told that the host writes it in its own way", || {
        let events = host::items(&tenant.kubectl(told).json());
        let said = events
            .iter()
            .any(|event| event["message"].to_string().contains("spec.duration"));
        said.then_some(()).ok_or_else(|| format!("{events:?}"))
    });

    // What changes nothing on the host is not written there, however often it is looked at.
    let version = outside(&tenant, GADGETS, "lamp")["metadata"]["resourceVersion"].clone();
    let before = writes(&tenant);
    for round in 0..3 {
        tenant
            .kubectl(&format!(
                "annotate --overwrite {GADGETS} lamp example.com/round={round}"
            ))
            .ok();
    }
    for _ in 0..3 {
        let place = format!(
            "--cluster {} --host-namespace {}",
            tenant.name, tenant.namespace
        );
        let resync = format!("resync gadget.test.vcluster.dev/lamp -n default {place}");
        host.vcluster(&resync).ok();
        is_synced();
    }
    let after = outside(&tenant, GADGETS, "lamp");
    assert_eq!(after["metadata"]["resourceVersion"], version, "{after}");
    assert_eq!(writes(&tenant), before);

    // What is changed goes down.
    tenant.inside().apply(&gadget("1h"));
    eventually("the change goes down", || {
        let now = outside(&tenant, GADGETS, "lamp");
        let is_there = now["spec"]["duration"] == "1h0m0s";
        is_there.then_some(()).ok_or(now)
    });

    // Without its rule it stays, but nothing waits for it when the virtual cluster is deleted.
    patch(&tenant, &json!([])).ok();
    host.vcluster(&format!(
        "delete {} -n {} --timeout 120s",
        tenant.name, tenant.namespace
    ))
    .ok();
}
