//! `bench`: measures, and writes every single measurement down.
//!
//! What is compared is measured in turns in one run, so that whatever else the machine does falls on both
//! sides alike. The numbers of another run, or another machine, are not comparable; ratios are.

mod pods;
mod report;
mod sync;

use anyhow::Result;

use crate::{
    cluster::{Cluster, Name},
    output::Progress,
};

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// From `kubectl apply` to Ready: a pod with a token, a volume and a Service, inside and on the host
    Pods {
        /// The cluster's name; the product must be installed there
        #[arg(long, default_value = "dev")]
        name: Name,
        /// Measurements on each side, in turns
        #[arg(long, default_value_t = 20)]
        rounds: u32,
    },
    /// Sync alone, with API servers as processes and no kubelets: floor, fairness, memory, restart
    Sync(sync::Options),
}

/// Measures; prints the table and where the single measurements are.
///
/// # Errors
/// A step fails or takes minutes.
pub fn bench(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Pods { name, rounds } => {
            let cluster = Cluster::open(name)?;
            pods::measure(&cluster, *rounds, &Progress::start())
        }
        Bench::Sync(options) => sync::measure(options, &Progress::start()),
    }
}
