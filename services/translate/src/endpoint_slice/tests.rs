//! EndpointSlices on the host.

use super::*;
use crate::{
    Destinations,
    destination::Host,
    fixture::context as plain,
    plan::{self, Action, Knowledge, View},
    refusal::Reason,
};

fn context() -> Context {
    Context {
        destinations: Destinations {
            pods: ["10.244.0.7".parse().unwrap()].into(),
            host: Host {
                machines: ["192.168.0.10".parse().unwrap()].into(),
                services: vec!["10.96.0.0/12".parse().unwrap()],
                pods: Some(vec!["10.244.0.0/16".parse().unwrap()]),
                denied: Vec::new(),
            },
        },
        ..plain()
    }
}

fn slice(endpoints: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "db-7x2k9", "namespace": "shop", "uid": "5e1f",
            "labels": {
                "app": "db",
                "kubernetes.io/service-name": "db",
                "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
    })
}

fn rich() -> Value {
    slice(&json!([
        {
            "addresses": ["10.244.0.7"],
            "conditions": {"ready": true},
            "hostname": "db-0",
            "nodeName": "node-1",
            "zone": "a",
            "hints": {"forZones": [{"name": "a"}]},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "db-0", "uid": "1", "resourceVersion": "9"},
            "newer": {"field": true},
        },
        {"addresses": ["203.0.113.9"], "targetRef": {"kind": "Node", "name": "node-1"}},
    ]))
}

#[test]
fn a_slice_is_one_of_the_host_service_with_its_targets_named_as_on_the_host() {
    insta::assert_json_snapshot!("endpoint_slice", to_host(&rich(), &context()).unwrap());
}

#[test]
fn what_a_selector_made_what_sync_keeps_and_what_is_of_no_service_stays_inside() {
    let with = |key: &str, value: Value| {
        let mut slice = rich();
        slice["metadata"]["labels"][key] = value;
        wanted(&slice, &context())
    };
    assert!(wanted(&rich(), &context()));
    assert!(with(MANAGED_BY, Value::Null));
    assert!(with(MANAGED_BY, "my-operator".into()));
    assert!(!with(MANAGED_BY, CONTROLLER.into()));
    assert!(!with(MANAGED, MANAGED_VALUE.into()));
    assert!(!with(SERVICE, Value::Null));
    assert!(!with(SERVICE, "".into()));
    for (namespace, service) in [("default", "kubernetes"), ("kube-system", "kube-dns")] {
        let mut slice = rich();
        slice["metadata"]["namespace"] = namespace.into();
        slice["metadata"]["labels"][SERVICE] = service.into();
        assert!(!wanted(&slice, &context()), "{namespace}/{service}");
    }
}

#[test]
fn an_endpoint_that_is_not_allowed_is_left_out_and_told_once_the_rest_is_there() {
    let slice = slice(&json!([
        {"addresses": ["10.244.0.7"]},
        {"addresses": ["192.168.0.10"]},
        {"addresses": ["203.0.113.9", "10.96.0.1"]},
    ]));
    let host = to_host(&slice, &context()).unwrap();
    assert_eq!(host["endpoints"], json!([{"addresses": ["10.244.0.7"]}]));
    let refusal = update_host(&slice, &host, &context()).unwrap_err();
    assert_eq!(refusal.reason, Reason::HostAccess);
    assert_eq!(refusal.field, "endpoints[1].addresses[0]");
    assert!(refusal.message.starts_with("192.168.0.10 is not allowed"));
}

/// The address of a pod that has gone is another tenant's soon.
#[test]
fn an_endpoint_that_is_not_allowed_any_more_is_taken_from_the_host_before_that_is_told() {
    let mut slice = slice(&json!([{"addresses": ["10.244.0.7"]}]));
    let mut host = to_host(&slice, &context()).unwrap();
    host["metadata"]["uid"] = "b057".into();
    let mut later = context();
    later.destinations.pods.clear();
    let crate::kind::Translation::ToHost(rules) = &KIND.translation else {
        panic!("it goes to the host")
    };
    let step = |slice: &Value, host: &Value, context: &Context| {
        let view = View {
            object: Some(slice),
            host: Some(host),
            needed: true,
            knowledge: Knowledge::Complete,
        };
        plan::to_host(crate::Kind::EndpointSlice, rules, view, context)
    };
    assert_eq!(step(&slice, &host, &context()), Action::Nothing);
    let Action::PatchHost(patch) = step(&slice, &host, &later) else {
        panic!("not patched")
    };
    assert_eq!(
        patch.body,
        json!({"metadata": {"uid": "b057"}, "endpoints": null})
    );
    // As an API server shows a list that has become empty.
    for empty in [Value::Null, json!([])] {
        host["endpoints"] = empty;
        assert!(matches!(step(&slice, &host, &later), Action::Refuse(_)));
    }
    slice["endpoints"] = json!([]);
    assert_eq!(step(&slice, &host, &later), Action::Nothing);
}

#[test]
fn names_instead_of_addresses_are_refused() {
    let mut slice = rich();
    slice["addressType"] = "FQDN".into();
    let refusal = to_host(&slice, &context()).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.field.as_str()),
        (Reason::HostAccess, "addressType")
    );
}

#[test]
fn endpoints_of_odd_shape_are_left_out() {
    for odd in [
        json!(7),
        json!([7]),
        json!([{}]),
        json!([{"addresses": [7]}]),
        json!([{"addresses": "10.244.0.7"}]),
    ] {
        let host = to_host(&slice(&odd), &context()).unwrap();
        assert_eq!(host["endpoints"], Value::Null, "{odd}");
    }
}
