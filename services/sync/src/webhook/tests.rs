//! Reviews against a host that a script plays: what is asked of it, and what the virtual API server is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use vcluster_chassis::testing::{ApiServer, Call, json as answer};

use super::*;
use crate::testing::{CLUSTER_UID, World, status};

type Script = fn(&Call) -> Response<String>;

struct Scene {
    webhook: Webhook,
    host: ApiServer,
}

/// A webhook over a host on which the virtual cluster exists; `script` answers about Services.
fn scene(script: impl Fn(&Call) -> Response<String> + Send + Sync + 'static) -> Scene {
    let world = World::unlisted();
    world.host.script(|call| {
        let known = call
            .path
            .ends_with("/namespaces/team-a/virtualclusters/demo");
        Some(if known {
            answer(200, cluster())
        } else {
            status(404, "NotFound")
        })
    });
    let directory = Directory::new(Arc::clone(&world.engine));
    let host = ApiServer::new(script);
    directory.act_by(&world.tenant.id, host.client());
    Scene {
        webhook: Webhook::new(Arc::new(directory)),
        host,
    }
}

fn cluster() -> Value {
    json!({
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": {"name": "demo", "namespace": "team-a", "uid": CLUSTER_UID},
        "spec": {},
        "status": {
            "endpoint": "https://10.96.0.17", "dnsAddress": "10.96.0.53",
            "serviceCIDRs": ["10.96.0.0/12", "fd96::/112"],
        },
    })
}

/// The host gives an address and node ports, as asked or its own.
fn give(call: &Call) -> Response<String> {
    let mut service = call.body.clone();
    service["metadata"]["uid"] = "b057".into();
    if service["spec"].get("clusterIP").is_none() {
        service["spec"]["clusterIP"] = "10.96.3.4".into();
        service["spec"]["clusterIPs"] = json!(["10.96.3.4"]);
    }
    answer(201, service)
}

fn caller(uri: &str) -> Caller {
    Caller {
        tenant: uri.parse().unwrap(),
        address: None,
    }
}

fn service() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"type": "ClusterIP", "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]},
    })
}

fn review(operation: &str, object: &Value, old: Option<&Value>) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "r1", "operation": operation, "namespace": "shop",
        "resource": {"group": "", "version": "v1", "resource": "services"},
        "object": object, "oldObject": old, "dryRun": false,
    }})
}

impl Scene {
    async fn ask_as(&self, uri: &str, review: &Value) -> Value {
        let request = Request::post(SERVICES_WEBHOOK_PATH)
            .body(Full::new(Bytes::from(review.to_string())))
            .unwrap();
        let response = self.webhook.answer(&caller(uri), request).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["response"]["uid"], "r1");
        answer["response"].clone()
    }

    async fn ask(&self, review: &Value) -> Value {
        self.ask_as(&format!("vcluster://team-a/demo/{CLUSTER_UID}"), review)
            .await
    }

    fn calls(&self) -> Vec<String> {
        let calls = self.host.calls();
        let text = |call: &Call| format!("{} {}", call.method, call.path);
        calls.iter().map(text).collect()
    }
}

/// The JSON patch of an answer.
fn patch(response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    let patch: ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    serde_json::from_slice(&patch.0).unwrap()
}

const SERVICES: &str = "/api/v1/namespaces/team-a/services";

#[tokio::test]
async fn a_service_gets_the_address_of_the_host_service_that_is_made_for_it() {
    let scene = scene(give);
    let response = scene.ask(&review("CREATE", &service(), None)).await;
    assert_eq!(
        patch(&response),
        json!([
            {"op": "add", "path": "/spec/clusterIP", "value": "10.96.3.4"},
            {"op": "add", "path": "/spec/clusterIPs", "value": ["10.96.3.4"]},
        ])
    );
    assert_eq!(scene.calls(), [format!("POST {SERVICES}")]);
    let made = &scene.host.calls()[0].body;
    assert_eq!(made["metadata"]["name"], "web-x-shop-x-demo");
    assert_eq!(
        made["metadata"]["annotations"]["vcluster.dev/reserved-until"],
        "2026-01-01T00:01:15Z"
    );
}

#[tokio::test]
async fn a_dry_run_and_what_needs_no_address_make_nothing() {
    let scene = scene(give);
    let mut dry = review("CREATE", &service(), None);
    dry["request"]["dryRun"] = true.into();
    let mut status = review("UPDATE", &service(), Some(&service()));
    status["request"]["subResource"] = "status".into();
    let headless = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "None"}});
    let external = json!({"metadata": {"name": "a"}, "spec": {"type": "ExternalName"}});
    for review in [
        dry,
        status,
        review("CREATE", &headless, None),
        review("CREATE", &external, None),
    ] {
        let response = scene.ask(&review).await;
        assert_eq!(response, json!({"uid": "r1", "allowed": true}), "{review}");
    }
    assert!(scene.calls().is_empty());
}

#[tokio::test]
async fn only_the_cluster_that_exists_under_the_certificate_s_uid_is_served() {
    let scene = scene(give);
    for uri in [
        "vcluster://team-a/demo/an-earlier-one",
        "vcluster://team-a/gone/1",
        "vcluster://team-b/demo/cluster-uid",
    ] {
        let response = scene.ask_as(uri, &review("CREATE", &service(), None)).await;
        assert_eq!(response["allowed"], false, "{uri}");
        assert_eq!(response["status"]["code"], 403, "{uri}");
    }
    assert!(scene.calls().is_empty());
}

#[tokio::test]
async fn what_the_host_refuses_is_told_by_field_in_the_tenant_s_words() {
    let scene = scene(|_call| {
        let message = "Service \"web-x-shop-x-demo\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.1\"]: \
                       failed to allocate IP 10.96.0.1: provided IP is already allocated";
        answer(
            422,
            json!({
                "kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": message,
                "details": {"causes": [
                    {"reason": "FieldValueInvalid", "field": "spec.clusterIPs", "message": "already allocated"},
                ]},
            }),
        )
    });
    let response = scene.ask(&review("CREATE", &service(), None)).await;
    let told = &response["status"];
    assert_eq!(
        (&told["code"], &told["reason"]),
        (&json!(422), &json!("Invalid"))
    );
    assert_eq!(told["details"]["causes"][0]["field"], "spec.clusterIPs");
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains("Service \"web\" is invalid: spec.clusterIPs"),
        "{message}"
    );
    assert!(!message.contains("-x-"), "{message}");
}

#[tokio::test]
async fn external_ips_are_refused_before_the_host_is_asked() {
    let scene = scene(give);
    let mut object = service();
    object["spec"]["externalIPs"] = json!(["8.8.8.8"]);
    let response = scene.ask(&review("CREATE", &object, None)).await;
    assert_eq!(
        response["status"]["details"]["causes"][0]["field"],
        "spec.externalIPs"
    );
    assert!(scene.calls().is_empty());
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_a_clear_error_and_no_wrong_address() {
    let scene = scene(|_call| status(503, "ServiceUnavailable"));
    let response = scene.ask(&review("CREATE", &service(), None)).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 503);
}

/// A host on which a Service of the name exists, of that type.
fn existing(kind: &'static str) -> Scene {
    let stored = Mutex::new(Value::Null);
    scene(move |call| {
        let mut stored = stored.lock().unwrap();
        match call.method.as_str() {
            "POST" => {
                let mut found = call.body.clone();
                found["metadata"]["uid"] = "b057".into();
                found["spec"]["type"] = kind.into();
                found["spec"]["clusterIP"] = "10.96.3.4".into();
                *stored = found;
                status(409, "AlreadyExists")
            }
            _ => answer(200, &*stored),
        }
    })
}

#[tokio::test]
async fn an_earlier_service_of_the_name_serves_again_if_it_is_the_same() {
    let scene = existing("ClusterIP");
    let response = scene.ask(&review("CREATE", &service(), None)).await;
    assert_eq!(patch(&response)[0]["value"], "10.96.3.4");
    let name = format!("{SERVICES}/web-x-shop-x-demo");
    assert_eq!(
        scene.calls(),
        [
            format!("POST {SERVICES}"),
            format!("GET {name}"),
            format!("PATCH {name}")
        ]
    );
    let kept = &scene.host.calls()[2].body;
    assert_eq!(kept["metadata"]["uid"], "b057");
    assert_eq!(
        kept.get("spec"),
        None,
        "a living Service is not changed by an attempt to make it again"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_differs_is_waited_for_and_never_changed() {
    let scene = existing("NodePort");
    let response = scene.ask(&review("CREATE", &service(), None)).await;
    assert_eq!(response["status"]["reason"], "AlreadyExists");
    assert!(scene.calls().iter().all(|call| !call.starts_with("PATCH")));
}

#[tokio::test]
async fn a_generated_name_is_chosen_here_and_another_one_if_it_is_taken() {
    let tries = AtomicUsize::new(0);
    let scene = scene(move |call| {
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            return status(409, "AlreadyExists");
        }
        give(call)
    });
    let mut object = service();
    object["metadata"] = json!({"generateName": "web-"});
    let response = scene.ask(&review("CREATE", &object, None)).await;
    let patch = patch(&response);
    let name = patch
        .as_array()
        .unwrap()
        .iter()
        .find(|op| op["path"] == "/metadata/name");
    let name = name.unwrap()["value"].as_str().unwrap().to_owned();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let calls = scene.host.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        calls[1].body["metadata"]["annotations"]["vcluster.dev/name"],
        name
    );
}

#[tokio::test]
async fn an_update_changes_the_host_only_where_the_host_is_to_give_something() {
    let stored = || {
        let mut stored = service();
        stored["metadata"]["namespace"] = "shop".into();
        stored["metadata"]["uid"] = "5e1f".into();
        stored["spec"]["clusterIP"] = "10.96.3.4".into();
        stored["spec"]["clusterIPs"] = json!(["10.96.3.4"]);
        stored
    };
    let script: Script = |call| {
        let mut host = json!({
            "metadata": {
                "name": "web-x-shop-x-demo", "namespace": "team-a", "uid": "b057",
                "annotations": {
                    "vcluster.dev/cluster-uid": CLUSTER_UID, "vcluster.dev/kind": "Service",
                    "vcluster.dev/namespace": "shop", "vcluster.dev/name": "web", "vcluster.dev/uid": "5e1f",
                },
            },
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.3.4", "clusterIPs": ["10.96.3.4"],
                "ports": [{"port": 80, "protocol": "TCP"}]},
        });
        if call.method == "PATCH" {
            host["spec"]["ports"][0]["nodePort"] = 30001.into();
        }
        answer(200, host)
    };
    let scene = scene(script);
    let mut object = stored();
    object["spec"]["selector"] = json!({"app": "db"});
    let response = scene.ask(&review("UPDATE", &object, Some(&stored()))).await;
    assert_eq!(response, json!({"uid": "r1", "allowed": true}));
    let calls = scene.host.calls();
    assert!(calls[1].query.contains("dryRun=All"), "{}", calls[1].query);
    let selector = calls[1].body["spec"]["selector"].clone();
    assert!(selector.is_object());

    object["spec"]["type"] = "NodePort".into();
    let response = scene.ask(&review("UPDATE", &object, Some(&stored()))).await;
    assert_eq!(
        patch(&response),
        json!([{"op": "add", "path": "/spec/ports/0/nodePort", "value": 30001}])
    );
    let calls = scene.host.calls();
    assert!(calls[3].query.contains("dryRun=All"), "{}", calls[3].query);
    assert_eq!(
        calls[3].body["spec"]["selector"], selector,
        "all of it is asked"
    );
    assert!(!calls[4].query.contains("dryRun"), "{}", calls[4].query);
    assert_eq!(
        calls[4].body["spec"],
        json!({"type": "NodePort"}),
        "traffic goes where it went until the update is stored"
    );
    let reserved = &calls[4].body["metadata"]["annotations"]["vcluster.dev/reserved-until"];
    assert!(
        reserved.is_string(),
        "the engine leaves it alone until the update is stored"
    );
}

#[tokio::test]
async fn a_second_address_comes_from_a_host_that_has_two_families_by_now() {
    let mut stored = service();
    stored["metadata"]["namespace"] = "shop".into();
    stored["metadata"]["uid"] = "5e1f".into();
    for (key, value) in [
        ("clusterIP", json!("10.96.3.4")),
        ("clusterIPs", json!(["10.96.3.4"])),
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("PreferDualStack")),
    ] {
        stored["spec"][key] = value;
    }
    let spec = stored["spec"].clone();
    let scene = scene(move |call| {
        let mut host = json!({
            "metadata": {
                "name": "web-x-shop-x-demo", "namespace": "team-a", "uid": "b057",
                "labels": {"vcluster.dev/cluster": "demo"},
                "annotations": {
                    "vcluster.dev/cluster-uid": CLUSTER_UID, "vcluster.dev/kind": "Service",
                    "vcluster.dev/namespace": "shop", "vcluster.dev/name": "web", "vcluster.dev/uid": "5e1f",
                },
            },
            "spec": spec,
        });
        if call.method == "PATCH" {
            host["spec"]["clusterIPs"] = json!(["10.96.3.4", "fd96::7"]);
            host["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
        }
        answer(200, host)
    });
    let mut object = stored.clone();
    object["metadata"]["labels"]["seen"] = "yes".into();
    let response = scene.ask(&review("UPDATE", &object, Some(&stored))).await;
    assert_eq!(
        patch(&response),
        json!([
            {"op": "add", "path": "/spec/clusterIPs", "value": ["10.96.3.4", "fd96::7"]},
            {"op": "add", "path": "/spec/ipFamilies", "value": ["IPv4", "IPv6"]},
        ])
    );
    let calls = scene.host.calls();
    let last = calls.last().unwrap();
    assert!(!last.query.contains("dryRun"), "{}", last.query);
}

#[tokio::test]
async fn a_service_that_gives_an_address_up_is_not_given_it_again() {
    let stored = |policy: &str| {
        let mut stored = service();
        stored["metadata"]["namespace"] = "shop".into();
        stored["metadata"]["uid"] = "5e1f".into();
        for (key, value) in [
            ("clusterIP", json!("10.96.3.4")),
            ("clusterIPs", json!(["10.96.3.4", "fd96::7"])),
            ("ipFamilies", json!(["IPv4", "IPv6"])),
            ("ipFamilyPolicy", json!(policy)),
        ] {
            stored["spec"][key] = value;
        }
        stored
    };
    let spec = stored("RequireDualStack")["spec"].clone();
    let scene = scene(move |_call| {
        let host = json!({
            "metadata": {
                "name": "web-x-shop-x-demo", "namespace": "team-a", "uid": "b057",
                "annotations": {
                    "vcluster.dev/cluster-uid": CLUSTER_UID, "vcluster.dev/kind": "Service",
                    "vcluster.dev/namespace": "shop", "vcluster.dev/name": "web", "vcluster.dev/uid": "5e1f",
                },
            },
            "spec": spec,
        });
        answer(200, host)
    });
    let mut object = stored("SingleStack");
    object["spec"]["clusterIPs"] = json!(["10.96.3.4"]);
    object["spec"]["ipFamilies"] = json!(["IPv4"]);
    let old = stored("RequireDualStack");
    let response = scene.ask(&review("UPDATE", &object, Some(&old))).await;
    assert_eq!(response, json!({"uid": "r1", "allowed": true}));
    for call in &scene.host.calls() {
        assert!(call.method == "GET" || call.query.contains("dryRun=All"));
    }
}

#[tokio::test]
async fn a_tenant_with_its_fill_is_told_so_and_others_are_served() {
    let scene = scene(give);
    let tenant = format!("vcluster://team-a/demo/{CLUSTER_UID}");
    let busy: TenantUri = tenant.parse().unwrap();
    let held: Vec<_> = (0..PER_TENANT)
        .map(|_| scene.webhook.enter(&busy).unwrap())
        .collect();
    let request = || {
        Request::post(SERVICES_WEBHOOK_PATH)
            .body(Full::new(Bytes::new()))
            .unwrap()
    };
    let refused = scene.webhook.answer(&caller(&tenant), request()).await;
    assert_eq!(refused.status(), 429);
    let other = scene
        .webhook
        .answer(&caller("vcluster://team-b/demo/1"), request())
        .await;
    assert_eq!(other.status(), 400, "it is read");
    drop(held);
    let again = scene.webhook.answer(&caller(&tenant), request()).await;
    assert_eq!(again.status(), 400);
}

#[tokio::test]
async fn more_ports_than_a_service_may_have_are_refused_before_the_host_is_asked() {
    let scene = scene(give);
    let mut object = service();
    object["spec"]["ports"] = (1..=SERVICE_PORTS + 1)
        .map(|port| json!({"port": port}))
        .collect();
    let response = scene.ask(&review("CREATE", &object, None)).await;
    assert_eq!(response["status"]["code"], 422);
    assert_eq!(
        response["status"]["details"]["causes"][0]["field"],
        "spec.ports"
    );
    assert_eq!(scene.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_makes_services_without_end_is_slowed_down() {
    let scene = scene(give);
    let mut codes = Vec::new();
    for n in 0..120 {
        let mut object = service();
        object["metadata"]["name"] = format!("web-{n}").into();
        let response = scene.ask(&review("CREATE", &object, None)).await;
        codes.push(response["status"]["code"].as_u64().unwrap_or(200));
    }
    assert_eq!(codes[..100], [200; 100]);
    assert_eq!(codes[119], 429);
    assert_eq!(scene.calls().len(), 100);
    tokio::time::advance(Duration::from_secs(1)).await;
    let response = scene.ask(&review("CREATE", &service(), None)).await;
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let scene = scene(give);
    let demo = caller("vcluster://team-a/demo/1");
    for (method, path, body, code) in [
        ("GET", SERVICES_WEBHOOK_PATH, String::new(), 405),
        ("POST", "/admission/pods", String::new(), 404),
        ("POST", SERVICES_WEBHOOK_PATH, "{".to_owned(), 400),
        ("POST", SERVICES_WEBHOOK_PATH, json!({"request": {"uid": "1", "resource": {"resource": "services"}, "operation": "CREATE"}}).to_string(), 400),
        ("POST", SERVICES_WEBHOOK_PATH, "x".repeat(MOST + 1), 400),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = scene.webhook.answer(&demo, request).await;
        assert_eq!(response.status(), code, "{method} {path}");
    }
}
