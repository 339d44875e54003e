//! Flags of the binary. Each has an environment twin `VCLUSTER_<FLAG>`.

use std::net::SocketAddr;

use clap::{Args as Group, Parser, Subcommand};
use vcluster_chassis::args::{AdminArgs, DrainArgs, KubeArgs, TelemetryArgs};

/// Lifecycle of virtual clusters: the gRPC API, and the controller that makes them so.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "vcluster-control",
    version,
    args_conflicts_with_subcommands = true
)]
#[command(subcommand_negates_reqs = true)]
pub struct Args {
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Serving.
    #[command(flatten)]
    pub serve: Serve,
}

/// Something else than serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Fail if there are virtual clusters, and list them: for a hook before the chart is removed.
    CheckUninstall(CheckUninstall),
}

/// Flags of `check-uninstall`.
#[derive(Debug, Clone, Group)]
pub struct CheckUninstall {
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// The host cluster.
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// Flags of serving.
#[derive(Debug, Clone, Group)]
pub struct Serve {
    /// Address that serves gRPC over TLS.
    #[arg(
        long,
        env = "VCLUSTER_LISTEN",
        default_value = "0.0.0.0:8443",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,

    /// Namespace of this installation: of its Leases, its certificate authorities and the other
    /// services.
    #[arg(
        long,
        env = "VCLUSTER_NAMESPACE",
        required = true,
        value_name = "NAMESPACE"
    )]
    pub namespace: Option<String>,

    /// Name of this pod, by which it holds the Lease; a made-up one by default.
    #[arg(long, env = "VCLUSTER_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// UID of this pod. With it a process that is started again need not wait for the Lease of the one before it.
    #[arg(long, env = "VCLUSTER_POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,

    /// Reconcile only while holding the Lease `vcluster-control`, so that several replicas may run.
    #[arg(
        long,
        env = "VCLUSTER_LEADER_ELECT",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub leader_elect: bool,

    /// ServiceAccount of this service, in its own namespace.
    #[arg(
        long,
        env = "VCLUSTER_SERVICE_ACCOUNT",
        default_value = "vcluster-control",
        value_name = "NAME"
    )]
    pub service_account: String,

    /// ServiceAccount of sync, in the same namespace.
    #[arg(
        long,
        env = "VCLUSTER_SYNC_SERVICE_ACCOUNT",
        default_value = "vcluster-sync",
        value_name = "NAME"
    )]
    pub sync_service_account: String,

    /// Ranges of the host's Service addresses, for hosts without ServiceCIDR objects (before
    /// Kubernetes 1.33).
    #[arg(
        long,
        env = "VCLUSTER_HOST_SERVICE_CIDR",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub host_service_cidr: Vec<String>,

    /// How users reach the gateway.
    #[command(flatten)]
    pub gateway: Gateway,
    /// What control planes reach.
    #[command(flatten)]
    pub isolation: Isolation,
    /// Images of control planes.
    #[command(flatten)]
    pub images: Images,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Probes and metrics.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Shutdown.
    #[command(flatten)]
    pub drain: DrainArgs,
    /// The host cluster.
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// How users reach the gateway.
#[derive(Debug, Clone, Group)]
#[command(next_help_heading = "Gateway")]
pub struct Gateway {
    /// Address of the gateway as users reach it, `https://HOST[:PORT]`; it is told to them by the
    /// ConfigMap kube-public/vcluster-gateway.
    #[arg(
        long,
        env = "VCLUSTER_GATEWAY_ADDRESS",
        required = true,
        value_name = "URL"
    )]
    pub gateway_address: Option<String>,

    /// Further names and IP addresses in the gateway's certificate; the host of its address is one
    /// by itself.
    #[arg(
        long,
        env = "VCLUSTER_GATEWAY_SAN",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub gateway_san: Vec<String>,
}

/// What control planes reach by network, and who asks their DNS servers.
#[derive(Debug, Clone, Group)]
#[command(next_help_heading = "Network policies of virtual clusters")]
pub struct Isolation {
    /// Make NetworkPolicies in each host namespace that bound where its control plane connects, and who asks its DNS
    /// server.
    #[arg(
        long,
        env = "VCLUSTER_ISOLATE",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub isolate: bool,

    /// How control planes reach the host's DNS: a JSON list of NetworkPolicyEgressRules. By default the pods of
    /// kube-system and this machine's nameservers, at port 53.
    #[arg(
        long,
        env = "VCLUSTER_HOST_DNS_EGRESS",
        default_value = "",
        hide_default_value = true,
        value_name = "JSON"
    )]
    pub host_dns_egress: String,

    /// Families (IPv4, IPv6) whose public addresses control planes reach, for webhooks by URL.
    #[arg(
        long,
        env = "VCLUSTER_PUBLIC_EGRESS",
        default_value = "IPv4",
        value_delimiter = ',',
        value_name = "FAMILY"
    )]
    pub public_egress: Vec<String>,

    /// Ranges that they do not reach although they are public, for example the host's own.
    #[arg(
        long,
        env = "VCLUSTER_DENIED_EGRESS",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub denied_egress: Vec<String>,

    /// What control planes reach besides: a JSON list of NetworkPolicyEgressRules.
    #[arg(
        long,
        env = "VCLUSTER_CONTROL_PLANE_EGRESS",
        default_value = "",
        hide_default_value = true,
        value_name = "JSON"
    )]
    pub control_plane_egress: String,
}

/// Images of control planes.
#[derive(Debug, Clone, Group)]
#[command(next_help_heading = "Images")]
#[expect(
    clippy::struct_field_names,
    reason = "the names of the fields are the flags'"
)]
pub struct Images {
    /// Repository of kube-apiserver; the tag is `v` and the version of the virtual cluster.
    #[arg(
        long,
        env = "VCLUSTER_IMAGE_KUBE_APISERVER",
        default_value = "registry.k8s.io/kube-apiserver",
        value_name = "REPOSITORY"
    )]
    pub image_kube_apiserver: String,

    /// Repository of kube-controller-manager; the tag is `v` and the version of the virtual cluster.
    #[arg(
        long,
        env = "VCLUSTER_IMAGE_KUBE_CONTROLLER_MANAGER",
        default_value = "registry.k8s.io/kube-controller-manager",
        value_name = "REPOSITORY"
    )]
    pub image_kube_controller_manager: String,

    /// Image of kine, with its tag.
    #[arg(
        long,
        env = "VCLUSTER_IMAGE_KINE",
        default_value = "docker.io/rancher/kine:v0.17.5",
        value_name = "IMAGE"
    )]
    pub image_kine: String,

    /// Image of CoreDNS, with its tag.
    #[arg(
        long,
        env = "VCLUSTER_IMAGE_COREDNS",
        default_value = "registry.k8s.io/coredns/coredns:v1.15.0",
        value_name = "IMAGE"
    )]
    pub image_coredns: String,

    /// When the kubelet pulls these images; its own rule by default.
    #[arg(
        long,
        env = "VCLUSTER_IMAGE_PULL_POLICY",
        value_parser = ["Always", "IfNotPresent", "Never"],
        value_name = "POLICY"
    )]
    pub image_pull_policy: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_has_its_environment_twin_and_a_help_text() {
        let command = Args::command();
        command.clone().debug_assert();
        let flags = command
            .get_arguments()
            .filter(|a| !["help", "version"].contains(&a.get_id().as_str()));
        for flag in flags {
            let long = flag.get_long().unwrap();
            let twin = format!("VCLUSTER_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env().unwrap().to_str(), Some(twin.as_str()));
            assert!(flag.get_help().is_some(), "--{long} has no help");
        }
    }

    #[test]
    fn serving_needs_its_namespace_and_the_gateway_and_the_check_does_not() {
        assert!(Args::try_parse_from(["c"]).is_err());
        let serve = [
            "c",
            "--namespace=x",
            "--gateway-address=https://gw",
            "--leader-elect=false",
        ];
        let args = Args::try_parse_from(serve).unwrap();
        assert!(args.command.is_none() && !args.serve.leader_elect);
        let check = Args::try_parse_from(["c", "check-uninstall", "--kubeconfig=f"]).unwrap();
        assert!(matches!(check.command, Some(Command::CheckUninstall(_))));
    }
}
