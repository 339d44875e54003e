//! The `vcluster` command: creates virtual clusters and connects to them.

mod cli;
mod command;
mod config_file;
mod environment;
mod exit;
mod failure;
mod inside;
mod locate;
mod readiness;
mod session;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let session = session::Session::new(cli.global, cli.environment);
    // Of all commands at once, and so too large for the stack to pass around.
    let result = Box::pin(command::run(cli.command, &session)).await;
    let result = result.map_err(|failure| {
        let host = session.host().ok().map(|host| host.context.name);
        failure.in_context(host.as_deref())
    });
    failure::report(result, &session.terminal)
}
