//! Volumes of a CSI driver of the host: provided, mounted, expanded, copied by snapshots and removed by upstream's
//! controllers and the kubelet, and shown inside.

mod capacities;
mod object;
mod retained;
mod snapshots;
mod stateful_set;

const DRIVER: &str = "folder.csi.vcluster.dev";
