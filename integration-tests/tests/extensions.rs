//! Extensions of a virtual cluster that run in it: its API server reaches their pods by Service reference.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use integration_tests::{Tenant, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

const NGINX: &str = "docker.io/library/nginx:latest";

/// One server for all: an aggregated API that never changes, a webhook that always refuses, and one that converts an
/// object by naming another version. What it answers to must bear the UID of the review, which it finds in the
/// request's body.
const CONFIG: &str = r#"
worker_processes 1;
pid /tmp/nginx.pid;
events { worker_connections 64; }
http {
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  client_body_buffer_size 1m;
  default_type application/json;
  map $request_body $review { default ""; "~\"uid\":\"(?<found>[0-9a-f-]+)\"" $found; }
  map $request_body $wanted { default ""; "~\"desiredAPIVersion\":\"(?<version>[a-z0-9./]+)\"" $version; }
  map $request_body $rest { default ""; "~\"objects\":\[\{\"apiVersion\":\"[a-z0-9./]+\",(?<members>.*\})\]\}" $members; }
  server {
    listen 8443 ssl;
    ssl_certificate /tls/tls.crt;
    ssl_certificate_key /tls/tls.key;
    location = /apis/widgets.example.com/v1 {
      return 200 '{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"widgets.example.com/v1","resources":[{"name":"widgets","singularName":"widget","namespaced":false,"kind":"Widget","verbs":["get","list"]}]}';
    }
    location = /apis/widgets.example.com/v1/widgets {
      return 200 '{"kind":"WidgetList","apiVersion":"widgets.example.com/v1","metadata":{},"items":[{"kind":"Widget","apiVersion":"widgets.example.com/v1","metadata":{"name":"by-nginx"}}]}';
    }
    location = /refuse {
      proxy_set_header X-Review $review;
      proxy_pass http://127.0.0.1:8081/;
    }
    location = /convert {
      proxy_set_header X-Review $review;
      proxy_set_header X-Wanted $wanted;
      proxy_set_header X-Rest $rest;
      proxy_pass http://127.0.0.1:8081/convert;
    }
  }
  server {
    listen 127.0.0.1:8081;
    location = /convert {
      return 200 '{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","response":{"uid":"$http_x_review","result":{"status":"Success"},"convertedObjects":[{"apiVersion":"$http_x_wanted",$http_x_rest]}}';
    }
    location / {
      return 200 '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"$http_x_review","allowed":false,"status":{"message":"refused by a pod of this cluster"}}}';
    }
  }
}
"#;

/// A certificate for the Service, its key, and the authority that signed it.
fn certificate() -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(["extension.default.svc".to_owned()])?;
    let issued = params.signed_by(&key, &authority)?;
    Ok((issued.pem(), key.serialize_pem(), authority.pem()))
}

fn server(certificate: &str, key: &str) -> Value {
    let items = json!([
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extension"},
            "data": {"nginx.conf": CONFIG},
        },
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "extension"},
            "type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate, "tls.key": key},
        },
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "extension", "labels": {"app": "extension"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "main", "image": NGINX, "imagePullPolicy": "IfNotPresent",
                    "command": ["/usr/sbin/nginx", "-e", "/dev/stderr", "-c", "/conf/nginx.conf", "-g", "daemon off;"],
                    "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "conf", "mountPath": "/conf"}, {"name": "tls", "mountPath": "/tls"}],
                }],
                "volumes": [
                    {"name": "conf", "configMap": {"name": "extension"}},
                    {"name": "tls", "secret": {"secretName": "extension"}},
                ],
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "extension"},
            "spec": {"selector": {"app": "extension"}, "ports": [{"port": 443, "targetPort": 8443}]},
        },
    ]);
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn api_service(authority: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.widgets.example.com"},
        "spec": {
            "group": "widgets.example.com", "version": "v1",
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "caBundle": STANDARD.encode(authority),
            "service": {"namespace": "default", "name": "extension"},
        },
    })
}

fn webhook(authority: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "extension.example.com"},
        "webhooks": [{
            "name": "extension.example.com",
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {
                "caBundle": STANDARD.encode(authority),
                "service": {"namespace": "default", "name": "extension", "path": "/refuse"},
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"],
            }],
            "objectSelector": {"matchLabels": {"asked": "yes"}},
        }],
    })
}

/// A kind of two versions between which the server converts.
fn definition(authority: &str) -> Value {
    let version = |name: &str, stored: bool| {
        json!({
            "name": name, "served": true, "storage": stored,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "parts.convert.example.com"},
        "spec": {
            "group": "convert.example.com", "scope": "Namespaced",
            "names": {"kind": "Part", "plural": "parts", "singular": "part"},
            "versions": [version("v1", true), version("v2", false)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": {
                    "caBundle": STANDARD.encode(authority),
                    "service": {"namespace": "default", "name": "extension", "path": "/convert"},
                },
            }},
        },
    })
}

/// Waits until a command inside fails and says all of this.
#[track_caller]
fn fails(tenant: &Tenant, args: &str, words: &[&str]) {
    eventually(&format!("{args:?} fails and says why"), || {
        let output = tenant.kubectl(args).run();
        let says = words.iter().all(|word| output.stderr.contains(word));
        if !output.succeeded() && says {
            Ok(())
        } else {
            Err(output)
        }
    });
}

/// Waits until a command inside works and prints this.
#[track_caller]
fn prints(tenant: &Tenant, args: &str, text: &str) {
    eventually(&format!("{args:?} prints {text:?}"), || {
        let output = tenant.kubectl(args).run();
        if output.succeeded() && output.stdout.contains(text) {
            Ok(())
        } else {
            Err(output)
        }
    });
}

const WIDGETS: &str = "get widgets -o name";
const SECOND: &str = "get parts.v2.convert.example.com bolt -o jsonpath={.apiVersion}/{.spec.size}";

/// While their server is away, what needs it says so and everything else works; when it is back, so are they.
fn goes_and_comes_back(tenant: &Tenant, server: &Value, asked: &Value) {
    tenant.kubectl("delete pod extension").ok();
    fails(
        tenant,
        WIDGETS,
        &["the server is currently unable to handle the request"],
    );
    tenant
        .kubectl(
            "wait --for=condition=Available=False apiservice/v1.widgets.example.com --timeout=120s",
        )
        .ok();
    let conversion = [
        "conversion webhook for convert.example.com/v1, Kind=Part failed",
        "extension.default.svc",
    ];
    fails(tenant, SECOND, &conversion);
    let refused = tenant.kubectl("create -f -").input(asked.to_string()).run();
    let says = "failed calling webhook \"extension.example.com\"";
    assert!(
        !refused.succeeded() && refused.stderr.contains(says),
        "{refused}"
    );
    prints(
        tenant,
        "get parts.v1.convert.example.com bolt -o jsonpath={.spec.size}",
        "3",
    );
    tenant.kubectl("create configmap spared-too").ok();
    tenant.kubectl("get pods -A").ok();

    tenant.inside().apply(&server.to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/extension --timeout=180s")
        .ok();
    prints(tenant, WIDGETS, "by-nginx");
    prints(tenant, SECOND, "convert.example.com/v2/3");
}

#[test]
fn aggregated_apis_and_webhooks_in_pods_are_reached_by_service_reference() {
    let tenant = Tenant::create("extensions");
    let (certificate, key, authority) = certificate().expect("keys can be made");
    let server = server(&certificate, &key);
    tenant.inside().apply(&server.to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/extension --timeout=180s")
        .ok();
    tenant.inside().apply(&api_service(&authority).to_string());
    tenant
        .kubectl("wait --for=condition=Available apiservice/v1.widgets.example.com --timeout=120s")
        .ok();
    prints(&tenant, WIDGETS, "by-nginx");

    tenant.inside().apply(&definition(&authority).to_string());
    tenant
        .kubectl("wait --for=condition=Established crd/parts.convert.example.com --timeout=60s")
        .ok();
    let bolt = json!({
        "apiVersion": "convert.example.com/v1", "kind": "Part",
        "metadata": {"namespace": "default", "name": "bolt"}, "spec": {"size": 3},
    });
    tenant.inside().apply(&bolt.to_string());
    prints(&tenant, SECOND, "convert.example.com/v2/3");

    tenant.inside().apply(&webhook(&authority).to_string());
    let asked = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"generateName": "asked-", "labels": {"asked": "yes"}},
    });
    eventually("the webhook is asked", || {
        let output = tenant.kubectl("create -f -").input(asked.to_string()).run();
        if output.stderr.contains("refused by a pod of this cluster") {
            Ok(())
        } else {
            Err(output)
        }
    });
    tenant.kubectl("create configmap spared").ok();
    goes_and_comes_back(&tenant, &server, &asked);

    // Without its server the API is gone, and nothing else is.
    tenant
        .kubectl("delete apiservice v1.widgets.example.com")
        .ok();
    tenant
        .kubectl("delete validatingwebhookconfiguration extension.example.com")
        .ok();
    tenant.kubectl("delete crd parts.convert.example.com").ok();
    tenant.kubectl("create namespace short").ok();
    tenant.kubectl("delete namespace short --timeout=120s").ok();
}
