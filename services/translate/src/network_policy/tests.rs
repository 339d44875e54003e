//! Policies select the same pods of the same tenant, and nobody else.

use proptest::prelude::*;

use super::*;
use crate::fixture::context;

fn policy(spec: &Value) -> Value {
    json!({"metadata": {"name": "p", "namespace": "shop", "uid": "1"}, "spec": spec})
}

fn spec(spec: &Value) -> Value {
    to_host(&policy(spec), &context()).unwrap()["spec"].clone()
}

/// The rule for the control plane, which every policy has that isolates from what comes in.
fn control_plane() -> Value {
    json!({"from": [{"podSelector": {"matchLabels": {
        "vcluster.dev/cluster": "demo", "vcluster.dev/part": "control-plane",
    }}}]})
}

fn own(more: &Value) -> Value {
    let mut labels = json!({
        "vcluster.dev/cluster-uid": context().cluster_uid, "vcluster.dev/part": "workload",
    });
    for (key, value) in more.as_object().unwrap() {
        labels[key] = value.clone();
    }
    labels
}

fn is(key: &str, value: &str) -> Value {
    json!({"key": key, "operator": "In", "values": [value]})
}

#[test]
fn selectors_select_the_same_pods_of_the_same_tenant() {
    let shop = own(&json!({"vcluster.dev/namespace": "shop"}));
    let web = json!({"matchLabels": {"app": "web"}});
    let blue = json!({"matchLabels": {"team": "blue"}});
    let cases = [
        (json!({"podSelector": {}}), json!({"matchLabels": shop})),
        (
            json!({"podSelector": web}),
            json!({"matchLabels": shop, "matchExpressions": [is("label.vcluster.dev/app", "web")]}),
        ),
        (
            json!({"namespaceSelector": {}}),
            json!({"matchLabels": own(&json!({}))}),
        ),
        (
            json!({"namespaceSelector": blue}),
            json!({
                "matchLabels": own(&json!({})),
                "matchExpressions": [is("namespace-label.vcluster.dev/team", "blue")],
            }),
        ),
        (
            json!({"namespaceSelector": blue, "podSelector": web}),
            json!({
                "matchLabels": own(&json!({})),
                "matchExpressions": [
                    is("label.vcluster.dev/app", "web"), is("namespace-label.vcluster.dev/team", "blue"),
                ],
            }),
        ),
        (json!({}), json!({"matchLabels": own(&json!({}))})),
    ];
    for (peer, wanted) in cases {
        for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
            let host = spec(&json!({"podSelector": {}, rules: [{peers: [peer]}]}));
            assert_eq!(
                host[rules][0][peers],
                json!([{"podSelector": wanted}]),
                "{peer}"
            );
            assert_eq!(host["podSelector"], json!({"matchLabels": shop}));
        }
    }
}

#[test]
fn everybody_nobody_and_addresses_are_what_they_are_inside() {
    let block = json!({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.9/32"]}});
    for rest in [
        json!({"policyTypes": ["Ingress", "Egress"]}),
        json!({"policyTypes": ["Ingress"], "ingress": []}),
        json!({"policyTypes": ["Ingress"], "ingress": [{}]}),
        json!({"policyTypes": ["Ingress"], "ingress": [{"from": []}]}),
        json!({"policyTypes": ["Egress"], "egress": [{"to": []}]}),
        json!({"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}]}),
        json!({"policyTypes": ["Egress"], "egress": [{"to": [block], "ports": [{"port": 443}]}]}),
    ] {
        let mut host = spec(&rest);
        host.as_object_mut().unwrap().remove("podSelector");
        let mut wanted = rest.clone();
        if rest["policyTypes"][0] != "Egress" {
            let mut ingress = array(&rest, "/ingress").to_vec();
            ingress.push(control_plane());
            wanted["ingress"] = ingress.into();
        }
        assert_eq!(host, wanted);
    }
}

#[test]
fn the_control_plane_is_let_in_wherever_others_are_held_back() {
    for (types, let_in) in [
        (json!(["Ingress"]), true),
        (json!(["Ingress", "Egress"]), true),
        (json!(["Egress"]), false),
        (Value::Null, true),
    ] {
        let host = spec(&json!({"policyTypes": types}));
        let rules = array(&host, "/ingress");
        assert_eq!(rules.contains(&control_plane()), let_in, "{host}");
        assert_eq!(rules.len(), usize::from(let_in), "{host}");
    }
}

#[test]
fn a_rule_that_lets_out_to_kube_dns_lets_out_to_the_dns_server_where_it_listens() {
    let dns = json!([{"podSelector": {"matchLabels": {"vcluster.dev/cluster": "demo", "vcluster.dev/part": "dns"}}}]);
    let port = |number: u16, protocol: &str| json!({"port": number, "protocol": protocol});
    let system = json!({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}});
    let kube_dns = json!({"matchLabels": {"k8s-app": "kube-dns"}});
    let ports = json!([port(53, "UDP"), port(53, "TCP"), port(443, "TCP")]);
    let opened = json!([port(1053, "UDP"), port(1053, "TCP")]);
    let cases = [
        (
            json!({"to": [{"namespaceSelector": system, "podSelector": kube_dns}], "ports": ports}),
            Some(json!({"to": dns, "ports": opened})),
        ),
        (
            json!({"to": [{"namespaceSelector": {}}]}),
            Some(json!({"to": dns})),
        ),
        (
            json!({"ports": ports}),
            Some(json!({"to": dns, "ports": opened})),
        ),
        (
            json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 1, "endPort": 99, "protocol": "UDP"}]}),
            Some(json!({"to": dns, "ports": [port(1053, "UDP")]})),
        ),
        (
            json!({"to": [{"namespaceSelector": system}], "ports": [port(443, "TCP")]}),
            None,
        ),
        (
            json!({"to": [{"podSelector": kube_dns}], "ports": ports}),
            None,
        ),
        (
            json!({"to": [{"namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
            ]}}]}),
            None,
        ),
        (
            json!({"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": ports}),
            None,
        ),
        // All but the network that the DNS server's address is of.
        (
            json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": ports}),
            None,
        ),
        (
            json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.168.0.0/16", "10.96.0.52/32"]}}]}),
            Some(json!({"to": dns})),
        ),
        (
            json!({"to": [{"ipBlock": {"cidr": "10.96.0.53/32"}}]}),
            Some(json!({"to": dns})),
        ),
        (json!({"to": [{"ipBlock": {"cidr": "::/0"}}]}), None),
        (json!({"to": [{"ipBlock": {"cidr": "10.96.0.53"}}]}), None),
        (json!({}), None),
    ];
    for (rule, wanted) in cases {
        let host = spec(&json!({"egress": [rule]}));
        let egress = host["egress"].as_array().unwrap();
        assert_eq!(egress.get(1), wanted.as_ref(), "{rule}");
    }
}

#[test]
fn in_the_dns_server_s_own_namespace_its_pods_are_known_without_the_namespace() {
    let rule = json!({"to": [{"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]});
    let mut policy = policy(&json!({"podSelector": {}, "egress": [rule]}));
    for (namespace, rules) in [("kube-system", 2), ("shop", 1)] {
        policy["metadata"]["namespace"] = namespace.into();
        let host = to_host(&policy, &context()).unwrap();
        assert_eq!(array(&host, "/spec/egress").len(), rules, "{namespace}");
    }
}

#[test]
fn a_rule_that_lets_out_to_the_api_server_s_address_lets_out_to_the_control_plane() {
    let opened = json!({
        "to": [{"podSelector": {"matchLabels": {
            "vcluster.dev/cluster": "demo", "vcluster.dev/part": "control-plane",
        }}}],
        "ports": [{"port": 6443, "protocol": "TCP"}],
    });
    let own = json!({"ipBlock": {"cidr": "10.96.0.17/32"}});
    let https = json!([{"port": 443, "protocol": "TCP"}]);
    let all_but = |except: &str| json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.168.0.0/16", except]}});
    let cases = [
        (json!({"to": [own], "ports": https}), true),
        (json!({"to": [own]}), true),
        (json!({"to": [own], "ports": [{"port": 6443}]}), true),
        (json!({"to": [own], "ports": [{"protocol": "TCP"}]}), true),
        (
            json!({"to": [own], "ports": [{"port": 400, "endPort": 500}]}),
            true,
        ),
        (
            json!({"to": [{"podSelector": {}}, own], "ports": https}),
            true,
        ),
        (json!({"ports": https}), true),
        (
            json!({"to": [all_but("172.16.0.0/12")], "ports": https}),
            true,
        ),
        (
            json!({"to": [all_but("10.96.0.0/12")], "ports": https}),
            false,
        ),
        (
            json!({"to": [{"ipBlock": {"cidr": "10.96.0.16/32"}}], "ports": https}),
            false,
        ),
        (json!({"to": [{"ipBlock": {"cidr": "::/0"}}]}), false),
        (
            json!({"to": [own], "ports": [{"port": 443, "protocol": "UDP"}]}),
            false,
        ),
        (json!({"to": [own], "ports": [{"port": 80}]}), false),
        (json!({"to": [own], "ports": [{"port": "https"}]}), false),
        (
            json!({"to": [{"namespaceSelector": {}}], "ports": https}),
            false,
        ),
        // Everything: as it is.
        (json!({}), false),
    ];
    for (rule, opens) in cases {
        let host = spec(&json!({"egress": [rule]}));
        assert_eq!(array(&host, "/egress").contains(&opened), opens, "{rule}");
    }
    let twice = spec(&json!({"egress": [{"to": [own]}, {"ports": https}]}));
    let rules = array(&twice, "/egress").iter();
    assert_eq!(rules.filter(|rule| **rule == opened).count(), 1);
}

fn selector() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "app",
        "vcluster.dev/part",
        "vcluster.dev/cluster-uid",
        "vcluster.dev/namespace",
    ]);
    let operator = prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
    let labels = prop::collection::vec((key.clone(), "[a-c]"), 0..3);
    let expressions = prop::collection::vec((key, operator), 0..3);
    (labels, expressions).prop_map(|(labels, expressions)| {
        let labels: Map<String, Value> = labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        let expressions: Vec<_> = expressions
            .into_iter()
            .map(|(key, operator)| json!({"key": key, "operator": operator, "values": ["control-plane"]}))
            .collect();
        json!({"matchLabels": labels, "matchExpressions": expressions})
    })
}

fn peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        selector().prop_map(|pods| json!({"podSelector": pods})),
        selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selector(), selector()).prop_map(
            |(pods, namespaces)| json!({"podSelector": pods, "namespaceSelector": namespaces})
        ),
    ]
}

proptest! {
    #[test]
    fn no_selector_reaches_anybody_but_the_tenant_s_own_pods(
        selected in selector(),
        peers in prop::collection::vec(peer(), 1..4),
    ) {
        let host = spec(&json!({"podSelector": selected, "ingress": [{"from": peers}]}));
        let peers = array(&host, "/ingress/0/from").iter().map(|peer| &peer["podSelector"]);
        for selector in peers.chain([&host["podSelector"]]) {
            let own = &selector["matchLabels"];
            prop_assert_eq!(&own["vcluster.dev/part"], "workload");
            prop_assert_eq!(&own["vcluster.dev/cluster-uid"], &context().cluster_uid);
            for expression in array(selector, "/matchExpressions") {
                let key = expression["key"].as_str().unwrap();
                prop_assert!(!key.starts_with("vcluster.dev/"), "{}", key);
            }
        }
        prop_assert_eq!(&host["podSelector"]["matchLabels"]["vcluster.dev/namespace"], "shop");
    }
}
