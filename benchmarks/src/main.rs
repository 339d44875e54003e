//! The load generator of `cargo xtask bench sync`, and the virtual API servers that it simulates.
//!
//! It plays everyone but sync: control, which makes virtual clusters; the host's scheduler and kubelets; and users. What
//! is measured is the shipped `vcluster-sync` with its flags, the chart's roles and policies, and real API servers.
//! Everything it starts dies with it.

mod args;
mod board;
mod burst;
mod churn;
mod client;
mod fairness;
mod figures;
mod fleet;
mod host;
mod light;
mod machine;
mod metrics;
mod nodes;
mod pki;
mod plot;
mod pods;
mod process;
mod report;
mod run;
mod servers;
mod simulation;
mod stub;
mod sync;
mod tenant;

use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Fails only if it was installed before.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match args::Args::parse().command {
        args::Command::Sync(options) => run::run(*options).await,
        args::Command::Stub(stub) => stub::run(stub).await,
    }
}
