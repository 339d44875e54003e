//! Extensions of a virtual cluster that run in it: its API server reaches their pods by Service reference.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use integration_tests::{Tenant, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

const NGINX: &str = "docker.io/library/nginx:latest";

/// One server for both: an aggregated API that never changes, and a webhook that always refuses. What it answers to
/// must bear the UID of the review, which it finds in the request's body.
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
  }
  server {
    listen 127.0.0.1:8081;
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

#[test]
fn aggregated_apis_and_webhooks_in_pods_are_reached_by_service_reference() {
    let tenant = Tenant::create("extensions");
    let (certificate, key, authority) = certificate().expect("keys can be made");
    tenant
        .inside()
        .apply(&server(&certificate, &key).to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/extension --timeout=180s")
        .ok();
    tenant.inside().apply(&api_service(&authority).to_string());
    tenant
        .kubectl("wait --for=condition=Available apiservice/v1.widgets.example.com --timeout=120s")
        .ok();
    eventually("kubectl finds the aggregated API", || {
        let output = tenant.kubectl("get widgets -o name").run();
        if output.succeeded() && output.stdout.contains("by-nginx") {
            Ok(())
        } else {
            Err(output)
        }
    });

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

    // Without its server the API is gone, and nothing else is.
    tenant
        .kubectl("delete apiservice v1.widgets.example.com")
        .ok();
    tenant
        .kubectl("delete validatingwebhookconfiguration extension.example.com")
        .ok();
    tenant.kubectl("create namespace short").ok();
    tenant.kubectl("delete namespace short --timeout=120s").ok();
}
