//! `vcluster disconnect`: back to the context that was current before `connect`.

use clap::Args;
use vcluster_client::kubeconfig::{connection, file};

use crate::{
    failure::{Failure, Result},
    session::Session,
};

/// Options of `disconnect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster disconnect
  vcluster disconnect --remove")]
pub(crate) struct Disconnect {
    /// Also remove the context, its cluster and its user from the kubeconfig
    #[arg(long)]
    remove: bool,
}

/// Carries it out.
pub(crate) async fn run(args: &Disconnect, session: &Session) -> Result {
    let files = session.kubeconfig_files()?;
    let done = file::edit(&files, |sources| {
        match connection::disconnect(sources, args.remove) {
            Ok(done) => Ok(Ok(done)),
            // Nothing is to be done.
            Err(connection::Error::NotConnected(current)) => Ok(Err(current)),
            Err(error @ (connection::Error::Taken { .. } | connection::Error::NoWayBack(_))) => {
                Err(Failure::from(error))
            }
        }
    })
    .await?;
    let terminal = &session.terminal;
    let done = match done {
        Ok(done) => done,
        Err(current) => {
            terminal.success(&match current {
                Some(name) => format!(
                    "not connected: the current context {name:?} leads to no virtual cluster"
                ),
                None => "not connected: no context is current".to_owned(),
            });
            return Ok(());
        }
    };
    if args.remove {
        terminal.note(&format!("context {:?} is removed", done.from));
    }
    match done.to {
        Some(to) => terminal.success(&format!("the current context is {to:?} again")),
        None => terminal.success("no context is current, as before"),
    }
    Ok(())
}
