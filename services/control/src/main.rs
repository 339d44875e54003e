//! Lifecycle of virtual clusters.

use clap::Parser as _;
use vcluster_chassis::{crypto, telemetry};
use vcluster_control::app;
use vcluster_control::args::{Args, Command};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    crypto::install();
    let args = Args::parse();
    let telemetry = match &args.command {
        Some(Command::CheckUninstall(check)) => &check.telemetry,
        None => &args.serve.telemetry,
    };
    let guard = telemetry::init(telemetry, "vcluster-control", env!("CARGO_PKG_VERSION"))?;
    let result = match &args.command {
        Some(Command::CheckUninstall(check)) => app::check_uninstall(check).await,
        None => app::serve(&args.serve).await,
    };
    guard.shutdown();
    result
}
