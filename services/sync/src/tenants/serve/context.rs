//! What translations need to know of a virtual cluster.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vcluster_resources::{ClusterName, HostNamespace, SyncPolicy};
use vcluster_translate::custom::Kinds;
use vcluster_translate::{Context, Destinations, HostAccess};

use crate::engine::Engine;
use crate::tenant::Id;
use crate::tenants::stage::Endpoint;

/// DNS domain inside virtual clusters.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// What translations need to know of a virtual cluster.
pub fn context(
    engine: &Engine,
    id: &Id,
    endpoint: &Endpoint,
    host_access: HostAccess,
    policy: SyncPolicy,
) -> Result<Context, vcluster_resources::name::Error> {
    Ok(Context {
        cluster: id.name.parse::<ClusterName>()?,
        cluster_uid: id.uid.clone(),
        host_namespace: id.namespace.parse::<HostNamespace>()?,
        api: endpoint.ip,
        dns: endpoint.dns,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        hosts_image: engine.config.hosts_image.clone(),
        annotations: engine.config.annotations.clone(),
        classes: engine.config.classes.clone(),
        host_access,
        policy,
        kubelet_host: engine.kubelet_host.clone(),
        destinations: destinations(&endpoint.service_cidrs),
        custom: Kinds::default(),
    })
}

/// What is known of the host's addresses from the start: its ranges of Services. One that cannot be read means that
/// every address may be a Service's.
fn destinations(service_cidrs: &[String]) -> Destinations {
    let everything = || [IpNet::from(Ipv4Net::default()), Ipv6Net::default().into()];
    let read: Result<Vec<IpNet>, _> = service_cidrs.iter().map(|cidr| cidr.parse()).collect();
    let mut known = Destinations::default();
    known.host.services = read.unwrap_or_else(|_error| everything().into());
    known
}
