//! The tree of commands, and the options that all of them share.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{command, environment::Environment, exit, ui::format::Format};

/// Virtual Kubernetes clusters: create them, and connect to them.
///
/// Every command acts as you: with the identity of a context of your kubeconfig, towards the
/// gateway of that context's cluster.
#[derive(Debug, Parser)]
#[command(
    name = "vcluster",
    version,
    after_help = EXAMPLES,
    after_long_help = after_long_help(),
    max_term_width = 100,
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) environment: Environment,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  vcluster create demo                        a virtual cluster, in namespace vcluster-demo
  vcluster connect demo                       point kubectl at it
  vcluster disconnect                         point kubectl back
  vcluster connect demo -- kubectl get pods   one command in it
  vcluster list                               all that you may see
  vcluster explain pod/web -n shop            why a pod in it is not on the host
  vcluster delete demo                        remove it and all that is in it";

const FILES: &str = "\
Files and environment:
  $KUBECONFIG, ~/.kube/config          who you are; where connect adds its contexts
  $VCLUSTER_CONFIG, ~/.config/vcluster/config.yaml
                                       gateways: `gateway: {address: URL, caFile: FILE}`, or the
                                       same below `contexts: {NAME: ...}` for one host context
  ~/.cache/vcluster/credentials        credentials of minutes, private to you
  $NO_COLOR, $CLICOLOR_FORCE           no colour, or colour even without a terminal
  $TRACEPARENT                         trace that the calls join";

fn after_long_help() -> String {
    format!("{EXAMPLES}\n\n{FILES}\n\nExit codes:\n{}", exit::table())
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// kubeconfig to use instead of $KUBECONFIG and ~/.kube/config
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the host cluster [default: the current one]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Global options"
    )]
    pub(crate) context: Option<String>,
    /// Address of the gateway, https://HOST[:PORT] [default: what the host cluster's ConfigMap
    /// kube-public/vcluster-gateway says]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "VCLUSTER_GATEWAY",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) gateway: Option<String>,
    /// CA of the gateway's certificate, PEM [default with --gateway: the system's CAs]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "VCLUSTER_GATEWAY_CA_FILE",
        hide_env_values = true,
        requires = "gateway",
        help_heading = "Global options"
    )]
    pub(crate) gateway_ca_file: Option<PathBuf>,
    /// Longest time for one answer of the gateway, all tries together
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = duration,
        help_heading = "Global options"
    )]
    pub(crate) request_timeout: Duration,
    /// How to print data on standard output
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub(crate) output: Option<Format>,
    /// Tell more on standard error: the trace id, the gateway, each retry
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
    /// No progress and no hints on standard error, only errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a virtual cluster
    Create(command::create::Create),
    /// Point kubectl at a virtual cluster, or run a command in it
    Connect(command::connect::Connect),
    /// Point kubectl back to where it was before connect
    Disconnect(command::disconnect::Disconnect),
    /// List virtual clusters
    #[command(visible_alias = "ls")]
    List(command::list::List),
    /// Show one virtual cluster
    Get(command::get::Get),
    /// Tell why an object of a virtual cluster is as it is on the host
    Explain(command::explain::Explain),
    /// Have objects of a virtual cluster synced again
    Resync(command::resync::Resync),
    /// Show what virtual clusters cost the sync service
    Usage(command::usage::Usage),
    /// Delete a virtual cluster and all that is in it
    Delete(command::delete::Delete),
    /// Print a credential for kubectl (an exec credential plugin)
    #[command(hide = true)]
    Credential(command::credential::Credential),
    /// Print a completion script for a shell
    Completion(command::completion::Completion),
    /// Print the version
    Version(command::version::Version),
}

/// Which virtual cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Name of the virtual cluster
    pub(crate) name: String,
    /// Its host namespace [default: that of the only cluster of this name]
    #[arg(short = 'n', long = "namespace", value_name = "HOST-NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// A duration such as `90s` or `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; for example 90s, 5m or 1h30m")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in Cli::command().get_subcommands() {
            let example = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            assert!(
                example.contains(&format!("vcluster {name}")),
                "{name}: {example}"
            );
        }
    }

    #[test]
    fn help_is_what_was_reviewed() {
        let mut command = Cli::command().term_width(100);
        insta::assert_snapshot!(command.render_long_help());
    }
}
