//! DNS of pods.

use serde_json::{Value, json};

use super::super::to_host;
use crate::fixture::{context, namespace_labels, pod_with};

fn dns(spec: Value) -> (Value, Value) {
    let made = to_host(&pod_with(spec), &namespace_labels(), &context()).unwrap();
    let spec = &made.object["spec"];
    let part = |key: &str| spec.get(key).cloned().unwrap_or_default();
    (part("dnsPolicy"), part("dnsConfig"))
}

#[test]
fn the_virtual_cluster_s_dns_is_asked_where_kubelet_would_ask_the_cluster_s() {
    let config = json!({
        "nameservers": ["10.96.0.53"],
        "searches": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "options": [{"name": "ndots", "value": "5"}],
    });
    for policy in [
        json!("ClusterFirst"),
        json!("ClusterFirstWithHostNet"),
        Value::Null,
    ] {
        let found = dns(json!({"dnsPolicy": policy}));
        assert_eq!(found, (json!("None"), config.clone()), "{policy}");
    }
}

#[test]
fn other_policies_pass() {
    let own = json!({"nameservers": ["9.9.9.9"]});
    let none = dns(json!({"dnsPolicy": "None", "dnsConfig": own}));
    assert_eq!(none, (json!("None"), own));
    assert_eq!(
        dns(json!({"dnsPolicy": "Default"})),
        (json!("Default"), Value::Null)
    );
}

#[test]
fn the_pod_s_own_configuration_is_merged_as_kubelet_merges_it() {
    let (_, config) = dns(json!({"dnsConfig": {
        "nameservers": ["1.1.1.1", "10.96.0.53", "2.2.2.2", "3.3.3.3"],
        "searches": ["example.org", "cluster.local"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        "newer": true,
    }}));
    assert_eq!(
        config,
        json!({
            "nameservers": ["10.96.0.53", "1.1.1.1", "2.2.2.2"],
            "searches": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            "newer": true,
        })
    );
}

#[test]
fn a_search_path_too_long_for_the_host_is_cut_as_kubelet_cuts_it() {
    let long = vec!["d".repeat(60); 40];
    let searches: Vec<_> = long
        .iter()
        .enumerate()
        .map(|(n, text)| format!("{text}{n}"))
        .collect();
    let (_, config) = dns(json!({"dnsConfig": {"searches": searches}}));
    let kept = config["searches"].as_array().unwrap();
    assert!(kept.len() <= 32);
    let length: usize = kept
        .iter()
        .map(|text| text.as_str().unwrap().len() + 1)
        .sum();
    assert!(length <= 2049, "{length}");
}
