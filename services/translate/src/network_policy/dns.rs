//! Rules that let pods out to the DNS server.
//!
//! Inside it is a Service without pods; on the host it runs beside the control plane, and listens on another port
//! than its Service, which is what policies are about once an address was translated.

use std::net::IpAddr;

use serde_json::{Value, json};
use vcluster_resources::label::{CLUSTER, PART, Part};
use vcluster_resources::layout::DNS_TARGET_PORT;

use super::block;
use crate::{
    Context,
    json::{array, is_set, strings, text},
    service::DNS_SERVICE,
};

/// Labels by which charts and manifests know the DNS server's namespace.
const NAMESPACE: [(&str, &str); 1] = [("kubernetes.io/metadata.name", "kube-system")];
/// Labels by which they know its pods.
const PODS: [(&str, &str); 1] = [("k8s-app", "kube-dns")];
/// The port of its Service.
const PORT: i64 = 53;

/// The rule of the host that a virtual egress rule of a policy in `namespace` calls for beside its own; nothing if it
/// does not let pods out to the DNS server, or lets them out to everything.
pub(super) fn opened_by(rule: &Value, namespace: &str, context: &Context) -> Option<Value> {
    let (peers, ports) = (array(rule, "/to"), array(rule, "/ports"));
    if peers.is_empty() && ports.is_empty() {
        return None;
    }
    let reaches = |peer: &Value| reaches(peer, namespace, context.dns);
    if !peers.is_empty() && !peers.iter().any(reaches) {
        return None;
    }
    let labels = json!({ CLUSTER: context.cluster.as_str(), PART: Part::Dns.as_str() });
    let mut opened = json!({"to": [{"podSelector": {"matchLabels": labels}}]});
    if !ports.is_empty() {
        let ports: Vec<_> = ports.iter().filter_map(translated).collect();
        if ports.is_empty() {
            return None;
        }
        opened["ports"] = ports.into();
    }
    Some(opened)
}

/// Whether a peer is, or holds, the DNS server, whose address inside is `server`.
fn reaches(peer: &Value, namespace: &str, server: IpAddr) -> bool {
    if is_set(peer, "/ipBlock") {
        return block::holds(peer, server);
    }
    let selects = |key: &str, labels: &[(&str, &str)]| {
        peer.get(key)
            .is_none_or(|selector| matches(selector, labels))
    };
    let there = if is_set(peer, "/namespaceSelector") {
        selects("namespaceSelector", &NAMESPACE)
    } else {
        // The policy's own.
        is_set(peer, "/podSelector") && namespace == DNS_SERVICE.0
    };
    there && selects("podSelector", &PODS)
}

/// The port on which it listens, for a port that means its Service's.
fn translated(port: &Value) -> Option<Value> {
    let means_dns = match port.get("port") {
        None | Some(Value::Null) => true,
        Some(Value::Number(first)) => {
            let first = first.as_i64()?;
            let last = port.get("endPort").and_then(Value::as_i64);
            (first..=last.unwrap_or(first)).contains(&PORT)
        }
        Some(Value::String(name)) => matches!(name.as_str(), "dns" | "dns-tcp"),
        Some(_) => false,
    };
    let protocol = text(port, "/protocol").unwrap_or("TCP");
    means_dns.then(|| json!({"port": DNS_TARGET_PORT, "protocol": protocol}))
}

/// Whether a LabelSelector selects an object with these labels.
fn matches(selector: &Value, labels: &[(&str, &str)]) -> bool {
    let value = |key: &str| {
        let found = labels.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| *value)
    };
    let exact = strings(selector, "/matchLabels").all(|(key, wanted)| value(key) == Some(wanted));
    let satisfied = |expression: &Value| {
        let found = text(expression, "/key").and_then(value);
        let among = || {
            let values = array(expression, "/values");
            values
                .iter()
                .any(|value| value.as_str() == found && found.is_some())
        };
        match text(expression, "/operator") {
            Some("In") => among(),
            Some("NotIn") => !among(),
            Some("Exists") => found.is_some(),
            Some("DoesNotExist") => found.is_none(),
            Some(_) | None => false,
        }
    };
    exact && array(selector, "/matchExpressions").iter().all(satisfied)
}
