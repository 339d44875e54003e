//! Where everything of one node is, and its addresses. Pure: makes nothing.
//!
//! A node is a network namespace with a containerd, a kubelet and a kube-proxy in it, which have a
//! mount namespace and a cgroup of their own.

use std::path::{Path, PathBuf};

/// One of a cluster's nodes.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its name in the cluster.
    pub(super) name: &'static str,
    /// Before the names of its components.
    pub(super) prefix: &'static str,
    /// Its address.
    pub(super) ip: &'static str,
    /// The addresses of its pods.
    pub(super) pods: &'static str,
    /// The same in IPv6, in a cluster that has both.
    pub(super) ipv6: Option<Ipv6>,
    /// Data, configuration.
    pub(super) state: PathBuf,
    /// Sockets and what containerd keeps for as long as it runs.
    pub(super) run: PathBuf,
    /// The network namespace's name for `ip netns`.
    pub(super) netns_name: String,
    /// The cgroup below each hierarchy's root that holds its pods.
    pub(super) cgroup: String,
    /// Keeps off it whoever does not ask for it.
    pub(super) taint: Option<&'static str>,
}

/// A node's addresses in IPv6.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ipv6 {
    /// Its own.
    pub(super) ip: &'static str,
    /// Its pods'.
    pub(super) pods: &'static str,
}

impl Node {
    /// Its own addresses, as the kubelet takes them.
    pub(super) fn ips(&self) -> String {
        match self.ipv6 {
            Some(ipv6) => format!("{},{}", self.ip, ipv6.ip),
            None => self.ip.to_owned(),
        }
    }

    /// What its containerd, kubelet or kube-proxy is called in the cluster.
    pub(super) fn component(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The network namespace as a file.
    pub(super) fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.netns_name)
    }

    pub(super) fn conf(&self, file: &str) -> PathBuf {
        self.state.join("conf").join(file)
    }

    /// containerd's socket.
    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    /// The prefix of its files in the cluster's `pki`.
    pub(super) fn certificate(&self) -> String {
        format!("{}-kubelet", self.name)
    }

    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let state = ["kubelet", "containerd", "conf/certs.d/_default", "conf/cni"];
        let run = ["containerd", "s", "runc"];
        let mut folders: Vec<_> = state.iter().map(|name| self.state.join(name)).collect();
        folders.extend(run.iter().map(|name| self.run.join(name)));
        folders
    }
}
