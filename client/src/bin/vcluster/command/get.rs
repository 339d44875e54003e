//! `vcluster get`: one virtual cluster, and what it waits for.

use clap::Args;

use crate::{
    cli::Target,
    failure::Result,
    locate::{self, Guess},
    session::Session,
    ui::format::{self, Format},
};

/// Options of `get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster get demo
  vcluster get demo -n team-a -o yaml")]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
}

/// Carries it out.
pub(crate) async fn run(args: &Get, session: &Session) -> Result {
    let connected = session.connect().await?;
    let cluster = locate::locate(
        &connected.client,
        &args.target,
        Guess::Allowed,
        locate::FLAG,
    )
    .await?;
    let gateway = &connected.gateway.address;
    let text = match session.global.output {
        None | Some(Format::Table) => format::describe(cluster, gateway, session.now()),
        Some(format @ (Format::Wide | Format::Json | Format::Yaml | Format::Name)) => {
            format::one(cluster, format, gateway, session.now())?
        }
    };
    session.terminal.data(&text)?;
    Ok(())
}
