//! `vcluster list`: the virtual clusters that the user may see.

use clap::Args;
use tonic::Code;

use crate::{
    failure::{Failure, Result},
    session::Session,
    ui::format,
};

/// Options of `list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster list
  vcluster list -n team-a -o wide
  vcluster list -o json")]
pub(crate) struct List {
    /// Only those of this host namespace
    #[arg(short = 'n', long = "namespace", value_name = "HOST-NAMESPACE")]
    namespace: Option<String>,
    /// Those of all host namespaces (the default)
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
}

/// Carries it out.
pub(crate) async fn run(args: &List, session: &Session) -> Result {
    let connected = session.connect().await?;
    let namespace = args.namespace.as_deref();
    let clusters = connected.client.list(namespace).await.map_err(|error| {
        let denied = error.code() == Code::PermissionDenied && namespace.is_none();
        let failure = Failure::from(error);
        if denied {
            failure
                .context("you may not list virtual clusters of all host namespaces")
                .hint("list those of one host namespace with -n HOST-NAMESPACE")
        } else {
            failure
        }
    })?;
    if clusters.is_empty() {
        session
            .terminal
            .hint("there are none yet; `vcluster create NAME` makes one");
    }
    let format = session.global.output.unwrap_or_default();
    session
        .terminal
        .data(&format::list(clusters, format, session.now())?)?;
    Ok(())
}
