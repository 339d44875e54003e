//! What a control plane reaches by network, and who asks its DNS server: the two NetworkPolicies of a virtual cluster
//! that are not its tenant's.
//!
//! A virtual API server connects wherever its administrator points it (the proxy to pods and Services, webhooks and
//! aggregated APIs), from inside the host's network. So it is let out to what it needs, and to what anybody reaches:
//!
//! | to | for |
//! |---|---|
//! | pods of this virtual cluster | webhooks and aggregated APIs by Service, the proxy |
//! | sync, at the ports for virtual API servers | logs, exec, Services, metrics |
//! | the host's DNS | sync's name |
//! | public addresses, over TCP | webhooks by URL |
//! | what the host's administrator adds | |
//!
//! Not to other tenants, the host's nodes and API servers, other pods and ports of the installation, private networks and
//! the cloud's metadata. A policy does nothing where no enforcer runs. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use serde_json::{Value, json};
use vcluster_resources::label::{self, Part};
use vcluster_resources::layout::{
    DNS_TARGET_PORT, KUBELET_PORT, METRICS_PORT, SYNC_SERVICE, WEBHOOK_PORT,
};

use crate::subject::Subject;

/// Label of a namespace with its name, which the API server gives it.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Label of the installation's pods with the name of their service.
const SERVICE_NAME: &str = "app.kubernetes.io/name";
/// Where nearly every host has its DNS server.
const HOST_DNS_NAMESPACE: &str = "kube-system";
const DNS_PORT: u16 = 53;

/// A family of public addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6. Pods and nodes of a host often have public addresses of it.
    V6,
}

/// What an administrator says of it.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// Rules for the host's DNS, JSON; empty for kube-system and `nameservers`.
    pub host_dns: &'a str,
    /// Nameservers that pods of the host are told.
    pub nameservers: Vec<IpAddr>,
    /// Families whose public addresses are reached.
    pub public: Vec<Family>,
    /// Ranges that are not, although they are public.
    pub denied: Vec<IpNet>,
    /// Further rules, JSON; empty for none.
    pub further: &'a str,
}

/// What is wrong with a list of rules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what Kubernetes calls one.
    #[error("must be a JSON list of NetworkPolicyEgressRules")]
    Rules(#[from] serde_json::Error),
    /// A field is misspelt, or of another type.
    #[error("has a rule with a field that a NetworkPolicyEgressRule does not have: {0}")]
    Unknown(Value),
    /// It would let a control plane out to everything.
    #[error("has a rule without `to`, which would let control planes out to everybody")]
    Everybody,
}

/// What control planes are let out to besides what is their own and sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    rules: Vec<Value>,
}

impl Isolation {
    /// The rules that follow from the options.
    ///
    /// # Errors
    /// One of the lists is none.
    pub fn new(options: &Options<'_>) -> Result<Self, Error> {
        let mut rules = if options.host_dns.is_empty() {
            vec![host_dns(&options.nameservers)]
        } else {
            read(options.host_dns)?
        };
        let public = options.public.iter();
        rules.extend(public.filter_map(|family| public_addresses(*family, &options.denied)));
        if !options.further.is_empty() {
            rules.extend(read(options.further)?);
        }
        Ok(Self { rules })
    }

    /// The `spec` of the policy for a control plane; `release` is the namespace of the installation.
    pub fn control_plane(&self, subject: &Subject, release: &str) -> Value {
        let sync = json!({
            "to": [{
                "namespaceSelector": { "matchLabels": { NAMESPACE_NAME: release } },
                "podSelector": { "matchLabels": { SERVICE_NAME: SYNC_SERVICE } },
            }],
            "ports": [tcp(KUBELET_PORT), tcp(WEBHOOK_PORT), tcp(METRICS_PORT)],
        });
        let mut rules = vec![json!({ "to": [own_pods(subject)] }), sync];
        rules.extend(self.rules.iter().cloned());
        json!({
            "podSelector": selector(subject, Part::ControlPlane),
            "policyTypes": ["Egress"],
            "ingress": [],
            "egress": rules,
        })
    }
}

/// The `spec` of the policy for a DNS server: only this virtual cluster's pods ask it. Probes come from the node, which
/// no policy holds back.
pub fn dns(subject: &Subject) -> Value {
    let port = |protocol: &str| json!({ "port": DNS_TARGET_PORT, "protocol": protocol });
    json!({
        "podSelector": selector(subject, Part::Dns),
        "policyTypes": ["Ingress"],
        "ingress": [{ "from": [own_pods(subject)], "ports": [port("UDP"), port("TCP")] }],
        "egress": [],
    })
}

/// Pods of one part, of no other cluster that ever bore the name.
fn selector(subject: &Subject, part: Part) -> Value {
    json!({ "matchLabels": { label::CLUSTER_UID: subject.uid(), label::PART: part.as_str() } })
}

/// The peer that is every pod of the virtual cluster: translated ones, its control plane, its DNS server.
fn own_pods(subject: &Subject) -> Value {
    json!({ "podSelector": { "matchLabels": { label::CLUSTER_UID: subject.uid() } } })
}

fn tcp(port: u16) -> Value {
    json!({ "port": port, "protocol": "TCP" })
}

/// The DNS server's pods, and the addresses at which pods are told to ask: where a cache on the node answers at one, that
/// is what enforcers see.
fn host_dns(nameservers: &[IpAddr]) -> Value {
    let pods =
        json!({ "namespaceSelector": { "matchLabels": { NAMESPACE_NAME: HOST_DNS_NAMESPACE } } });
    let addresses = nameservers
        .iter()
        .map(|address| json!({ "ipBlock": { "cidr": IpNet::from(*address).to_string() } }));
    let peers: Vec<Value> = [pods].into_iter().chain(addresses).collect();
    let udp = json!({ "port": DNS_PORT, "protocol": "UDP" });
    json!({ "to": peers, "ports": [udp, tcp(DNS_PORT)] })
}

impl Family {
    /// A block that holds its public addresses, and what in it is not public.
    const fn block(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::V4 => (
                "0.0.0.0/0",
                &[
                    "0.0.0.0/8",
                    "10.0.0.0/8",
                    "100.64.0.0/10",
                    "127.0.0.0/8",
                    "169.254.0.0/16",
                    "172.16.0.0/12",
                    "192.0.0.0/24",
                    "192.168.0.0/16",
                    "198.18.0.0/15",
                    "224.0.0.0/4",
                    "240.0.0.0/4",
                    // Looks public, and is what Azure tells its machines.
                    "168.63.129.16/32",
                ],
            ),
            // Global unicast. Besides it there is nothing but private, local, multicast, and IPv4 dressed as IPv6.
            Self::V6 => (
                "2000::/3",
                &[
                    // Teredo and others of the IETF, documentation, 6to4.
                    "2001::/23",
                    "2001:db8::/32",
                    "2002::/16",
                ],
            ),
        }
    }
}

/// The rule for public addresses of a family without the denied ones; none if nothing is left.
fn public_addresses(family: Family, denied: &[IpNet]) -> Option<Value> {
    let (cidr, except) = family.block();
    let cidr: IpNet = cidr.parse().expect("a range");
    if denied.iter().any(|range| range.contains(&cidr)) {
        return None;
    }
    let mut excepted: Vec<IpNet> = except
        .iter()
        .map(|range| range.parse().expect("a range"))
        .collect();
    for range in denied {
        let known = excepted.iter().any(|other| other.contains(range));
        // The API server refuses an exception that is not within.
        if cidr.contains(range) && !known {
            excepted.push(range.trunc());
        }
    }
    let excepted: Vec<String> = excepted.iter().map(ToString::to_string).collect();
    Some(json!({
        "to": [{ "ipBlock": { "cidr": cidr.to_string(), "except": excepted } }],
        "ports": [{ "protocol": "TCP" }],
    }))
}

/// Reads a list of rules, and fills in what the API server would, so that what is applied is what is read back.
fn read(text: &str) -> Result<Vec<Value>, Error> {
    let mut rules: Vec<Value> = serde_json::from_str(text)?;
    for rule in &mut rules {
        let typed: NetworkPolicyEgressRule = serde_json::from_value(rule.clone())?;
        if serde_json::to_value(&typed)? != *rule {
            return Err(Error::Unknown(rule.clone()));
        }
        if typed.to.is_none_or(|peers| peers.is_empty()) {
            return Err(Error::Everybody);
        }
        let ports = rule.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            port.entry("protocol").or_insert("TCP".into());
        }
    }
    Ok(rules)
}

/// The nameservers in a `resolv.conf` that are not the machine's own.
pub fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines();
    let named = lines.filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    named
        .filter_map(|address| address.trim().parse().ok())
        .filter(|address: &IpAddr| !address.is_loopback() && !address.is_unspecified())
        .collect()
}

#[cfg(test)]
mod tests;
