//! Services on the host, their changes, and what comes up from them.

use serde_json::{Value, json};

use super::{
    admission::{Decision, Review, decide, fits, given, is_incomplete, reserved, told},
    *,
};
use crate::{
    Change, Context, Patch,
    fixture::{context, patched},
    plan::{Action, Cause, Delete},
    refusal::Reason,
};

fn service(spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "5e1f",
            "labels": {"app": "web"},
            "annotations": {
                "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port": "80",
                "metallb.io/loadBalancerIPs": "192.0.2.9",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "vcluster.dev/uid": "forged",
            },
        },
        "spec": spec,
        "status": {"loadBalancer": {}},
    })
}

fn web() -> Value {
    service(&json!({
        "type": "ClusterIP", "clusterIP": "10.96.3.4", "clusterIPs": ["10.96.3.4"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "selector": {"app": "web", "app.kubernetes.io/name": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
        "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "newer": {"field": true},
    }))
}

fn with(mut service: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("not an object")
    };
    for (key, value) in changes {
        if value.is_null() {
            service["spec"].as_object_mut().unwrap().remove(&key);
        } else {
            service["spec"][key] = value;
        }
    }
    service
}

/// The host Service as the host stores it.
fn host_of(service: &Value) -> Value {
    let mut host = to_host(service, &context()).unwrap();
    host["metadata"]["uid"] = "b057".into();
    host
}

fn patch_of(service: &Value, host: &Value) -> Option<Value> {
    match update_host(service, host, &context()).unwrap() {
        Change::None => None,
        Change::Patch(Patch { body, .. }) => Some(body),
        Change::Replace => panic!("replaced"),
    }
}

#[test]
fn everything_passes_but_names_labels_selector_and_most_annotations() {
    insta::assert_json_snapshot!("service", to_host(&web(), &context()).unwrap());
}

#[test]
fn a_selector_is_confined_to_the_namespace_and_none_is_one_of_no_pod() {
    let selector = |found: Value| {
        let service = with(web(), json!({"selector": found}));
        to_host(&service, &context()).unwrap()["spec"]
            .get("selector")
            .cloned()
    };
    // Without a selector the host's controllers would leave what an earlier one had found.
    let nothing = json!({
        "vcluster.dev/cluster-uid": context().cluster_uid, "vcluster.dev/namespace": "",
    });
    for none in [Value::Null, json!({})] {
        assert_eq!(selector(none), Some(nothing.clone()));
    }
    assert_eq!(
        selector(json!({"vcluster.dev/namespace": "other"})),
        Some(json!({
            "vcluster.dev.label.vcluster.dev/namespace": "other",
            "vcluster.dev/cluster-uid": context().cluster_uid,
            "vcluster.dev/namespace": "shop",
        })),
        "a tenant's own key cannot lead out of its namespace"
    );
}

#[test]
fn external_ips_are_refused_by_field() {
    let refusal = to_host(
        &with(web(), json!({"externalIPs": ["8.8.8.8"]})),
        &context(),
    );
    let refusal = refusal.unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.field.as_str()),
        (Reason::HostAccess, "spec.externalIPs")
    );
    assert!(to_host(&with(web(), json!({"externalIPs": []})), &context()).is_ok());
}

#[test]
fn what_answers_only_inside_has_no_host_service() {
    let named = |namespace: &str, name: &str, managed: bool| {
        let mut service = web();
        service["metadata"]["namespace"] = namespace.into();
        service["metadata"]["name"] = name.into();
        if managed {
            service["metadata"]["labels"] = json!({"vcluster.dev/managed": "true"});
        }
        is_on_host(&service, &context())
    };
    assert!(named("shop", "web", false));
    assert!(named("shop", "kubernetes", false));
    assert!(named("kube-system", "kube-dns", false), "a tenant's own");
    assert!(named("shop", "web", true), "a label alone hides nothing");
    assert!(!named("kube-system", "kube-dns", true));
    assert!(!named("default", "kubernetes", false));
    let external = service(&json!({"type": "ExternalName", "externalName": "example.org"}));
    assert!(!is_on_host(&external, &context()));
    assert!(is_on_host(
        &with(web(), json!({"clusterIP": "None"})),
        &context()
    ));
}

#[test]
fn an_update_carries_what_changed_and_nothing_else() {
    let host = host_of(&web());
    assert_eq!(patch_of(&web(), &host), None);
    let cases = [
        (
            json!({"selector": {"app": "db"}}),
            json!({"selector": {
                "label.vcluster.dev/app": "db",
                "app.kubernetes.io.label.vcluster.dev/name": null,
            }}),
        ),
        (
            json!({"selector": null}),
            json!({"selector": {
                "label.vcluster.dev/app": null,
                "app.kubernetes.io.label.vcluster.dev/name": null,
                "vcluster.dev/namespace": "",
            }}),
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}),
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}),
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 9}}}),
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 9}}}),
        ),
    ];
    for (change, patch) in cases {
        let body = patch_of(&with(web(), change.clone()), &host).unwrap();
        assert_eq!(body["spec"], patch, "{change}");
        assert_eq!(body["metadata"], json!({"uid": "b057"}), "{change}");
    }
}

#[test]
fn what_the_host_added_stays_and_what_the_user_took_away_goes() {
    let mut host = host_of(&with(
        web(),
        json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
    ));
    host["spec"]["loadBalancerClass"] = "cloud.example/nlb".into();
    host["spec"]["hostOnly"] = 1.into();
    host["metadata"]["annotations"]["cloud.example/state"] = "up".into();
    host["metadata"]["labels"]["by-hand"] = "x".into();
    let mut service = with(web(), json!({"type": "LoadBalancer"}));
    service["metadata"]["annotations"] = json!({});
    service["metadata"]["labels"] = json!({});
    assert_eq!(
        patch_of(&service, &host).unwrap(),
        json!({
            "metadata": {
                "uid": "b057",
                "labels": {"label.vcluster.dev/app": null},
                "annotations": {
                    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port": null,
                    "vcluster.dev/kept-annotations": null,
                    "vcluster.dev/passed-annotations": null,
                },
            },
            "spec": {"loadBalancerSourceRanges": null},
        })
    );
}

#[test]
fn a_reserved_service_is_taken_over_by_the_one_it_was_reserved_for() {
    let mut new = web();
    new["metadata"]["uid"] = Review::UID.into();
    let host = reserved(host_of(&new), "2026-01-01T00:01:00Z");
    let change = update_host(&web(), &host, &context()).unwrap();
    let Change::Patch(patch) = change else {
        panic!("{change:?}")
    };
    assert_eq!(
        patch.body["metadata"]["annotations"],
        json!({
            "vcluster.dev/uid": "5e1f", "vcluster.dev/reserved-until": null,
            "vcluster.dev/kept-annotations": "metallb.io/loadBalancerIPs",
        }),
        "what stays inside is noted, and told, now that there is somebody to tell"
    );
    assert_eq!(patch.body.get("spec"), None);
    assert_eq!(
        reservation(Some(&web()), &host, &Action::PatchHost(patch)),
        None
    );
}

#[test]
fn a_reservation_is_neither_deleted_nor_undone_before_its_time() {
    let until = "2026-01-01T00:01:00Z";
    let changed = with(
        web(),
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}),
    );
    let host = reserved(host_of(&changed), until);
    let Change::Patch(undo) = update_host(&web(), &host, &context()).unwrap() else {
        panic!("not patched")
    };
    let undo = Action::PatchHost(undo);
    assert_eq!(reservation(Some(&web()), &host, &undo), Some(until));
    let delete = Action::DeleteHost(Delete {
        uid: "b057".to_owned(),
        grace_seconds: None,
        cause: Cause::Orphan,
    });
    assert_eq!(reservation(None, &host, &delete), Some(until));
    assert_eq!(reservation(None, &host_of(&web()), &delete), None);
}

#[test]
fn of_an_update_that_is_to_be_stored_only_what_the_host_gives_goes_ahead() {
    let before = with(web(), json!({"ports": [{"port": 80, "targetPort": 8080}]}));
    let host = host_of(&before);
    let table = [
        (json!({"selector": {"app": "other"}}), None),
        (json!({"sessionAffinity": "ClientIP"}), None),
        (json!({"ports": [{"port": 80, "targetPort": 9090}]}), None),
        (
            json!({"type": "NodePort", "selector": {"app": "other"}}),
            Some(json!({"type": "NodePort"})),
        ),
        (
            json!({"type": "NodePort", "ports": [
                {"port": 80, "targetPort": 9090}, {"port": 81, "targetPort": 9091}]}),
            Some(json!({"type": "NodePort", "ports": [
                {"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": 9091}]})),
        ),
    ];
    for (change, wanted) in table {
        let after = with(before.clone(), change.clone());
        let Ok(Change::Patch(patch)) = update_host(&after, &host, &context()) else {
            panic!("{change}")
        };
        let ahead = allocating(&patch.body["spec"], &host);
        assert_eq!(ahead, wanted, "{change}");
        // Once it is stored, the rest follows at once.
        let given = with(host.clone(), ahead.unwrap_or_else(|| json!({})));
        let given = reserved(given, "2026-01-01T00:01:00Z");
        let Ok(Change::Patch(rest)) = update_host(&after, &given, &context()) else {
            panic!("{change}")
        };
        let rest = Action::PatchHost(rest);
        assert_eq!(reservation(Some(&after), &given, &rest), None, "{change}");
    }
}

#[test]
fn an_address_that_differs_is_put_right_unless_a_load_balancer_would_go() {
    let moved = with(
        web(),
        json!({"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}),
    );
    assert_eq!(
        update_host(&moved, &host_of(&web()), &context()),
        Ok(Change::Replace)
    );
    let balanced = |service: Value| with(service, json!({"type": "LoadBalancer"}));
    let refusal =
        update_host(&balanced(moved), &host_of(&balanced(web())), &context()).unwrap_err();
    assert_eq!(refusal.reason, Reason::AddressDiffers);
    assert!(refusal.message.contains("10.96.9.9") && refusal.message.contains("10.96.3.4"));
    // A type of a later Kubernetes may lead others there, too.
    let later = with(host_of(&web()), json!({"type": "Tunnel"}));
    let moved = with(web(), json!({"clusterIP": "10.96.9.9"}));
    let refusal = update_host(&moved, &later, &context()).unwrap_err();
    assert_eq!(refusal.reason, Reason::AddressDiffers);
}

/// The host Service that was made before `service` was stored.
fn reserved_for(service: &Value) -> Value {
    let mut new = service.clone();
    new["metadata"]["uid"] = Review::UID.into();
    reserved(host_of(&new), "2026-01-01T00:01:00Z")
}

#[test]
fn an_address_that_a_later_webhook_chose_is_put_right_at_once() {
    let delete = Action::DeleteHost(Delete {
        uid: "b057".to_owned(),
        grace_seconds: None,
        cause: Cause::Replace,
    });
    let address = |address: &str| json!({"clusterIP": address, "clusterIPs": [address]});
    for kind in ["ClusterIP", "LoadBalancer"] {
        let asked = with(web(), json!({"type": kind}));
        let host = reserved_for(&asked);
        for stored in ["10.96.77.77", "None"].map(|ip| with(asked.clone(), address(ip))) {
            assert_eq!(update_host(&stored, &host, &context()), Ok(Change::Replace));
            assert_eq!(reservation(Some(&stored), &host, &delete), None);
        }
        assert!(reservation(None, &host, &delete).is_some());
    }
}

#[test]
fn a_class_that_a_later_webhook_chose_is_had_by_a_change_of_type_and_back() {
    let asked = with(
        web(),
        json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30002,
            "allocateLoadBalancerNodePorts": true, "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}],
        }),
    );
    let stored = with(
        asked.clone(),
        json!({"loadBalancerClass": "service.k8s.aws/nlb"}),
    );
    let mut host = reserved_for(&asked);
    let Ok(Change::Patch(first)) = update_host(&stored, &host, &context()) else {
        panic!("not patched")
    };
    assert_eq!(
        first.body["spec"],
        json!({
            "type": "ClusterIP", "externalTrafficPolicy": null, "healthCheckNodePort": null,
            "allocateLoadBalancerNodePorts": null, "loadBalancerSourceRanges": null,
            "ports": [{"port": 80, "protocol": "TCP"}],
        })
    );
    host = patched(&host, &first);
    let Ok(Change::Patch(second)) = update_host(&stored, &host, &context()) else {
        panic!("not patched")
    };
    host = patched(&host, &second);
    for key in [
        "type",
        "loadBalancerClass",
        "clusterIP",
        "healthCheckNodePort",
        "ports",
    ] {
        assert_eq!(host["spec"][key], stored["spec"][key], "{key}");
    }
    assert_eq!(update_host(&stored, &host, &context()), Ok(Change::None));
    // A class that only the host has is its own.
    host["spec"]["loadBalancerClass"] = "by-the-host".into();
    assert_eq!(update_host(&asked, &host, &context()), Ok(Change::None));
}

#[test]
fn a_load_balancer_s_status_comes_up_and_goes_with_its_type() {
    let balanced = with(web(), json!({"type": "LoadBalancer"}));
    let mut host = host_of(&balanced);
    host["status"] = json!({
        "loadBalancer": {"ingress": [{"ip": "203.0.113.7", "ipMode": "VIP"}]},
        "conditions": [{"type": "Ready", "message": "web-x-shop-x-demo is up"}],
    });
    let patch = status_to_virtual(&host, &balanced, &context()).unwrap();
    assert_eq!(
        patch.body["status"],
        json!({
            "loadBalancer": {"ingress": [{"ip": "203.0.113.7", "ipMode": "VIP"}]},
            "conditions": [{"type": "Ready", "message": "web is up"}],
        })
    );
    let mut told = patched(&balanced, &patch);
    assert_eq!(status_to_virtual(&host, &told, &context()), None);
    told["spec"]["type"] = "ClusterIP".into();
    host["status"] = json!({"loadBalancer": {}});
    let patch = status_to_virtual(&host, &told, &context()).unwrap();
    assert_eq!(
        patch.body["status"],
        json!({"loadBalancer": {"ingress": null}, "conditions": []})
    );
}

#[test]
fn a_load_balancer_of_the_tenant_s_own_is_not_forgotten() {
    let mut balanced = with(web(), json!({"type": "LoadBalancer"}));
    let host = host_of(&balanced);
    balanced["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}});
    assert_eq!(status_to_virtual(&host, &balanced, &context()), None);
}

fn fresh(spec: &Value) -> Value {
    let mut object = service(spec);
    object["metadata"]["uid"] = Review::UID.into();
    object
}

fn review<'a>(object: &'a Value, old: Option<&'a Value>) -> Review<'a> {
    Review {
        object,
        old,
        dry_run: false,
    }
}

#[test]
fn a_new_service_is_reserved_unless_it_needs_nothing_of_the_host() {
    let new = fresh(&json!({"ports": [{"port": 80}]}));
    let Decision::Reserve(host) = decide(review(&new, None), &context()) else {
        panic!("not reserved")
    };
    assert_eq!(host["metadata"]["name"], "web-x-shop-x-demo");
    assert_eq!(
        host["metadata"]["annotations"]["vcluster.dev/uid"],
        Review::UID
    );
    let leave = [
        fresh(&json!({"clusterIP": "None", "ports": [{"port": 80}]})),
        fresh(&json!({"type": "ExternalName", "externalName": "example.org"})),
    ];
    for object in leave {
        assert_eq!(
            decide(review(&object, None), &context()),
            Decision::Leave,
            "{object}"
        );
    }
    let dry = Review {
        dry_run: true,
        ..review(&new, None)
    };
    assert_eq!(decide(dry, &context()), Decision::Leave);
    let refused = fresh(&json!({"clusterIP": "None", "externalIPs": ["8.8.8.8"]}));
    let dry = Review {
        dry_run: true,
        ..review(&refused, None)
    };
    assert!(
        matches!(decide(dry, &context()), Decision::Refuse(_)),
        "even where nothing is stored"
    );
}

#[test]
fn a_service_that_stays_inside_gets_no_address_of_its_own() {
    let context = Context {
        policy: serde_json::from_value(json!({"toHost": {"services": {"namespaces": ["x"]}}}))
            .unwrap(),
        ..context()
    };
    let new = fresh(&json!({"ports": [{"port": 80}]}));
    for dry_run in [false, true] {
        let review = Review {
            dry_run,
            ..review(&new, None)
        };
        let Decision::Refuse(refusal) = decide(review, &context) else {
            panic!("not refused");
        };
        assert_eq!(refusal.field, "metadata.namespace");
        assert!(refusal.message.contains("headless"), "{refusal}");
    }
    let headless = fresh(&json!({"clusterIP": "None"}));
    assert_eq!(decide(review(&headless, None), &context), Decision::Leave);
    // One that has its address keeps it.
    let decided = decide(review(&new, Some(&web())), &context);
    assert!(!matches!(decided, Decision::Refuse(_)), "{decided:?}");
}

#[test]
fn default_kubernetes_made_by_hand_gets_the_api_server_s_address() {
    let mut object = fresh(&json!({"ports": [{"port": 443}]}));
    object["metadata"]["namespace"] = "default".into();
    object["metadata"]["name"] = "kubernetes".into();
    let Decision::Patch(patch) = decide(review(&object, None), &context()) else {
        panic!("left")
    };
    assert_eq!(
        patch[0],
        json!({"op": "add", "path": "/spec/clusterIP", "value": "10.96.0.17"})
    );
}

#[test]
fn an_update_asks_the_host_only_when_something_of_its_spec_changes() {
    let old = with(
        web(),
        json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30001}]}),
    );
    let decided = |changes: Value| {
        let object = with(old.clone(), changes);
        decide(review(&object, Some(&old)), &context())
    };
    assert_eq!(decided(json!({})), Decision::Leave);
    // As a client sends it that knows nothing of allocated values.
    let bare = json!({"clusterIP": null, "clusterIPs": null, "ipFamilies": null, "ipFamilyPolicy": null,
        "ports": [{"name": "http", "port": 80}]});
    assert_eq!(
        decided(bare),
        Decision::Leave,
        "the API server carries the rest over"
    );
    let allocates = |decision: Decision| {
        let Decision::Change { allocates, service } = decision else {
            panic!("{decision:?}")
        };
        (allocates, service["spec"]["ports"].clone())
    };
    let (more, ports) = allocates(decided(
        json!({"ports": [{"name": "http", "port": 81}, {"name": "tls", "port": 443}]}),
    ));
    assert!(more);
    assert_eq!(
        ports,
        json!([{"name": "http", "port": 81, "nodePort": 30001}, {"name": "tls", "port": 443}])
    );
    let (more, _) = allocates(decided(json!({"selector": {"app": "db"}})));
    assert!(!more, "nothing is to be given: the host is only asked");
    let (more, _) = allocates(decided(
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
    ));
    assert!(more, "a health check port");
}

#[test]
fn what_was_external_is_reserved_when_it_gets_an_address() {
    let old = service(&json!({"type": "ExternalName", "externalName": "example.org"}));
    let object = service(&json!({"type": "ClusterIP", "ports": [{"port": 80}]}));
    assert!(matches!(
        decide(review(&object, Some(&old)), &context()),
        Decision::Reserve(_)
    ));
    assert_eq!(
        decide(review(&old, Some(&object)), &context()),
        Decision::Leave
    );
}

#[test]
fn what_the_host_gave_is_put_into_the_virtual_service() {
    let new = fresh(
        &json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]}),
    );
    let mut host = host_of(&new);
    host["spec"] = json!({
        "clusterIP": "10.96.3.4", "clusterIPs": ["10.96.3.4"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [
            {"port": 80, "protocol": "TCP", "nodePort": 30001},
            {"port": 53, "protocol": "UDP", "nodePort": 30053},
        ],
    });
    assert_eq!(
        given(&new, &host).unwrap(),
        [
            json!({"op": "add", "path": "/spec/clusterIP", "value": "10.96.3.4"}),
            json!({"op": "add", "path": "/spec/clusterIPs", "value": ["10.96.3.4"]}),
            json!({"op": "add", "path": "/spec/ipFamilies", "value": ["IPv4"]}),
            json!({"op": "add", "path": "/spec/ipFamilyPolicy", "value": "SingleStack"}),
            json!({"op": "add", "path": "/spec/ports/0/nodePort", "value": 30001}),
        ]
    );
    host["spec"]["ports"][1]["port"] = 54.into();
    assert_eq!(
        given(&new, &host),
        None,
        "a host Service of other ports leads elsewhere"
    );
}

#[test]
fn the_host_s_words_are_told_in_those_of_the_virtual_cluster() {
    let message = "Service \"web-x-shop-x-demo\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.1\"]: taken";
    assert_eq!(
        told(message, &web(), &context()),
        "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.1\"]: taken"
    );
}

#[test]
fn what_was_reserved_before_serves_again_only_if_it_is_the_same() {
    let ports = || json!([{"port": 80, "protocol": "TCP"}]);
    let new = fresh(&json!({"type": "NodePort", "ports": ports()}));
    let mut host = host_of(&new);
    host["spec"]["clusterIP"] = "10.96.3.4".into();
    host["spec"]["clusterIPs"] = json!(["10.96.3.4"]);
    host["spec"]["ports"][0]["nodePort"] = 30001.into();
    assert!(fits(&new, &host, &context()));
    for change in [
        json!({"clusterIP": "10.96.3.5"}),
        json!({"type": "ClusterIP"}),
        json!({"selector": {"app": "other"}}),
        json!({"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30002}]}),
        json!({"ports": [{"port": 81, "protocol": "TCP"}]}),
    ] {
        assert!(
            !fits(&with(new.clone(), change.clone()), &host, &context()),
            "{change}"
        );
    }
    let chosen = json!({"clusterIP": "10.96.3.4", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]});
    assert!(fits(&with(new, chosen), &host, &context()));
}

/// With two addresses, or one of them.
fn of_families(policy: &str, addresses: &[&str]) -> Value {
    let families: Vec<&str> = addresses
        .iter()
        .map(|ip| if ip.contains(':') { "IPv6" } else { "IPv4" })
        .collect();
    let first = addresses.first();
    with(
        web(),
        json!({"ipFamilyPolicy": policy, "clusterIP": first, "clusterIPs": addresses, "ipFamilies": families}),
    )
}

#[test]
fn the_host_s_addresses_of_both_families_are_those_inside() {
    let (four, both) = ("10.96.3.4", ["10.96.3.4", "fd96::7"]);
    let (single, prefers, requires) = ("SingleStack", "PreferDualStack", "RequireDualStack");
    let released = json!({"ipFamilyPolicy": single, "clusterIPs": [four], "ipFamilies": ["IPv4"]});
    let added =
        json!({"ipFamilyPolicy": prefers, "clusterIPs": both, "ipFamilies": ["IPv4", "IPv6"]});
    for (inside, host, expected) in [
        (
            of_families(requires, &both),
            of_families(requires, &both),
            None,
        ),
        (
            of_families(single, &[four]),
            of_families(prefers, &both),
            Some(released),
        ),
        (
            of_families(prefers, &both),
            of_families(single, &[four]),
            Some(added),
        ),
        // The host got its second family later, and gave an address of it with some change.
        (
            of_families(prefers, &[four]),
            of_families(prefers, &both),
            None,
        ),
        (
            of_families(prefers, &[four]),
            of_families(prefers, &[four]),
            None,
        ),
    ] {
        let spec = patch_of(&inside, &host_of(&host)).map(|patch| patch["spec"].clone());
        assert_eq!(spec, expected, "{inside}");
    }
    for other in [["10.96.3.4", "fd96::8"], ["fd96::7", "10.96.3.4"]] {
        let host = host_of(&of_families(requires, &other));
        let inside = of_families(requires, &both);
        assert_eq!(
            update_host(&inside, &host, &context()).unwrap(),
            Change::Replace,
            "{other:?}"
        );
    }
    let balanced = |addresses: &[&str]| {
        with(
            of_families(requires, addresses),
            json!({"type": "LoadBalancer"}),
        )
    };
    let host = host_of(&balanced(&[four, "fd96::8"]));
    let refusal = update_host(&balanced(&both), &host, &context()).unwrap_err();
    assert!(
        refusal.message.contains("fd96::7") && refusal.message.contains("fd96::8"),
        "{refusal}"
    );
}

#[test]
fn who_prefers_two_families_gets_the_second_with_any_change_once_the_host_has_both() {
    let of = |ranges: &[&str]| {
        let mut context = context();
        context.destinations.host.services =
            ranges.iter().map(|range| range.parse().unwrap()).collect();
        context
    };
    let (one, both) = (of(&["10.96.0.0/16"]), of(&["10.96.0.0/16", "fd96::/112"]));
    let addresses = ["10.96.3.4", "fd96::7"];
    for (policy, stored, context, asks) in [
        ("PreferDualStack", &addresses[..1], &both, true),
        ("PreferDualStack", &addresses[..1], &one, false),
        ("PreferDualStack", &addresses, &both, false),
        ("SingleStack", &addresses[..1], &both, false),
        ("SingleStack", &addresses[1..], &both, false),
    ] {
        let old = of_families(policy, stored);
        let mut new = old.clone();
        new["metadata"]["labels"]["seen"] = "yes".into();
        let decision = decide(review(&new, Some(&old)), context);
        let is_asked = matches!(
            decision,
            Decision::Change {
                allocates: true,
                ..
            }
        );
        assert!(
            is_asked || decision == Decision::Leave,
            "{policy} {stored:?}: {decision:?}"
        );
        assert_eq!(is_asked, asks, "{policy} {stored:?}");
        assert_eq!(
            is_incomplete(&host_of(&old)),
            policy != "SingleStack" && stored.len() == 1
        );
    }
}
