//! `vcluster-connect`, the gateway.

use clap::Parser;
use vcluster_connect::app::{self, SERVICE, VERSION};
use vcluster_connect::args::Args;
use vcluster_connect::config::Config;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vcluster_chassis::crypto::install();
    let args = Args::parse();
    let telemetry = vcluster_chassis::telemetry::init(&args.telemetry, SERVICE, VERSION)?;
    let result = app::run(Config::try_from(args)?).await;
    telemetry.shutdown();
    result
}
