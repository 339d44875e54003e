//! Flags of the binary. Every one has an environment twin and a help text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand};
use ipnet::IpNet;
use vcluster_chassis::args::{AdminArgs, DrainArgs, KubeArgs, TelemetryArgs};

use crate::custom;
use crate::hosts::Hosts;

/// Translates the objects of virtual clusters into their host namespaces, and their status back.
#[derive(Debug, Clone, Parser)]
#[command(name = "vcluster-sync", version)]
pub struct Args {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address of the gRPC API, TLS.
    #[arg(
        long,
        env = "VCLUSTER_LISTEN",
        default_value = "0.0.0.0:8443",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,

    /// Identity of the gRPC API, and of the ports for virtual API servers.
    #[command(flatten)]
    pub tls: ServerTls,

    /// Address of the kubelet API for virtual API servers, TLS.
    #[arg(
        long,
        env = "VCLUSTER_KUBELET_LISTEN",
        default_value = "0.0.0.0:10250",
        value_name = "ADDRESS"
    )]
    pub kubelet_listen: SocketAddr,

    /// Address of the admission webhooks for virtual API servers, TLS.
    #[arg(
        long,
        env = "VCLUSTER_WEBHOOK_LISTEN",
        default_value = "0.0.0.0:9443",
        value_name = "ADDRESS"
    )]
    pub webhook_listen: SocketAddr,

    /// Address of the metrics of pods and nodes (metrics.k8s.io) for virtual API servers, TLS.
    #[arg(
        long,
        env = "VCLUSTER_RESOURCE_METRICS_LISTEN",
        default_value = "0.0.0.0:4443",
        value_name = "ADDRESS"
    )]
    pub resource_metrics_listen: SocketAddr,

    /// Namespace of this release, where the Lease is.
    #[arg(
        long,
        env = "VCLUSTER_NAMESPACE",
        default_value = "vcluster-system",
        value_name = "NAME"
    )]
    pub namespace: String,

    /// Name of this pod, which tells it from other replicas.
    #[arg(
        long,
        env = "VCLUSTER_POD_NAME",
        default_value = "vcluster-sync",
        value_name = "NAME"
    )]
    pub pod_name: String,

    /// UID of this pod. With it a process that is started again goes on at once with what the one before it had.
    #[arg(long, env = "VCLUSTER_POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,

    /// Address of this pod, at which other replicas reach its gRPC API.
    #[arg(long, env = "VCLUSTER_POD_IP", value_name = "ADDRESS")]
    pub pod_ip: Option<std::net::IpAddr>,

    /// Serve without asking for the Lease. Only for one process that runs alone.
    #[arg(long, env = "VCLUSTER_UNOPPOSED")]
    pub unopposed: bool,

    /// How it works.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// The host cluster.
    #[command(flatten)]
    pub kube: KubeArgs,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,

    /// The end.
    #[command(flatten)]
    pub drain: DrainArgs,
}

/// What else the binary does.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Write the hosts file of a pod. Run by pods that sync makes.
    #[command(hide = true)]
    Hosts(Hosts),
}

/// Certificates of the gRPC API. Changed files are picked up within seconds.
#[derive(Debug, Clone, Group)]
#[command(next_help_heading = "TLS")]
#[expect(clippy::struct_field_names, reason = "the names of the flags")]
pub struct ServerTls {
    /// PEM file with the authority that signed the gateway's client certificate.
    #[arg(
        long,
        env = "VCLUSTER_TLS_CLIENT_CA_FILE",
        default_value = "/etc/vcluster/tls/ca.crt",
        value_name = "FILE"
    )]
    pub tls_client_ca_file: PathBuf,

    /// PEM file with the serving certificate and its intermediates, leaf first.
    #[arg(
        long,
        env = "VCLUSTER_TLS_CERT_FILE",
        default_value = "/etc/vcluster/tls/tls.crt",
        value_name = "FILE"
    )]
    pub tls_cert_file: PathBuf,

    /// PEM file with the private key of the serving certificate.
    #[arg(
        long,
        env = "VCLUSTER_TLS_KEY_FILE",
        default_value = "/etc/vcluster/tls/tls.key",
        value_name = "FILE"
    )]
    pub tls_key_file: PathBuf,

    /// PEM file with the authority that signed the client certificates of virtual API servers. While it
    /// is missing, they are not served, and everything else is.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_CA_FILE",
        default_value = "/etc/vcluster/tls/tenant-ca.crt",
        value_name = "FILE"
    )]
    pub tenant_ca_file: PathBuf,
}

/// Sizes and limits of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Group)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Objects that are worked on at once, over all virtual clusters.
    #[arg(long, env = "VCLUSTER_WORKERS", default_value_t = 64, value_name = "N")]
    pub workers: usize,

    /// Virtual clusters whose objects are listed for the first time at once.
    #[arg(
        long,
        env = "VCLUSTER_MAX_CONCURRENT_LISTS",
        default_value_t = 8,
        value_name = "N"
    )]
    pub max_concurrent_lists: usize,

    /// How often each virtual cluster is compared with its host namespace as a whole.
    #[arg(long, env = "VCLUSTER_SCAN_INTERVAL", default_value = "5m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub scan_interval: Duration,

    /// Objects of one virtual cluster that are worked on at once.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_IN_FLIGHT",
        default_value_t = 16,
        value_name = "N"
    )]
    pub tenant_in_flight: usize,

    /// Writes per second for one virtual cluster, on each side, for each unit of its weight.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_WRITES_PER_SECOND",
        default_value_t = 100,
        value_name = "N"
    )]
    pub tenant_writes_per_second: u32,

    /// Writes that may come at once after a lull, in the same way.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_WRITES_BURST",
        default_value_t = 200,
        value_name = "N"
    )]
    pub tenant_writes_burst: u32,

    /// Shares of virtual clusters that are not like the others': HOST-NAMESPACE=WEIGHT, parted by commas. All others
    /// have 1, and at most 100 is allowed.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_WEIGHTS",
        value_delimiter = ',',
        value_parser = weight,
        value_name = "NAMESPACE=N"
    )]
    pub tenant_weights: Vec<(String, u32)>,

    /// Requests of all virtual clusters to the host that may be under way at once, at most. How many it is at a
    /// moment follows from how fast the host answers.
    #[arg(
        long,
        env = "VCLUSTER_HOST_REQUESTS",
        default_value_t = 128,
        value_name = "N"
    )]
    pub host_requests: usize,

    /// Events per second that are shown in one virtual cluster.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_EVENTS_PER_SECOND",
        default_value_t = 10,
        value_name = "N"
    )]
    pub tenant_events_per_second: u32,

    /// Image by which pods with a subdomain get an /etc/hosts with their qualified name: this binary's own. Nodes
    /// must be able to pull it. None: such pods know only their short name.
    #[arg(long, env = "VCLUSTER_HOSTS_IMAGE", value_name = "IMAGE")]
    pub hosts_image: Option<String>,

    /// Annotations of Ingresses that reach the host beside the short list of harmless ones: keys, or with `*` at the
    /// end their beginnings, parted by commas.
    #[arg(
        long,
        env = "VCLUSTER_INGRESS_ANNOTATIONS",
        value_delimiter = ',',
        value_name = "KEYS"
    )]
    pub ingress_annotations: Vec<String>,

    /// Annotations of Services that reach the host, in the same way.
    #[arg(
        long,
        env = "VCLUSTER_SERVICE_ANNOTATIONS",
        value_delimiter = ',',
        value_name = "KEYS"
    )]
    pub service_annotations: Vec<String>,

    /// Annotations of ServiceAccounts that reach the host, in the same way, where their virtual cluster has them go
    /// there.
    #[arg(
        long,
        env = "VCLUSTER_SERVICE_ACCOUNT_ANNOTATIONS",
        value_delimiter = ',',
        value_name = "KEYS"
    )]
    pub service_account_annotations: Vec<String>,

    /// The highest value of PriorityClasses of virtual clusters that go to the host. None: none goes. Sync's account
    /// needs the right.
    #[arg(
        long,
        env = "VCLUSTER_HIGHEST_PRIORITY",
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub highest_priority: Option<i32>,

    /// Whether pods of those classes may push others from a node.
    #[arg(long, env = "VCLUSTER_PREEMPTION")]
    pub preemption: bool,

    /// Provisioners that StorageClasses of virtual clusters may name to go to the host. Sync's account needs the right.
    #[arg(
        long,
        env = "VCLUSTER_STORAGE_PROVISIONERS",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub storage_provisioners: Vec<String>,

    /// Show virtual clusters how much room the host's storage has left (CSIStorageCapacities), of their classes and nodes.
    /// Sync's account needs the right.
    #[arg(long, env = "VCLUSTER_STORAGE_CAPACITIES")]
    pub storage_capacities: bool,

    /// Ranges of the host's pods, for a host whose nodes do not tell them (`spec.podCIDRs`). While they are not
    /// known, EndpointSlices of virtual clusters lead to their own pods only.
    #[arg(
        long,
        env = "VCLUSTER_POD_CIDRS",
        value_delimiter = ',',
        value_name = "CIDRS"
    )]
    pub pod_cidrs: Vec<IpNet>,

    /// Ranges to which no EndpointSlice of a virtual cluster may lead, beside the host's machines, Services and pods.
    #[arg(
        long,
        env = "VCLUSTER_DENIED_ENDPOINT_CIDRS",
        value_delimiter = ',',
        value_name = "CIDRS"
    )]
    pub denied_endpoint_cidrs: Vec<IpNet>,

    /// Custom resources that virtual clusters may sync by rules of theirs: PLURAL.GROUP, PLURAL.GROUP=FromHost for those
    /// that may only be shown, or PLURAL.GROUP=OtherNamespaces for those that may name other namespaces of the host.
    /// Sync's account and the tenants' need the rights.
    #[arg(
        long,
        env = "VCLUSTER_CUSTOM_RESOURCES",
        value_name = "PLURAL.GROUP",
        value_delimiter = ','
    )]
    pub custom_resources: Vec<custom::Kind>,

    /// Serve only virtual clusters with these labels, as `kubectl get -l` takes them. Another process, with a Lease
    /// of its own namespace, must serve the others.
    #[arg(long, env = "VCLUSTER_SELECTOR", value_name = "LABELS")]
    pub selector: Option<String>,

    /// KiB of recent objects, compressed, that are kept per virtual cluster; others are read again when needed.
    #[arg(
        long,
        env = "VCLUSTER_TENANT_OBJECT_KIB",
        default_value_t = 2048,
        value_name = "KIB"
    )]
    pub tenant_object_kib: usize,
}

/// Reads NAMESPACE=WEIGHT.
fn weight(text: &str) -> Result<(String, u32), String> {
    let allowed = || format!("{text:?} is not HOST-NAMESPACE=WEIGHT with a weight from 1 to 100");
    let (namespace, weight) = text.split_once('=').ok_or_else(allowed)?;
    let weight = weight.trim().parse().map_err(|_error| allowed())?;
    let namespace = namespace.trim();
    if namespace.is_empty() || !(1..=100).contains(&weight) {
        return Err(allowed());
    }
    Ok((namespace.to_owned(), weight))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_weight_names_a_host_namespace_and_is_from_1_to_100() {
        assert_eq!(weight("team-a=4"), Ok(("team-a".to_owned(), 4)));
        for wrong in ["team-a", "=4", "team-a=0", "team-a=101", "team-a=x"] {
            assert!(weight(wrong).unwrap_err().contains("from 1 to 100"));
        }
    }

    #[test]
    fn every_flag_has_its_environment_twin_and_a_help_text() {
        let command = Args::command();
        command.clone().debug_assert();
        let own = |id: &str| id != "help" && id != "version";
        for argument in command
            .get_arguments()
            .filter(|argument| own(argument.get_id().as_str()))
        {
            let flag = argument.get_long().unwrap();
            let twin = format!("VCLUSTER_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().unwrap().to_str(), Some(twin.as_str()));
            assert!(argument.get_help().is_some(), "--{flag} has no help");
        }
    }
}
