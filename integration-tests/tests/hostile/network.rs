//! Addresses, pods and nodes that are another's.

use integration_tests::{
    Host, Tenant,
    attempt::{Attempt, Fact, Outcome},
};
use serde_json::{Value, json};

use crate::{
    object::{attempt, merge, object},
    victim::Victim,
};

/// Addresses and pods that are another's, and nodes.
pub(crate) fn network(victim: &Victim) -> Vec<Attempt> {
    let service = |name: &str, more: &Value| {
        let mut spec = json!({"ports": [{"port": 80}]});
        merge(&mut spec, more);
        object("v1", "Service", name, &json!({"spec": spec}))
    };
    let kept = json!({"metadata": {"labels": {"vcluster.dev/managed": "true"}}});
    vec![
        attempt(
            "addresses of others",
            service("greedy", &json!({"externalIPs": [victim.address]})),
            Outcome::Refused(vec!["spec.externalIPs"]),
        ),
        attempt(
            "another's address",
            service("twin", &json!({"clusterIP": victim.address})),
            Outcome::Refused(vec!["clusterIP", "already allocated"]),
        ),
        attempt(
            "another's pods behind a Service",
            service("web", &json!({"selector": {"app": "web"}})),
            Outcome::Harmless(vec![
                Fact::Is("/spec/selector/vcluster.dev~1namespace", json!("default")),
                Fact::Is("/spec/selector/app", Value::Null),
            ]),
        ),
        attempt(
            "everybody's pods in a disruption budget, so that no node is ever drained",
            object(
                "policy/v1",
                "PodDisruptionBudget",
                "nobody-goes",
                &json!({"spec": {"selector": {}, "maxUnavailable": 0}}),
            ),
            Outcome::Harmless(vec![
                Fact::Is(
                    "/spec/selector/matchLabels/vcluster.dev~1part",
                    json!("workload"),
                ),
                Fact::Is(
                    "/spec/selector/matchLabels/vcluster.dev~1namespace",
                    json!("default"),
                ),
            ]),
        ),
        attempt(
            "everybody's pods in a NetworkPolicy",
            object(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                "wall",
                &json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
            ),
            Outcome::Harmless(vec![Fact::Is(
                "/spec/podSelector/matchLabels/vcluster.dev~1part",
                json!("workload"),
            )]),
        ),
        attempt(
            "a node of the host's",
            object("v1", "Node", "extra", &kept),
            Outcome::Refused(vec!["vcluster.dev/managed"]),
        ),
        attempt(
            "a node of the tenant's own",
            object("v1", "Node", "own", &json!({})),
            Outcome::StaysInside,
        ),
    ]
}

/// A Service without selector, and slices that would lead it to what is another's.
pub(crate) fn destinations(host: &Host, victim: &Victim) -> Vec<Attempt> {
    let address = |args: &str| host.kubectl(args).ok().trim().to_owned();
    let node = address("get nodes -o jsonpath={.items[0].status.addresses[0].address}");
    let api = address("-n default get service kubernetes -o jsonpath={.spec.clusterIP}");
    let door = json!({"spec": {"ports": [{"port": 80}]}});
    let rows = [
        (
            "another's pod behind a Service",
            "to-pod",
            victim.pod.clone(),
        ),
        (
            "another's Service behind a Service",
            "to-service",
            victim.address.clone(),
        ),
        ("a node behind a Service", "to-node", node),
        ("the host's API server behind a Service", "to-api", api),
    ];
    let slice = |name: &str, address: &str| {
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "door"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": [{"port": 80}],
        });
        object("discovery.k8s.io/v1", "EndpointSlice", name, &slice)
    };
    let slices = rows.into_iter().map(|(what, name, address)| {
        let facts = vec![
            Fact::Is("/endpoints", Value::Null),
            Fact::Lacks(format!("\"{address}\"")),
        ];
        attempt(what, slice(name, &address), Outcome::Harmless(facts))
    });
    // Kubernetes itself refuses these.
    let refused = [
        attempt(
            "the cloud's metadata behind a Service",
            slice("to-metadata", "169.254.169.254"),
            Outcome::Refused(vec!["link-local"]),
        ),
        attempt(
            "the node itself behind a Service",
            slice("to-loopback", "127.0.0.1"),
            Outcome::Refused(vec!["loopback"]),
        ),
    ];
    let door = attempt(
        "a Service that leads where its slices say",
        object("v1", "Service", "door", &door),
        Outcome::Harmless(vec![Fact::Is(
            "/spec/selector/vcluster.dev~1namespace",
            json!(""),
        )]),
    );
    [door].into_iter().chain(slices).chain(refused).collect()
}

/// Whatever selects pods on the host for this tenant selects none of the control plane's.
pub(crate) fn nothing_is_caught_but_own_pods(tenant: &Tenant) {
    let host = tenant.host();
    let kinds = "services,networkpolicies,poddisruptionbudgets -l vcluster.dev/part=workload";
    for object in host.list(&format!("-n {} {kinds}", tenant.namespace)) {
        let spec = &object["spec"];
        let by_labels = ["/podSelector/matchLabels", "/selector/matchLabels"];
        let by_labels = by_labels.iter().find_map(|at| spec.pointer(at));
        let labels = by_labels.unwrap_or_else(|| &spec["selector"]);
        let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else {
            continue;
        };
        let pairs: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        for pod in host.list(&format!("pods -A -l {}", pairs.join(","))) {
            let (namespace, part) = (
                &pod["metadata"]["namespace"],
                &pod["metadata"]["labels"]["vcluster.dev/part"],
            );
            assert_eq!(
                (namespace, part),
                (&json!(tenant.namespace), &json!("workload")),
                "{object}"
            );
        }
    }
}
