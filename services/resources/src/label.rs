//! Label and annotation keys, all under `vcluster.dev/`.
//!
//! A *host object of ours* is one that carries [`CLUSTER_UID`] as an annotation; the labels only
//! make it findable. Nothing without the annotation is ever changed or deleted.

/// Label of a host namespace in which virtual clusters may live; control writes nowhere else.
pub const HOST: &str = "vcluster.dev/host";
/// Value of [`HOST`].
pub const HOST_VALUE: &str = "true";
/// Annotation of a host namespace that control made, and may therefore remove: the UID of the
/// virtual cluster for which it was made, or `name/NAME` until that cluster exists and claims it.
pub const CREATED_FOR: &str = "vcluster.dev/created-for";

/// Label of every object made for a virtual cluster: its name.
pub const CLUSTER: &str = "vcluster.dev/cluster";
/// Label of every object made for a virtual cluster: what part of it the object is. See [`Part`].
pub const PART: &str = "vcluster.dev/part";
/// Annotation (and label) of every object made for a virtual cluster: its UID.
pub const CLUSTER_UID: &str = "vcluster.dev/cluster-uid";

/// Annotation of a translated object: its name inside the virtual cluster.
pub const VIRTUAL_NAME: &str = "vcluster.dev/name";
/// Annotation (and label) of a translated object: its namespace inside the virtual cluster.
pub const VIRTUAL_NAMESPACE: &str = "vcluster.dev/namespace";
/// Annotation of a translated object: its UID inside the virtual cluster.
pub const VIRTUAL_UID: &str = "vcluster.dev/uid";
/// Annotation of a translated object: its kind inside the virtual cluster, for example `Pod`.
pub const VIRTUAL_KIND: &str = "vcluster.dev/kind";

/// Annotation of a translated object that was kept on the host for its data when a person accepted a store that
/// lacks it.
pub const KEPT: &str = "vcluster.dev/kept";
/// Value of [`KEPT`].
pub const KEPT_VALUE: &str = "store-accepted";

/// Annotation of a VirtualCluster: the request id by which it was created.
pub const REQUEST_ID: &str = "vcluster.dev/request-id";
/// Annotation of a VirtualCluster: the user who created it through the gRPC API.
pub const CREATED_BY: &str = "vcluster.dev/created-by";

/// Annotation of a VirtualCluster: the W3C trace context (`traceparent`) of the call that created
/// it, so that what control and sync do for it joins the caller's trace.
pub const TRACEPARENT: &str = "vcluster.dev/traceparent";

/// Label of an object *inside* a virtual cluster that sync keeps there, such as a node; the
/// tenant cannot change it.
pub const MANAGED: &str = "vcluster.dev/managed";
/// Value of [`MANAGED`].
pub const MANAGED_VALUE: &str = "true";
/// Annotation of an object *inside* a virtual cluster that mirrors one of the host: its UID there.
pub const HOST_UID: &str = "vcluster.dev/host-uid";
/// Annotation of a PersistentVolume inside a virtual cluster: UID of the host claim that has it.
pub const HOST_CLAIM_UID: &str = "vcluster.dev/host-claim-uid";

/// Label of a host object that its administrator shares with every virtual cluster that asks for it.
pub const SHAREABLE: &str = "vcluster.dev/shareable";
/// Value of [`SHAREABLE`].
pub const SHAREABLE_VALUE: &str = "true";
/// Annotation of a Secret or ConfigMap *inside* a virtual cluster that a controller of the host made: the UID of the
/// virtual cluster.
pub const MADE_BY_HOST: &str = "vcluster.dev/made-by-host";
/// Annotation of an object *inside* a virtual cluster that shows one of the host by a mapping:
/// `NAMESPACE/NAME` of that one.
pub const MAPPED_FROM: &str = "vcluster.dev/mapped-from";
/// Annotation of a host Service that shows a Service of a virtual cluster by a mapping: its own name.
pub const EXPORTED: &str = "vcluster.dev/exported";

/// What part of a virtual cluster a host object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its control plane: pods, Service, Secrets.
    ControlPlane,
    /// Pods of its DNS server, which its Service of the API must not select.
    Dns,
    /// Translated from the virtual cluster.
    Workload,
}

impl Part {
    /// Value of the label [`PART`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Dns => "dns",
            Self::Workload => "workload",
        }
    }
}
