//! The command line of each component, and the namespaces it runs in. Pure.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{
    Layout,
    layout::{API_PORT, GATEWAY_NODE_PORT, NODE_IP, SERVICE_CIDR, SERVICE_CIDR_V6},
    node::Node,
};
use crate::upstream::Binaries;

/// Which of this machine's namespaces a component leaves.
#[derive(Debug, Clone)]
pub(super) enum Namespaces {
    /// None: the relay has a foot on both sides.
    Root,
    /// The network, for the node's.
    Network(Node),
    /// The network, and the mounts that the node's containerd and kubelet share.
    NetworkAndMounts(Node),
}

/// What to run.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) namespaces: Namespaces,
}

/// The node on which `component` runs, and its name without the node's.
pub(super) fn place<'a>(component: &'a str, layout: &Layout) -> (Node, &'a str) {
    let second = layout.second();
    match component.strip_prefix(second.prefix) {
        Some(component) => (second, component),
        None => (layout.first(), component),
    }
}

/// How `component` is run. `ports` are the relay's: API server, gateway.
pub(super) fn launch(
    component: &str,
    layout: &Layout,
    binaries: &Binaries,
    ports: (u16, u16),
) -> Result<Launch> {
    let (node, component) = place(component, layout);
    let network = |args: String| {
        let inside = Namespaces::Network(node.clone());
        (binaries.path(component), args, inside)
    };
    let mounts = |args: String| {
        let inside = Namespaces::NetworkAndMounts(node.clone());
        (binaries.path(component), args, inside)
    };
    let (program, args, namespaces) = match component {
        "etcd" => network(etcd(layout)),
        "kube-apiserver" => network(kube_apiserver(layout)),
        "kube-controller-manager" => network(kube_controller_manager(layout)),
        "kube-scheduler" => network(kube_scheduler(layout)),
        "kube-proxy" => network(format!(
            "--config {}",
            node.conf("kube-proxy.yaml").display()
        )),
        "containerd" => mounts(format!(
            "--config {}",
            node.conf("containerd.toml").display()
        )),
        "kubelet" => mounts(kubelet(&node)),
        "relay" => {
            let itself = Path::new("/proc/self/exe").to_path_buf();
            (Ok(itself), relay(layout, ports), Namespaces::Root)
        }
        other => bail!("there is no component {other}"),
    };
    // No path of ours holds a blank: they are made of constants and of the cluster's name.
    let args = args.split_whitespace().map(OsString::from).collect();
    Ok(Launch {
        program: program?,
        args,
        namespaces,
    })
}

/// No fsync: the data is thrown away with the machine's memory anyway.
fn etcd(layout: &Layout) -> String {
    let (client, peer) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    format!(
        "--data-dir {}/etcd --name m --listen-client-urls {client} \
         --advertise-client-urls {client} --listen-peer-urls {peer} \
         --initial-advertise-peer-urls {peer} --initial-cluster m={peer} \
         --unsafe-no-fsync --log-level warn",
        layout.state.display()
    )
}

fn kube_apiserver(layout: &Layout) -> String {
    let pki = layout.pki();
    let pki = pki.display();
    let services = layout.ranges(SERVICE_CIDR, SERVICE_CIDR_V6);
    format!(
        "--etcd-servers http://127.0.0.1:2379 --secure-port {API_PORT} --bind-address 0.0.0.0 \
         --advertise-address {NODE_IP} \
         --tls-cert-file {pki}/apiserver.crt --tls-private-key-file {pki}/apiserver.key \
         --client-ca-file {pki}/ca.crt \
         --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
         --service-account-issuer https://kubernetes.default.svc.cluster.local \
         --service-account-key-file {pki}/sa.pub \
         --service-account-signing-key-file {pki}/sa.key \
         --service-cluster-ip-range {services} \
         --kubelet-client-certificate {pki}/kubelet-client.crt \
         --kubelet-client-key {pki}/kubelet-client.key \
         --kubelet-certificate-authority {pki}/ca.crt \
         --kubelet-preferred-address-types InternalIP \
         --requestheader-client-ca-file {pki}/front-proxy-ca.crt \
         --requestheader-allowed-names front-proxy-client \
         --requestheader-username-headers X-Remote-User \
         --requestheader-group-headers X-Remote-Group \
         --requestheader-extra-headers-prefix X-Remote-Extra- \
         --proxy-client-cert-file {pki}/front-proxy-client.crt \
         --proxy-client-key-file {pki}/front-proxy-client.key \
         --enable-aggregator-routing --allow-privileged --profiling=false"
    )
}

/// The client rates: with the defaults its controllers take 4 to 5 s to start on a fresh store.
fn kube_controller_manager(layout: &Layout) -> String {
    let (pki, kubeconfig) = (layout.pki(), layout.conf("kcm.kubeconfig"));
    let (pki, kubeconfig) = (pki.display(), kubeconfig.display());
    let services = layout.ranges(SERVICE_CIDR, SERVICE_CIDR_V6);
    format!(
        "--kubeconfig {kubeconfig} --authentication-kubeconfig {kubeconfig} \
         --authorization-kubeconfig {kubeconfig} \
         --service-account-private-key-file {pki}/sa.key --root-ca-file {pki}/ca.crt \
         --use-service-account-credentials --cluster-signing-cert-file {pki}/ca.crt \
         --cluster-signing-key-file {pki}/ca.key --bind-address 127.0.0.1 --leader-elect=false \
         --kube-api-qps=200 --kube-api-burst=400 --profiling=false \
         --service-cluster-ip-range {services} \
         --controllers *,bootstrap-signer-controller,token-cleaner-controller"
    )
}

fn kube_scheduler(layout: &Layout) -> String {
    let kubeconfig = layout.conf("scheduler.kubeconfig");
    let kubeconfig = kubeconfig.display();
    format!(
        "--kubeconfig {kubeconfig} --authentication-kubeconfig {kubeconfig} \
         --authorization-kubeconfig {kubeconfig} --bind-address 127.0.0.1 --leader-elect=false \
         --profiling=false"
    )
}

fn kubelet(node: &Node) -> String {
    let state = node.state.display();
    let (name, ips) = (node.name, node.ips());
    format!(
        "--config {} --kubeconfig {} --root-dir {state}/kubelet --cert-dir {state}/kubelet-pki \
         --hostname-override {name} --node-ip {ips} --v=1",
        node.conf("kubelet.yaml").display(),
        node.conf("kubelet.kubeconfig").display(),
    )
}

fn relay(layout: &Layout, (api, gateway): (u16, u16)) -> String {
    format!(
        "__relay --netns {} --map {api}=127.0.0.1:{API_PORT} \
         --map {gateway}={NODE_IP}:{GATEWAY_NODE_PORT}",
        layout.netns().display()
    )
}
