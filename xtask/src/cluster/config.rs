//! The components' configuration files. Pure: layout in, text out.
//!
//! Every odd setting is one that the cluster did not run without on a small virtual machine.

use std::fmt::Write as _;

use super::{Layout, layout::DNS_IP, node::Node};
use crate::images::PAUSE;

/// Where this machine has what containerd calls.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// runc.
    pub(crate) runc: String,
    /// The folder of the CNI plugins.
    pub(crate) cni: String,
}

/// File name below the node's `conf/` and content of each.
pub(super) fn files(layout: &Layout, node: &Node, host: &Host) -> Vec<(&'static str, String)> {
    vec![
        ("containerd.toml", containerd(node, host)),
        ("certs.d/_default/hosts.toml", NO_PULL.to_owned()),
        ("cni/10-bridge.conflist", cni(node)),
        ("kubelet.yaml", kubelet(layout, node)),
        ("kube-proxy.yaml", kube_proxy(layout, node)),
        ("resolv.conf", String::new()),
    ]
}

/// Without an uplink a pull would hang, and even delay the pod's deletion: this way it fails at once.
const NO_PULL: &str = "server = \"http://127.0.0.1:1\"\n\
    [host.\"http://127.0.0.1:1\"]\n  capabilities = [\"pull\", \"resolve\"]\n";

/// `restrict_oom_score_adj`: without CAP_SYS_RESOURCE every sandbox fails with "can't get final
/// child's PID from pipe" otherwise.
fn containerd(node: &Node, host: &Host) -> String {
    let (state, run) = (node.state.display(), node.run.display());
    let Host { runc, cni } = host;
    format!(
        "version = 4
root = '{state}/containerd'
state = '{run}/containerd'
imports = []
disabled_plugins = ['io.containerd.nri.v1.nri']
[plugins.'io.containerd.server.v1.grpc']
  address = '{run}/containerd.sock'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '{run}/containerd.sock.ttrpc'
[plugins.'io.containerd.internal.v1.opt']
  path = '{state}/opt'
[plugins.'io.containerd.shim.v1.manager']
  socket_dir = '{run}/s'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '{PAUSE}'
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = '{state}/conf/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = '{runc}'
        Root = '{run}/runc'
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['{cni}']
    conf_dir = '{state}/conf/cni'
"
    )
}

const ROUTE: &str = r#"{"dst":"0.0.0.0/0"}"#;
const ROUTE_V6: &str = r#",{"dst":"::/0"}"#;

fn cni(node: &Node) -> String {
    let (state, pods) = (node.state.display(), node.pods);
    let (mut ranges, mut routes) = (format!(r#"[{{"subnet":"{pods}"}}]"#), ROUTE.to_owned());
    if let Some(ipv6) = node.ipv6 {
        let _ = write!(ranges, r#",[{{"subnet":"{}"}}]"#, ipv6.pods);
        routes.push_str(ROUTE_V6);
    }
    format!(
        r#"{{"cniVersion":"1.0.0","name":"bridge","plugins":[
 {{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,"promiscMode":false,
  "ipam":{{"type":"host-local","dataDir":"{state}/cni-ipam","ranges":[{ranges}],"routes":[{routes}]}}}},
 {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}
"#
    )
}

/// `failCgroupV1`, `enforceNodeAllocatable` and `oomScoreAdj`: cgroup v1 and a root without all
/// capabilities are enough. Eviction and image collection only begin when the disk is really full:
/// nothing can be pulled again. `cgroupRoot` keeps clusters apart.
/// The back-off after crashes is short: scenarios kill services on purpose, and again.
fn kubelet(layout: &Layout, node: &Node) -> String {
    let (state, cgroup) = (node.state.display(), &node.cgroup);
    let (socket, pki) = (node.containerd_socket(), layout.pki());
    let (socket, pki) = (socket.display(), pki.display());
    let certificate = node.certificate();
    let taint = |key| format!("{{key: {key}, effect: NoSchedule}}");
    let taints = node.taint.map(taint).unwrap_or_default();
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {pki}/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {pki}/{certificate}-server.crt
tlsPrivateKeyFile: {pki}/{certificate}-server.key
registerWithTaints: [{taints}]
clusterDNS: [{DNS_IP}]
clusterDomain: cluster.local
resolvConf: {state}/conf/resolv.conf
podLogsDir: {state}/podlogs
volumePluginDir: {state}/volume-plugins
staticPodPath: \"\"
oomScoreAdj: 0
enforceNodeAllocatable: []
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
maxPods: 250
syncFrequency: 10s
crashLoopBackOff: {{maxContainerRestartPeriod: 2s}}
"
    )
}

/// The zeros keep it from writing connection-tracking limits, which it may not and would exit over.
fn kube_proxy(layout: &Layout, node: &Node) -> String {
    let kubeconfig = layout.conf("proxy.kubeconfig");
    let name = node.name;
    let pods = layout.pods();
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {}}}
mode: iptables
hostnameOverride: {name}
clusterCIDR: {pods}
oomScoreAdj: 0
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
",
        kubeconfig.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(file: &str) -> String {
        let layout = Layout::new(&"dev".parse().expect("a name"));
        let host = Host {
            runc: "/usr/sbin/runc".to_owned(),
            cni: "/usr/lib/cni".to_owned(),
        };
        let files = files(&layout, &layout.first(), &host);
        files
            .into_iter()
            .find(|(name, _)| *name == file)
            .expect("such a file")
            .1
    }

    #[test]
    fn containerds_configuration_is_toml_and_keeps_to_the_clusters_folders() {
        let text = rendered("containerd.toml");
        let config: toml::Table = text.parse().expect("TOML");
        assert_eq!(config["version"].as_integer(), Some(4));
        let elsewhere = |line: &&str| line.contains("'/") && !line.contains("vcluster-dev/dev");
        let elsewhere: Vec<_> = text.lines().filter(elsewhere).map(str::trim).collect();
        assert_eq!(
            elsewhere,
            [
                "BinaryName = '/usr/sbin/runc'",
                "bin_dirs = ['/usr/lib/cni']"
            ]
        );
    }

    #[test]
    fn pulls_fail_at_once() {
        let config: toml::Table = rendered("certs.d/_default/hosts.toml")
            .parse()
            .expect("TOML");
        assert_eq!(config["server"].as_str(), Some("http://127.0.0.1:1"));
    }

    #[test]
    fn the_cni_configuration_is_json() {
        let config: serde_json::Value =
            serde_json::from_str(&rendered("cni/10-bridge.conflist")).expect("JSON");
        assert_eq!(
            config["plugins"][0]["ipam"]["dataDir"],
            "/var/lib/vcluster-dev/dev/cni-ipam"
        );
    }

    #[test]
    fn pods_of_a_cluster_with_both_families_have_an_address_of_each() {
        let mut layout = Layout::new(&"dev".parse().expect("a name"));
        layout.dual_stack = true;
        let config: serde_json::Value = serde_json::from_str(&cni(&layout.second())).expect("JSON");
        let ipam = &config["plugins"][0]["ipam"];
        assert_eq!(ipam["ranges"][0][0]["subnet"], "10.244.1.0/24");
        assert_eq!(ipam["ranges"][1][0]["subnet"], "fd44:0:0:1::/64");
        assert_eq!(ipam["routes"][1]["dst"], "::/0");
        let proxy = kube_proxy(&layout, &layout.first());
        assert!(
            proxy.contains("clusterCIDR: 10.244.0.0/16,fd44::/48\n"),
            "{proxy}"
        );
    }

    #[test]
    fn the_kubelet_stays_in_the_clusters_cgroup() {
        let layout = Layout::new(&"dev".parse().expect("a name"));
        let second = kubelet(&layout, &layout.second());
        assert!(rendered("kubelet.yaml").contains("cgroupRoot: /vcluster-dev-dev\n"));
        assert!(second.contains("cgroupRoot: /vcluster-dev-dev/node-2\n"));
    }

    #[test]
    fn only_the_second_node_takes_nobody_who_does_not_ask_for_it() {
        let layout = Layout::new(&"dev".parse().expect("a name"));
        let second = kubelet(&layout, &layout.second());
        assert!(rendered("kubelet.yaml").contains("registerWithTaints: []\n"));
        assert!(second.contains("[{key: vcluster.dev/second-node, effect: NoSchedule}]"));
    }
}
