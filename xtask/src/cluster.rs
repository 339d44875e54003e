//! A real Kubernetes on this machine, each node in a network namespace of its own.
//!
//! [`up`] gives a running [`Cluster`], from nothing, from what a killed run left, or at once if it
//! runs; [`down`] leaves nothing but the cache. Clusters of different names share nothing: state
//! folder, network namespace, cgroup and ports all carry the name or are chosen free.

use std::collections::BTreeSet;

use crate::addon::AddOn;

pub mod access;
mod addons;
mod cgroup;
pub(crate) mod chart;
mod components;
mod config;
mod down;
pub mod enter;
mod extend;
mod host_folders;
mod layout;
mod logs;
mod mounts;
mod name;
mod network;
mod node;
mod owned;
mod pki;
mod process;
mod record;
pub mod relay;
mod shell;
mod start;
mod status;
mod up;

pub use access::{Cluster, Runtime};
pub(crate) use config::Host;
pub use down::down;
pub use layout::{GATEWAY_NODE_PORT, Layout, NODE_IP};
pub use logs::logs;
pub use name::Name;
pub(crate) use pki::write_private;
pub use shell::shell;
pub use status::{Status, status};
pub use up::up;

/// What runs in every cluster, in the order of starting.
pub const COMPONENTS: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "containerd",
    "relay",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// What runs on the second node, in the order of starting.
const OF_SECOND_NODE: [&str; 3] = ["node-2-containerd", "node-2-kubelet", "node-2-kube-proxy"];

/// What runs in a cluster with these add-ons, in the order of starting.
fn components(with: &BTreeSet<AddOn>) -> Vec<&'static str> {
    let more = with.contains(&AddOn::SecondNode);
    let second = OF_SECOND_NODE.into_iter().filter(|_| more);
    COMPONENTS.into_iter().chain(second).collect()
}
