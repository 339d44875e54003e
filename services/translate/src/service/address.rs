//! What a Service has of addresses and ports, and what it still wants.

use serde_json::Value;

use crate::json::{array, is_set, text};

/// Namespace and name of the Service inside that shows the virtual cluster's DNS server.
pub const DNS_SERVICE: (&str, &str) = ("kube-system", "kube-dns");
/// Namespace and name of the Service inside that shows the virtual API server.
pub(super) const API_SERVICE: (&str, &str) = ("default", "kubernetes");
/// `clusterIP` of a headless Service.
const HEADLESS: &str = "None";

/// Whether a Service shows the virtual cluster's own API or DNS server, which answer at host Services of control's.
pub(crate) fn shows_own_address(namespace: &str, name: &str) -> bool {
    [API_SERVICE, DNS_SERVICE].contains(&(namespace, name))
}

/// `type`, or its default.
pub(super) fn kind(service: &Value) -> &str {
    text(service, "/spec/type").unwrap_or("ClusterIP")
}

/// `clusterIP`, which for a headless Service is the word `None`.
pub(super) fn cluster_ip(service: &Value) -> Option<&str> {
    text(service, "/spec/clusterIP")
}

pub(super) fn is_headless(service: &Value) -> bool {
    cluster_ip(service) == Some(HEADLESS)
}

/// The address that the environment of containers names, if the Service has one.
pub fn env_address(service: &Value) -> Option<&str> {
    cluster_ip(service).filter(|ip| *ip != HEADLESS && kind(service) != "ExternalName")
}

/// Whether each port has a port of the nodes.
pub(super) fn has_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => {
            let asked = service.pointer("/spec/allocateLoadBalancerNodePorts");
            asked != Some(&Value::Bool(false))
        }
        _ => false,
    }
}

/// Whether it has a port of the nodes that tells load balancers of their health.
pub(super) fn has_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, "/spec/externalTrafficPolicy") == Some("Local")
}

/// A port number that is given.
pub(super) fn number(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64).filter(|number| *number != 0)
}

/// Whether it asks for two addresses, and has one.
pub(super) fn lacks_second(service: &Value) -> bool {
    let two = matches!(
        text(service, "/spec/ipFamilyPolicy"),
        Some("PreferDualStack" | "RequireDualStack")
    );
    two && !is_headless(service) && array(service, "/spec/clusterIPs").len() < 2
}

/// Whether the addresses of both are the same, as far as both have any.
pub(super) fn agree(one: &Value, other: &Value) -> bool {
    let all = |service| array(service, "/spec/clusterIPs");
    let first = cluster_ip(one).zip(cluster_ip(other));
    first.is_none_or(|(one, other)| one == other)
        && all(one)
            .iter()
            .zip(all(other))
            .all(|(one, other)| one == other)
}

/// Whether an API server would have to choose an address or port for it.
pub(super) fn lacks(service: &Value) -> bool {
    let node_ports = || {
        array(service, "/spec/ports")
            .iter()
            .all(|port| number(port.get("nodePort")).is_some())
    };
    cluster_ip(service).is_none()
        || lacks_second(service)
        || (has_node_ports(service) && !node_ports())
        || (has_health_port(service)
            && number(service.pointer("/spec/healthCheckNodePort")).is_none())
}

/// Whether anything is under `externalIPs`.
pub(super) fn has_external_ips(service: &Value) -> bool {
    is_set(service, "/spec/externalIPs") && !array(service, "/spec/externalIPs").is_empty()
}
