//! What a VirtualCluster calls for. No I/O.

use std::net::IpAddr;

use http::Uri;
use kube::ResourceExt;
use vcluster_resources::VirtualCluster;
use vcluster_resources::condition::{self, Type};
use vcluster_resources::ownership::SYNC_FINALIZER;

/// What is to be done about a VirtualCluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its control plane is not up yet.
    Wait,
    /// Its control plane is up, but control has not said everything yet: this is missing.
    Incomplete(&'static str),
    /// Its objects are to be translated.
    Serve(Endpoint),
    /// Its translated objects are to be removed.
    Remove,
    /// Nothing any more.
    Gone,
}

/// The virtual API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address for requests.
    pub url: Uri,
    /// ClusterIP of its Service.
    pub ip: IpAddr,
    /// ClusterIP of the Service of its DNS server.
    pub dns: IpAddr,
    /// Ranges of the host's Service addresses.
    pub service_cidrs: Vec<String>,
}

/// Why it is not served, and what to do.
const NO_DNS: &str = "the address of its DNS server (status.dnsAddress) is missing: control sets it, if it is not older \
                      than sync";
const NO_RANGES: &str = "the ranges of the host's Service addresses (status.serviceCIDRs) are missing: control sets \
                         them, if it is not older than sync";

/// What is to be done, `served` being whether it is served now: a control plane that has been up and is not is
/// waited for, not forgotten.
pub fn stage(cluster: &VirtualCluster, served: bool) -> Stage {
    if cluster.metadata.deletion_timestamp.is_some() {
        let ours = cluster
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == SYNC_FINALIZER);
        return if ours { Stage::Remove } else { Stage::Gone };
    }
    let Some(status) = &cluster.status else {
        return Stage::Wait;
    };
    let up = condition::is_true(&status.conditions, Type::ControlPlaneReady);
    let Some((url, ip)) = status.endpoint.as_deref().and_then(endpoint) else {
        return Stage::Wait;
    };
    if !(up || served) {
        return Stage::Wait;
    }
    let dns = status
        .dns_address
        .as_deref()
        .and_then(|dns| dns.parse().ok());
    match (dns, status.service_cidrs.as_slice()) {
        (None, _) => Stage::Incomplete(NO_DNS),
        (Some(_), []) => Stage::Incomplete(NO_RANGES),
        (Some(dns), ranges) => Stage::Serve(Endpoint {
            url,
            ip,
            dns,
            service_cidrs: ranges.to_vec(),
        }),
    }
}

/// `https://IP[:PORT]`.
fn endpoint(text: &str) -> Option<(Uri, IpAddr)> {
    let url: Uri = text.parse().ok()?;
    if url.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return None;
    }
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse().ok()?;
    Some((url, ip))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(metadata: &Value, ready: &str, endpoint: Option<&str>) -> VirtualCluster {
        serde_json::from_value(json!({
            "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": metadata, "spec": {},
            "status": {
                "endpoint": endpoint,
                "dnsAddress": "10.96.0.53",
                "serviceCIDRs": ["10.96.0.0/12"],
                "conditions": [{
                    "type": "ControlPlaneReady", "status": ready, "reason": "Available",
                    "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_cluster_is_served_once_it_is_up_and_until_it_is_deleted() {
        let live = || json!({"name": "demo"});
        let address = Some("https://10.96.0.17");
        let going = |finalizers: &[&str]| json!({"name": "demo", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers});
        assert_eq!(
            stage(&cluster(&live(), "False", address), false),
            Stage::Wait
        );
        assert_eq!(stage(&cluster(&live(), "True", None), false), Stage::Wait);
        for bad in ["http://10.96.0.17", "https://api", "x y"] {
            assert_eq!(
                stage(&cluster(&live(), "True", Some(bad)), false),
                Stage::Wait,
                "{bad}"
            );
        }
        for (ready, served) in [("True", false), ("True", true), ("False", true)] {
            let stage = stage(&cluster(&live(), ready, address), served);
            assert!(matches!(stage, Stage::Serve(_)), "{ready} {served}");
        }
        let mut older = cluster(&live(), "True", address);
        let status = older.status.as_mut().unwrap();
        status.service_cidrs.clear();
        assert_eq!(stage(&older, false), Stage::Incomplete(NO_RANGES));
        older.status.as_mut().unwrap().dns_address = None;
        assert_eq!(stage(&older, true), Stage::Incomplete(NO_DNS));
        let ours = going(&["vcluster.dev/control", "vcluster.dev/sync"]);
        assert_eq!(stage(&cluster(&ours, "True", address), true), Stage::Remove);
        let others = going(&["vcluster.dev/control"]);
        assert_eq!(stage(&cluster(&others, "True", address), true), Stage::Gone);
    }
}
