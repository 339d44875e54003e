//! What a translation must know about the virtual cluster.

use std::net::IpAddr;

use vcluster_resources::{ClusterName, HostNamespace, SyncPolicy};

use crate::{Kind, custom, own_class};

use crate::Destinations;

/// One virtual cluster, as its translations need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its name, which is also that of the VirtualCluster object.
    pub cluster: ClusterName,
    /// UID of the VirtualCluster object.
    pub cluster_uid: String,
    /// Where its translated objects live.
    pub host_namespace: HostNamespace,
    /// ClusterIP of the Service of its API server, which listens on port 443.
    pub api: IpAddr,
    /// ClusterIP of the Service of its DNS server.
    pub dns: IpAddr,
    /// DNS domain of the virtual cluster, for example `cluster.local`.
    pub cluster_domain: String,
    /// Image of the program that writes `/etc/hosts` of pods with a subdomain; without one, such pods
    /// know only their short name.
    pub hosts_image: Option<String>,
    /// Host name at which sync serves the kubelet API of its nodes, on the port
    /// [`KUBELET_PORT`](vcluster_resources::layout::KUBELET_PORT).
    pub kubelet_host: String,
    /// Whether its pods may reach the host's nodes.
    pub host_access: HostAccess,
    /// Annotations of its objects that reach the host.
    pub annotations: Annotations,
    /// How far its own PriorityClasses and StorageClasses may go.
    pub classes: own_class::Allowed,
    /// Which addresses the endpoints of its Services may have. It changes as pods and nodes come and go, so a tenant
    /// is taken up with none, and EndpointSlices are translated with those of the moment.
    pub destinations: Destinations,
    /// What is synced, by `spec.sync`.
    pub policy: SyncPolicy,
    /// The custom kinds that are synced for it.
    pub custom: custom::Kinds,
}

impl Context {
    /// Every kind that is synced for it.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        let custom = self.custom.iter();
        Kind::all().chain(custom.map(|synced| Kind::Custom(synced.kind)))
    }
}

/// Whether pods may reach the host's nodes: their namespaces, files, ports and kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostAccess {
    /// What would is refused.
    Refused,
    /// The host's administrator labelled the host namespace
    /// `pod-security.kubernetes.io/enforce: privileged`.
    Granted,
}

/// Annotations that the host's administrator lets pass beside those of the short lists of
/// [`annotation`](crate::annotation): keys, or with `*` at the end their beginnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Of Ingresses.
    pub ingresses: Vec<String>,
    /// Of Services.
    pub services: Vec<String>,
    /// Of ServiceAccounts.
    pub service_accounts: Vec<String>,
}
