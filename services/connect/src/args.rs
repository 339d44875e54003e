//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use vcluster_chassis::args::{AdminArgs, DrainArgs, KubeArgs, TelemetryArgs};

/// The gateway to every virtual cluster of a host cluster.
///
/// Serves HTTPS in HTTP/1.1 and HTTP/2 on one port: virtual API servers under /clusters/HOST-NAMESPACE/NAME, and the
/// gRPC services of control, sync and the gateway itself.
#[derive(Debug, Clone, Parser)]
#[command(name = "vcluster-connect", version)]
pub struct Args {
    /// Address of the public port.
    #[arg(
        long,
        env = "VCLUSTER_LISTEN",
        default_value = "0.0.0.0:8443",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,

    /// PEM file with the gateway's certificate; it serves the public port and is shown to control and sync. Followed
    /// when it changes.
    #[arg(
        long,
        env = "VCLUSTER_TLS_CERT_FILE",
        default_value = "/etc/vcluster/tls/tls.crt",
        value_name = "FILE"
    )]
    pub tls_cert_file: PathBuf,

    /// PEM file with the key of that certificate.
    #[arg(
        long,
        env = "VCLUSTER_TLS_KEY_FILE",
        default_value = "/etc/vcluster/tls/tls.key",
        value_name = "FILE"
    )]
    pub tls_key_file: PathBuf,

    /// PEM file with the authority of control's and sync's certificates.
    #[arg(
        long,
        env = "VCLUSTER_CA_FILE",
        default_value = "/etc/vcluster/tls/ca.crt",
        value_name = "FILE"
    )]
    pub ca_file: PathBuf,

    /// PEM file with the P-256 key (PKCS #8) that signs credentials. Followed when it changes.
    #[arg(
        long,
        env = "VCLUSTER_SIGNING_KEY_FILE",
        default_value = "/etc/vcluster/signing/tls.key",
        value_name = "FILE"
    )]
    pub signing_key_file: PathBuf,

    /// Namespace in which control and sync run.
    #[arg(
        long,
        env = "VCLUSTER_NAMESPACE",
        default_value = "vcluster-system",
        value_name = "NAMESPACE"
    )]
    pub namespace: String,

    /// Address of control; https://vcluster-control.NAMESPACE.svc:8443 by default.
    #[arg(long, env = "VCLUSTER_CONTROL_ADDRESS", value_name = "URL")]
    pub control_address: Option<String>,

    /// Address of sync; https://vcluster-sync.NAMESPACE.svc:8443 by default.
    #[arg(long, env = "VCLUSTER_SYNC_ADDRESS", value_name = "URL")]
    pub sync_address: Option<String>,

    /// Domain under which each virtual cluster has a host of its own, NAME.HOST-NAMESPACE.DOMAIN; the gateway's
    /// certificate must cover those hosts. Without it virtual clusters are found by path only.
    #[arg(long, env = "VCLUSTER_DOMAIN", value_name = "DOMAIN")]
    pub domain: Option<String>,

    /// Most connections at once; further ones wait.
    #[arg(
        long,
        env = "VCLUSTER_MAX_CONNECTIONS",
        default_value_t = 10_000,
        value_name = "NUMBER"
    )]
    pub max_connections: usize,

    /// Most connections of one source (an IPv4 address, an IPv6 /64) at once; further ones are closed. Raise it where
    /// a load balancer hides the addresses of clients.
    #[arg(
        long,
        env = "VCLUSTER_MAX_CONNECTIONS_PER_SOURCE",
        default_value_t = 1000,
        value_name = "NUMBER"
    )]
    pub max_connections_per_source: usize,

    /// Most requests of one connection at once, in HTTP/2.
    #[arg(
        long,
        env = "VCLUSTER_MAX_STREAMS_PER_CONNECTION",
        default_value_t = 256,
        value_name = "NUMBER"
    )]
    pub max_streams_per_connection: u32,

    /// Most requests of one user at once that end by themselves; further ones are told to retry (429).
    #[arg(
        long,
        env = "VCLUSTER_MAX_REQUESTS_PER_USER",
        default_value_t = 400,
        value_name = "NUMBER"
    )]
    pub max_requests_per_user: usize,

    /// Most watches, followed logs, upgraded streams and gRPC calls of one user at once; further ones are told to
    /// retry (429).
    #[arg(
        long,
        env = "VCLUSTER_MAX_STREAMS_PER_USER",
        default_value_t = 1000,
        value_name = "NUMBER"
    )]
    pub max_streams_per_user: usize,

    /// How long a TLS handshake may take.
    #[arg(
        long,
        env = "VCLUSTER_HANDSHAKE_TIMEOUT",
        default_value = "5s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub handshake_timeout: Duration,

    /// How long the head of a request may take; in HTTP/1.1 also how long a connection may be idle.
    #[arg(
        long,
        env = "VCLUSTER_HEADER_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub header_timeout: Duration,

    /// How long an HTTP/2 connection may be open without a request.
    #[arg(
        long,
        env = "VCLUSTER_IDLE_TIMEOUT",
        default_value = "10m",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub idle_timeout: Duration,

    #[command(flatten)]
    #[expect(missing_docs, reason = "its help is in the group")]
    pub kube: KubeArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "its help is in the group")]
    pub admin: AdminArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "its help is in the group")]
    pub drain: DrainArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "its help is in the group")]
    pub telemetry: TelemetryArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_has_its_environment_twin_and_a_help_text() {
        let command = Args::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            let flag = argument.get_long().unwrap();
            assert!(argument.get_help().is_some(), "--{flag} has no help");
            let twin = format!("VCLUSTER_{}", flag.to_uppercase().replace('-', "_"));
            let found = argument.get_env().and_then(|name| name.to_str());
            assert!(
                found == Some(twin.as_str()) || ["help", "version"].contains(&flag),
                "--{flag}"
            );
        }
    }

    #[test]
    fn nothing_is_required() {
        assert!(Args::try_parse_from(["vcluster-connect"]).is_ok());
    }
}
