//! What the services agree on in the host cluster's API: the `VirtualCluster` type, and the names,
//! labels, annotations and keys of the objects around it.
//!
//! | part of a VirtualCluster | who writes it |
//! |---|---|
//! | `spec`, labels | users, by gRPC, kubectl or GitOps |
//! | finalizers, `status` but for what follows | control |
//! | conditions `SyncReady` and `CustomResourcesReady` in `status` | sync |
//!
//! Nothing here does I/O, reads a clock or knows a service.

pub mod cluster;
pub mod condition;
pub mod custom_resource;
pub mod label;
pub mod layout;
pub mod name;
pub mod ownership;
pub mod sync_policy;
pub mod tenant_uri;

pub use cluster::{CreationTrace, VirtualCluster, VirtualClusterSpec, VirtualClusterStatus};
pub use name::{ClusterName, HostNamespace};
pub use sync_policy::SyncPolicy;
pub use tenant_uri::TenantUri;
