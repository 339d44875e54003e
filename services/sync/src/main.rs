//! `vcluster-sync`: translation between virtual clusters and their host namespaces.

use clap::Parser;
use vcluster_chassis::{crypto, telemetry};
use vcluster_sync::app::{self, SERVICE, VERSION};
use vcluster_sync::args::{Args, Command};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    crypto::install();
    let args = Args::parse();
    if let Some(Command::Hosts(hosts)) = &args.command {
        return vcluster_sync::hosts::write(hosts);
    }
    let guard = telemetry::init(&args.telemetry, SERVICE, VERSION)?;
    let result = app::run(args).await;
    guard.shutdown();
    result
}
