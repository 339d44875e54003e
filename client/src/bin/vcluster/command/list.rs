//! `vcluster list`: the virtual clusters that the user may see.

use clap::Args;
use tonic::Code;
use vcluster_client::proto::control::v1::VirtualCluster;

use crate::{
    failure::{Failure, Result},
    session::{Connected, Session},
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
    let clusters = match connected.client.list(namespace).await {
        Err(error) if error.code() == Code::PermissionDenied && namespace.is_none() => {
            of_likely(&connected, session, error).await?
        }
        answer => answer?,
    };
    if clusters.is_empty() {
        session
            .terminal
            .hint("there are none yet; `vcluster create NAME` makes one");
    }
    let format = session.global.output.unwrap_or_default();
    session.terminal.data(&format::list(
        clusters,
        format,
        &connected.gateway.address,
        session.now(),
    )?)?;
    Ok(())
}

/// Those of the host namespaces that the kubeconfig names, for who may not list all.
async fn of_likely(
    connected: &Connected,
    session: &Session,
    error: vcluster_client::Error,
) -> Result<Vec<VirtualCluster>> {
    let (mut listed, mut found) = (Vec::new(), Vec::new());
    for namespace in session.likely_namespaces(&connected.host)? {
        match connected.client.list(Some(&namespace)).await {
            Ok(clusters) => {
                found.extend(clusters);
                listed.push(namespace);
            }
            // Nor there.
            Err(error) if error.code() == Code::PermissionDenied => {}
            Err(error) => return Err(error.into()),
        }
    }
    let denied = "you may not list virtual clusters of all host namespaces";
    if listed.is_empty() {
        return Err(Failure::from(error)
            .context(denied)
            .hint("list those of one host namespace with -n HOST-NAMESPACE"));
    }
    let listed = listed.join(", ");
    session
        .terminal
        .note(&format!("{denied}; these are those of {listed}"));
    Ok(found)
}
