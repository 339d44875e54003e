//! Requests and names that are another's.

use integration_tests::attempt::{Attempt, Fact, Outcome};
use serde_json::{Value, json};

use crate::object::{REFUSED, attempt, object, told};

/// Ingresses.
pub(crate) fn ingresses() -> Vec<Attempt> {
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
