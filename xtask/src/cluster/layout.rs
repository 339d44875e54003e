//! Where everything of a cluster is, and the addresses in it. Pure: makes nothing.

use std::path::{Path, PathBuf};

use super::Name;

/// Parent of all clusters' state.
pub(super) const STATE: &str = "/var/lib/vcluster-dev";
/// Parent of all clusters' sockets: short, because a socket's path may have 107 characters.
pub(super) const RUN: &str = "/run/vcluster-dev";

/// The node's name.
pub(super) const NODE: &str = "node-1";
/// The node's address, in every cluster the same: each has its own network namespace.
pub const NODE_IP: &str = "10.77.0.1";
pub(super) const POD_CIDR: &str = "10.244.0.0/24";
pub(super) const SERVICE_CIDR: &str = "10.96.0.0/16";
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
}

impl Layout {
    /// The layout of the cluster called `name`.
    pub fn new(name: &Name) -> Self {
        Self {
            name: name.clone(),
            state: Path::new(STATE).join(name.as_str()),
            run: Path::new(RUN).join(name.as_str()),
        }
    }

    /// The cluster-admin kubeconfig for this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// The network namespace's name for `ip netns`.
    pub fn netns_name(&self) -> String {
        format!("vcluster-{}", self.name)
    }

    /// The network namespace as a file.
    pub fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(self.netns_name())
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

    /// containerd's socket.
    pub fn containerd_socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let state = ["log", "pid", "pki", "conf", "bin", "kubelet", "pv"];
        let conf = ["conf/certs.d/_default", "conf/cni", "containerd"];
        let run = ["containerd", "s", "runc"];
        let mut folders: Vec<_> = state.iter().map(|name| self.state.join(name)).collect();
        folders.extend(conf.iter().map(|name| self.state.join(name)));
        folders.extend(run.iter().map(|name| self.run.join(name)));
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_socket_path_is_one_the_kernel_takes() {
        let layout = Layout::new(&"abcdefghijklmn".parse().expect("a name"));
        let shim = layout.run.join("s").join("f".repeat(64));
        assert!(shim.as_os_str().len() < 100, "{}", shim.display());
        let device_plugins = layout.state.join("kubelet/pod-resources/kubelet.sock");
        assert!(device_plugins.as_os_str().len() < 100);
    }

    #[test]
    fn two_clusters_share_no_path() {
        let [one, other] = ["a", "b"].map(|name| Layout::new(&name.parse().expect("a name")));
        assert_ne!(one.state, other.state);
        assert_ne!(one.run, other.run);
        assert_ne!(one.netns(), other.netns());
        assert_ne!(one.cgroup(), other.cgroup());
    }
}
