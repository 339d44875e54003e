//! Where everything of a cluster is, and the addresses in it. Pure: makes nothing.

use std::path::{Path, PathBuf};

use super::{
    Name,
    node::{Ipv6, Node},
};

/// Parent of all clusters' state.
pub(super) const STATE: &str = "/var/lib/vcluster-dev";
/// Parent of all clusters' sockets: short, because a socket's path may have 107 characters.
pub(super) const RUN: &str = "/run/vcluster-dev";

/// The first node's name.
pub(super) const NODE: &str = "node-1";
/// The first node's address, in every cluster the same: each has its own network namespaces.
pub const NODE_IP: &str = "10.77.0.1";
/// What all nodes' pods have their addresses from.
const POD_CIDR: &str = "10.244.0.0/16";
pub(super) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The same of a cluster with both families.
const POD_CIDR_V6: &str = "fd44::/48";
pub(super) const SERVICE_CIDR_V6: &str = "fd96::/112";
/// The address of the Service `default/kubernetes`.
pub(super) const SERVICE_FIRST: &str = "10.96.0.1";
/// CoreDNS.
pub(super) const DNS_IP: &str = "10.96.0.10";
pub(super) const API_PORT: u16 = 6443;
/// The NodePort on which the gateway is expected.
pub const GATEWAY_NODE_PORT: u16 = 30443;

/// The paths of one cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Its name.
    pub name: Name,
    /// State: data, configuration, logs, credentials.
    pub state: PathBuf,
    /// Sockets and what containerd keeps for as long as it runs.
    pub run: PathBuf,
    /// Whether nodes, pods and Services have IPv6 addresses, too.
    pub dual_stack: bool,
}

impl Layout {
    /// The layout of the cluster called `name`.
    pub fn new(name: &Name) -> Self {
        Self {
            name: name.clone(),
            state: Path::new(STATE).join(name.as_str()),
            run: Path::new(RUN).join(name.as_str()),
            dual_stack: false,
        }
    }

    /// What all nodes' pods have their addresses from.
    pub(crate) fn pods(&self) -> String {
        self.ranges(POD_CIDR, POD_CIDR_V6)
    }

    /// Ranges of both families, or of the first alone, as components take them.
    pub(super) fn ranges(&self, v4: &str, v6: &str) -> String {
        if self.dual_stack {
            format!("{v4},{v6}")
        } else {
            v4.to_owned()
        }
    }

    /// The cluster-admin kubeconfig for this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// The node that every cluster has, and on which its control plane runs.
    pub(super) fn first(&self) -> Node {
        Node {
            name: NODE,
            prefix: "",
            ip: NODE_IP,
            pods: "10.244.0.0/24",
            ipv6: self.dual_stack.then_some(Ipv6 {
                ip: "fd77::1",
                pods: "fd44::/64",
            }),
            state: self.state.clone(),
            run: self.run.clone(),
            netns_name: self.netns_name(),
            cgroup: self.cgroup(),
            taint: None,
        }
    }

    /// The one that a cluster can have besides.
    pub(super) fn second(&self) -> Node {
        Node {
            name: "node-2",
            prefix: "node-2-",
            ip: "10.77.0.2",
            pods: "10.244.1.0/24",
            ipv6: self.dual_stack.then_some(Ipv6 {
                ip: "fd77::2",
                pods: "fd44:0:0:1::/64",
            }),
            state: self.state.join("node-2"),
            run: self.run.join("2"),
            // No cluster's name holds a dot.
            netns_name: format!("{}.2", self.netns_name()),
            cgroup: format!("{}/node-2", self.cgroup()),
            taint: Some("vcluster.dev/second-node"),
        }
    }

    /// The first node's network namespace's name for `ip netns`.
    fn netns_name(&self) -> String {
        format!("vcluster-{}", self.name)
    }

    /// The first node's network namespace as a file.
    pub fn netns(&self) -> PathBuf {
        self.first().netns()
    }

    /// The cgroup below each hierarchy's root that holds everything of the cluster.
    pub(super) fn cgroup(&self) -> String {
        format!("vcluster-dev-{}", self.name)
    }

    /// A component's log.
    pub fn log(&self, component: &str) -> PathBuf {
        self.state.join("log").join(format!("{component}.log"))
    }

    pub(super) fn pid_file(&self, component: &str) -> PathBuf {
        self.state.join("pid").join(format!("{component}.json"))
    }

    pub(super) fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    pub(super) fn conf(&self, file: &str) -> PathBuf {
        self.state.join("conf").join(file)
    }

    /// Programs for `shell`'s PATH.
    pub fn programs(&self) -> PathBuf {
        self.state.join("bin")
    }

    /// What is not a node's.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let state = ["log", "pid", "pki", "conf", "bin", "pv"];
        state.iter().map(|name| self.state.join(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_socket_path_is_one_the_kernel_takes() {
        let layout = Layout::new(&"abcdefghijklmn".parse().expect("a name"));
        for node in [layout.first(), layout.second()] {
            let shim = node.run.join("s").join("f".repeat(64));
            assert!(shim.as_os_str().len() < 105, "{}", shim.display());
            let device_plugins = node.state.join("kubelet/pod-resources/kubelet.sock");
            assert!(device_plugins.as_os_str().len() < 100);
        }
    }

    #[test]
    fn two_clusters_share_no_path() {
        let [one, other] = ["a", "b"].map(|name| Layout::new(&name.parse().expect("a name")));
        assert_ne!(one.state, other.state);
        assert_ne!(one.run, other.run);
        assert_ne!(one.netns(), other.netns());
        assert_ne!(one.second().netns(), other.second().netns());
        assert_ne!(one.cgroup(), other.cgroup());
    }
}
