//! `vcluster usage`: what sync spends on each virtual cluster.

use clap::Args;
use tonic::Code;

use crate::{
    cli::Target,
    failure::{Failure, Result},
    locate::{self, Guess},
    session::Session,
    ui::{format::Format, spent},
};

/// Options of `usage`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster usage
  vcluster usage -n team-a
  vcluster usage demo -o json")]
pub(crate) struct Usage {
    /// Only this virtual cluster
    name: Option<String>,
    /// Only those of this host namespace
    #[arg(short = 'n', long = "namespace", value_name = "HOST-NAMESPACE")]
    namespace: Option<String>,
}

/// Carries it out.
pub(crate) async fn run(args: &Usage, session: &Session) -> Result {
    let connected = session.connect().await?;
    let client = &connected.client;
    let tenants = if let Some(name) = &args.name {
        let target = Target {
            name: name.clone(),
            namespace: args.namespace.clone(),
        };
        let found = locate::locate(client, &target, Guess::Allowed, locate::FLAG).await?;
        vec![client.tenant(&found.host_namespace, &found.name).await?]
    } else {
        let namespace = args.namespace.as_deref();
        client.tenants(namespace).await.map_err(|error| {
            let denied = error.code() == Code::PermissionDenied && namespace.is_none();
            let failure = Failure::from(error);
            if denied {
                failure
                    .context("you may not list virtual clusters of all host namespaces")
                    .hint("name one, or a host namespace with -n HOST-NAMESPACE")
            } else {
                failure
            }
        })?
    };
    let items: Vec<_> = tenants.into_iter().map(spent::Spent::from).collect();
    let text = spent::text(items, session.global.output.unwrap_or(Format::Table))?;
    session.terminal.data(&text)?;
    Ok(())
}
