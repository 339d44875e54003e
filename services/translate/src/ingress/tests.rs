//! Ingresses on the host, and their addresses inside.

use super::*;
use crate::fixture::{context, patched};

fn ingress() -> Value {
    json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "1", "labels": {"app": "web"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "nginx.ingress.kubernetes.io/auth-secret": "login",
                "nginx.ingress.kubernetes.io/auth-tls-secret": "shop/ca",
                "nginx.ingress.kubernetes.io/configuration-snippet": "return 200;",
                "nginx.ingress.kubernetes.io/default-backend": "fallback",
                "nginx.ingress.kubernetes.io/rewrite-target": "/",
                "vcluster.dev/uid": "forged",
            },
        },
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["shop.example.com"], "secretName": "cert"}, {"hosts": ["b"]}],
            "rules": [{"host": "shop.example.com", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
            ]}}],
        },
    })
}

#[test]
fn services_and_secrets_are_named_as_on_the_host_and_the_rest_passes() {
    insta::assert_json_snapshot!("ingress", to_host(&ingress(), &context()).unwrap());
}

#[test]
fn the_secrets_that_it_names_are_used() {
    let used: Vec<_> = references(&ingress(), &context())
        .into_iter()
        .map(|reference| reference.name)
        .collect();
    assert_eq!(used, ["cert", "login", "ca"]);
}

#[test]
fn what_reaches_beyond_the_tenant_is_refused_with_its_field() {
    let cases = [
        (
            "/spec",
            json!({"defaultBackend": {"service": {"name": "web"}}}),
            "spec.defaultBackend",
        ),
        (
            "/spec/rules/0",
            json!({"http": {"paths": []}}),
            "spec.rules[0].host",
        ),
        (
            "/spec/rules/0",
            json!({"host": "", "http": {"paths": []}}),
            "spec.rules[0].host",
        ),
        (
            "/spec/rules/0/http/paths/0/backend",
            json!({"resource": {"kind": "Bucket", "name": "b"}}),
            "spec.rules[0].http.paths[0].backend.resource",
        ),
        (
            "/metadata/annotations",
            json!({"nginx.ingress.kubernetes.io/auth-secret": "kube-system/admin"}),
            "metadata.annotations[nginx.ingress.kubernetes.io/auth-secret]",
        ),
    ];
    for (pointer, value, field) in cases {
        let mut ingress = ingress();
        *ingress.pointer_mut(pointer).unwrap() = value;
        assert_eq!(to_host(&ingress, &context()).unwrap_err().field, field);
    }
}

#[test]
fn changes_go_down_and_what_the_host_added_stays() {
    let mut host = to_host(&ingress(), &context()).unwrap();
    host["metadata"]["uid"] = "b057".into();
    host["metadata"]["annotations"]["by-the-host"] = "x".into();
    assert_eq!(update_host(&ingress(), &host, &context()), Ok(Change::None));
    let mut changed = ingress();
    changed["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/limit-rps": "1"});
    changed["metadata"]["labels"] = json!({});
    let spec = changed["spec"].as_object_mut().unwrap();
    spec.remove("ingressClassName");
    spec.remove("tls");
    let Ok(Change::Patch(patch)) = update_host(&changed, &host, &context()) else {
        panic!("not patched")
    };
    let host = patched(&host, &patch);
    assert_eq!(host["spec"].get("tls"), None);
    assert_eq!(host["spec"]["ingressClassName"], "nginx");
    assert_eq!(
        host["metadata"]["labels"].get("label.vcluster.dev/app"),
        None
    );
    let annotations = host["metadata"]["annotations"].as_object().unwrap();
    let foreign: Vec<_> = annotations
        .keys()
        .filter(|key| !key.starts_with("vcluster.dev/"))
        .collect();
    assert_eq!(
        foreign,
        ["by-the-host", "nginx.ingress.kubernetes.io/limit-rps"]
    );
    assert_eq!(update_host(&changed, &host, &context()), Ok(Change::None));
}

#[test]
fn its_addresses_come_up_and_only_when_they_differ() {
    let mut host = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let patch = status_to_virtual(&host, &ingress(), &context()).unwrap();
    let shown = patched(&ingress(), &patch);
    assert_eq!(shown["status"], host["status"]);
    assert_eq!(status_to_virtual(&host, &shown, &context()), None);
    host["status"] = json!({});
    let patch = status_to_virtual(&host, &shown, &context()).unwrap();
    assert_eq!(
        patched(&shown, &patch)["status"],
        json!({"loadBalancer": {}})
    );
}
