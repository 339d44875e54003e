//! `vcluster version`.

use clap::Args;
use serde::Serialize;

use crate::{
    failure::Result,
    session::Session,
    ui::format::{self, Format},
};

/// Options of `version`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster version
  vcluster version -o json")]
pub(crate) struct Version {}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
}

/// Carries it out.
pub(crate) fn run(_args: &Version, session: &Session) -> Result {
    let versions = Versions {
        client: env!("CARGO_PKG_VERSION"),
    };
    let text = match session.global.output.unwrap_or_default() {
        Format::Json => format::json(&versions)?,
        Format::Yaml => format::yaml(&versions)?,
        Format::Table | Format::Wide | Format::Name => format!("vcluster {}", versions.client),
    };
    session.terminal.data(&text)?;
    Ok(())
}
