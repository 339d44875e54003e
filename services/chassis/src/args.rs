//! Groups of flags that services flatten into their own `Args`.
//!
//! Every flag has an environment twin `VCLUSTER_<FLAG>`, and a help text with unit and default. The
//! groups only carry values: what they mean is decided in the module that takes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// Form of the log lines on stderr; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, env = "VCLUSTER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,

    /// Which events are logged, as comma-separated `target=level` directives.
    #[arg(
        long,
        env = "VCLUSTER_LOG_FILTER",
        default_value = "info",
        value_name = "DIRECTIVES"
    )]
    pub log_filter: String,

    /// Where spans are sent by OTLP over gRPC, such as `http://collector:4317` (plain HTTP only); none are sent without.
    #[arg(long, env = "VCLUSTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryArgs {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
        }
    }
}

/// The port of probes and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Admin port")]
pub struct AdminArgs {
    /// Address that serves /livez, /readyz and /metrics in plain HTTP.
    #[arg(
        long,
        env = "VCLUSTER_ADMIN_LISTEN",
        default_value = "0.0.0.0:9090",
        value_name = "ADDRESS"
    )]
    pub admin_listen: SocketAddr,
}

impl Default for AdminArgs {
    fn default() -> Self {
        Self {
            admin_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)),
        }
    }
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Shutdown")]
pub struct DrainArgs {
    /// How long requests and tasks may take to end after SIGTERM, as a duration such as `25s`; keep it
    /// below the pod's terminationGracePeriodSeconds.
    #[arg(
        long,
        env = "VCLUSTER_DRAIN_TIMEOUT",
        default_value = "25s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub drain_timeout: Duration,
}

impl Default for DrainArgs {
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// Which Kubernetes API server is talked to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubeArgs {
    /// Kubeconfig file of the cluster; without it the pod's own service account is used. The variable
    /// KUBECONFIG and ~/.kube/config are not looked at.
    #[arg(long, env = "VCLUSTER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of that kubeconfig; its current one by default.
    #[arg(
        long,
        env = "VCLUSTER_KUBE_CONTEXT",
        requires = "kubeconfig",
        value_name = "NAME"
    )]
    pub kube_context: Option<String>,
}

/// Certificates of a listener. Changed files are picked up within seconds.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "TLS")]
#[expect(
    clippy::struct_field_names,
    reason = "clap wants ids that no other group has"
)]
pub struct TlsArgs {
    /// PEM file with the serving certificate and its intermediates, leaf first.
    #[arg(long, env = "VCLUSTER_TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: PathBuf,

    /// PEM file with the private key of the serving certificate.
    #[arg(long, env = "VCLUSTER_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: PathBuf,

    /// PEM file with the authorities whose client certificates are accepted; none are asked for
    /// without it.
    #[arg(long, env = "VCLUSTER_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Everything {
        #[command(flatten)]
        telemetry: TelemetryArgs,
        #[command(flatten)]
        admin: AdminArgs,
        #[command(flatten)]
        drain: DrainArgs,
        #[command(flatten)]
        kube: KubeArgs,
        #[command(flatten)]
        tls: TlsArgs,
    }

    #[test]
    fn every_flag_has_its_environment_twin_and_a_help_text() {
        let command = Everything::command();
        command.clone().debug_assert();
        for argument in command.get_arguments().filter(|a| a.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let twin = format!("VCLUSTER_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().unwrap().to_str(), Some(twin.as_str()));
            assert!(argument.get_help().is_some(), "--{flag} has no help");
        }
    }

    #[test]
    fn parsed_defaults_are_the_defaults_of_the_types() {
        let parsed = Everything::parse_from(["x", "--tls-cert-file=c", "--tls-key-file=k"]);
        assert_eq!(parsed.telemetry, TelemetryArgs::default());
        assert_eq!(parsed.admin, AdminArgs::default());
        assert_eq!(parsed.drain, DrainArgs::default());
        assert_eq!(parsed.kube, KubeArgs::default());
        assert_eq!(parsed.tls.tls_client_ca_file, None);
    }

    #[test]
    fn a_context_needs_a_kubeconfig() {
        let result = Everything::try_parse_from([
            "x",
            "--tls-cert-file=c",
            "--tls-key-file=k",
            "--kube-context=dev",
        ]);
        assert!(result.is_err());
    }
}
