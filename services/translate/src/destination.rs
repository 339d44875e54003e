//! Which addresses the endpoints of a tenant's Services may have. No I/O.
//!
//! Whoever writes endpoints makes others send there: nodes, for NodePorts and load balancers, and the host's ingress
//! controller. Each of them reaches what a tenant's pods may not (CVE-2021-25740). So an address is
//!
//! - **refused** where it is a node or API server of the host, lies in the host's ranges of Services or pods, means
//!   something else than one machine of the network (loopback, link-local, multicast, metadata of clouds, an IPv4
//!   address in the form of IPv6), or where the host's administrator denies it;
//! - **allowed** where it is that of a pod of the tenant's own as of now, or lies outside of all this.
//!
//! A host whose ranges of pods are not known has no outside: only addresses of own pods are allowed there. What is
//! allowed may be refused later, when the pod has gone and its address becomes another's: the caller asks again.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

use crate::json::{array, text};

/// What is known of addresses at one moment. The default knows nothing, and allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Addresses of the tenant's own pods that run in networks of their own.
    pub pods: BTreeSet<IpAddr>,
    /// The host's addresses and ranges.
    pub host: Host,
}

/// What is the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Addresses of its nodes and API servers.
    pub machines: BTreeSet<IpAddr>,
    /// Ranges of its Services.
    pub services: Vec<IpNet>,
    /// Ranges of its pods; nothing where they are not known for every node.
    pub pods: Option<Vec<IpNet>>,
    /// What the host's administrator denies beside.
    pub denied: Vec<IpNet>,
}

/// Why an address is not allowed. The text follows the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// No address.
    #[error("is not an IP address")]
    Malformed,
    /// Not one machine of the network.
    #[error("is not allowed: it is {0}")]
    Special(&'static str),
    /// A node, or an API server.
    #[error("is not allowed: it is a machine of the host cluster")]
    Machine,
    /// A Service of the host.
    #[error(
        "is not allowed: it is in the host cluster's range of Services; use a Service of type ExternalName, or none"
    )]
    Service,
    /// A pod, and not one of the tenant's own.
    #[error(
        "is not allowed: it is in the host cluster's range of pods, and no pod of this virtual cluster has it now"
    )]
    Pod,
    /// Nobody knows whether it is a pod's.
    #[error(
        "is not allowed: only addresses of this virtual cluster's pods are, because the host cluster does not tell its \
         ranges of pods; its administrator can (chart value sync.endpoints.podCIDRs)"
    )]
    Unknown,
    /// The host's administrator denies it.
    #[error("is not allowed: the host cluster's administrator denies it")]
    Denied,
}

impl Destinations {
    /// Decides about an address of an endpoint.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn allow(&self, address: &str) -> Result<(), Forbidden> {
        let address: IpAddr = address.parse().map_err(|_error| Forbidden::Malformed)?;
        if let Some(what) = special(address) {
            return Err(Forbidden::Special(what));
        }
        let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
        let host = &self.host;
        if host.machines.contains(&address) {
            return Err(Forbidden::Machine);
        }
        if within(&host.services) {
            return Err(Forbidden::Service);
        }
        if self.pods.contains(&address) {
            return Ok(());
        }
        match &host.pods {
            None => Err(Forbidden::Unknown),
            Some(pods) if within(pods) => Err(Forbidden::Pod),
            Some(_) if within(&host.denied) => Err(Forbidden::Denied),
            Some(_) => Ok(()),
        }
    }
}

/// What an address is, if it is not one machine of the network.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// Where clouds tell machines about themselves, beside link-local addresses: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same over IPv6: AWS, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
const METADATA: &str = "where a cloud tells machines about themselves";

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let first = address.octets()[0];
    if METADATA_V4.contains(&address) {
        Some(METADATA)
    } else if first == 0 {
        Some("of no network")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if first >= 240 {
        Some("a reserved address")
    } else {
        None
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [first, second, ..] = address.segments();
    if METADATA_V6.contains(&address) {
        Some(METADATA)
    } else if address.is_unspecified() {
        Some("of no network")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 {
        Some("a link-local or site-local address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if first == 0
        || (first, second) == (0x64, 0xff9b)
        || first == 0x2002
        || (first, second) == (0x2001, 0)
    {
        // Mapped and compatible, NAT64, 6to4, Teredo.
        Some("an IPv4 address in the form of IPv6")
    } else {
        None
    }
}

/// The addresses and ranges of the host that its nodes tell: `nodes` are all of them, `known` the ranges of pods that
/// the administrator gives where nodes do not tell, or tell too little.
pub fn machines_and_pods<N: Borrow<Value>>(
    nodes: impl Iterator<Item = N>,
    known: &[IpNet],
) -> (BTreeSet<IpAddr>, Option<Vec<IpNet>>) {
    let mut machines = BTreeSet::new();
    let mut ranges: BTreeSet<IpNet> = known.iter().copied().collect();
    let mut complete = true;
    let mut any = false;
    for node in nodes {
        any = true;
        machines.extend(addresses(node.borrow()));
        let told = pod_ranges(node.borrow());
        complete &= !told.is_empty();
        ranges.extend(told);
    }
    let is_known = !known.is_empty() || (any && complete);
    (machines, is_known.then(|| ranges.into_iter().collect()))
}

/// What of a node matters here; another one means that slices are looked at again.
pub fn of_node(node: &Value) -> (Vec<IpAddr>, Vec<IpNet>) {
    (addresses(node), pod_ranges(node))
}

fn addresses(node: &Value) -> Vec<IpAddr> {
    let all = array(node, "/status/addresses").iter();
    all.filter_map(|address| text(address, "/address")?.parse().ok())
        .collect()
}

fn pod_ranges(node: &Value) -> Vec<IpNet> {
    let all = array(node, "/spec/podCIDRs").iter();
    let one = text(node, "/spec/podCIDR");
    all.filter_map(Value::as_str)
        .chain(one)
        .filter_map(|range| range.parse().ok())
        .collect()
}

/// The addresses of a host pod that are its own, as long as they are: those of a pod of the node's network are the
/// node's, and those of one that has ended may be another's by now.
pub fn of_pod(pod: &Value) -> Vec<IpAddr> {
    let shares = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let ended = matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    if shares || ended {
        return Vec::new();
    }
    let all = array(pod, "/status/podIPs").iter();
    all.filter_map(|ip| text(ip, "/ip")?.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
