//! A certificate, issued on the host and used inside.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

use crate::{
    CERTIFICATES,
    definitions::define_certificates,
    rule::{patch, rule, said},
    sides::{gone, inside, outside},
};

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
