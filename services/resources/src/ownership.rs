//! Field managers and finalizers: who signs which write.

/// Control's writes to VirtualClusters and to what it makes for them.
pub const CONTROL: &str = "vcluster-control";
/// Sync's writes to the host.
pub const SYNC_TO_HOST: &str = "vcluster-sync-to-host";
/// Sync's writes to virtual clusters.
pub const SYNC_FROM_HOST: &str = "vcluster-sync-from-host";
/// Sync's write to the status of a VirtualCluster.
pub const SYNC_STATUS: &str = "vcluster-sync-status";

/// Keeps a VirtualCluster until control has removed what it made for it.
pub const CONTROL_FINALIZER: &str = "vcluster.dev/control";
/// Keeps a VirtualCluster until sync has removed the objects it translated. Sync adds it before
/// its first write for that cluster.
pub const SYNC_FINALIZER: &str = "vcluster.dev/sync";
