//! `vcluster-sync`: translation between virtual clusters and their host namespaces.

use clap::Parser;
use vcluster_chassis::{crypto, telemetry};
use vcluster_sync::app::{self, SERVICE, VERSION};
use vcluster_sync::args::Args;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    crypto::install();
    let args = Args::parse();
    let guard = telemetry::init(&args.telemetry, SERVICE, VERSION)?;
    let result = app::run(args).await;
    guard.shutdown();
    result
}
