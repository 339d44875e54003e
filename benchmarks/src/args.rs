//! The command line. `cargo xtask bench sync` fills in where the programs are.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Measures sync.
#[derive(Debug, Clone, Parser)]
#[command(name = "vcluster-benchmarks", version)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Measure sync and write a report.
    Sync(Box<Options>),
    /// Be the API servers of many virtual clusters, simulated, in one process. Started by `sync`.
    #[command(hide = true)]
    Stub(Stub),
}

/// A workload, as the documentation defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Workload {
    /// Added latency under light load.
    W1,
    /// A burst of pods over all tenants: direct, double-write floor, ours.
    W2,
    /// Regular tenants beside greedy ones, both directions.
    W5,
    /// Restart.
    W6,
    /// What changed silently is found and mended.
    W7,
    /// Tenants that come and go leave nothing.
    W9,
    /// Changes, and touches that change nothing.
    W10,
}

impl Workload {
    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::W5 => "w5",
            Self::W6 => "w6",
            Self::W7 => "w7",
            Self::W9 => "w9",
            Self::W10 => "w10",
        }
    }

    /// Whether it runs against simulated virtual API servers.
    pub(crate) const fn is_simulated(self) -> bool {
        match self {
            Self::W6 | Self::W7 | Self::W9 => true,
            Self::W1 | Self::W2 | Self::W5 | Self::W10 => false,
        }
    }
}

/// Where the programs are.
#[derive(Debug, Clone, Group)]
pub(crate) struct Programs {
    /// Folder with kube-apiserver and kubectl.
    #[arg(long)]
    pub(crate) kubernetes: PathBuf,
    /// etcd.
    #[arg(long)]
    pub(crate) etcd: PathBuf,
    /// helm, which renders the chart's roles and policies.
    #[arg(long)]
    pub(crate) helm: PathBuf,
    /// The chart.
    #[arg(long)]
    pub(crate) chart: PathBuf,
    /// vcluster-sync, as it is shipped.
    #[arg(long)]
    pub(crate) sync: PathBuf,
}

/// What to measure, and how much.
#[derive(Debug, Clone, Group)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// Workloads; all if none is given.
    #[arg(long = "workload", value_enum)]
    pub(crate) workloads: Vec<Workload>,
    /// Small sizes, few repeats: minutes, and no figures to quote.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Real virtual API servers.
    #[arg(long)]
    pub(crate) tenants: Option<usize>,
    /// Repeats of what is compared, in turns.
    #[arg(long)]
    pub(crate) repeats: Option<usize>,
    /// Nodes of the host, which no kubelet runs.
    #[arg(long, default_value_t = 10)]
    pub(crate) nodes: usize,
    /// Let etcd not wait for the disk.
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// How the programs were compiled, for the report.
    #[arg(long, default_value = "unknown")]
    pub(crate) profile: String,
    /// Where the report goes.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Keep logs and data of the run there.
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

/// Simulated virtual API servers.
#[derive(Debug, Clone, Group)]
pub(crate) struct Stub {
    /// PEM file with the serving certificate.
    #[arg(long)]
    pub(crate) cert: PathBuf,
    /// PEM file with its key.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// How many.
    #[arg(long)]
    pub(crate) tenants: usize,
    /// Where to write their ports, one a line, once they are served.
    #[arg(long)]
    pub(crate) ports: PathBuf,
}

impl Options {
    /// The workloads that were asked for, in their order.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let mut all = if self.workloads.is_empty() {
            Workload::value_variants().to_vec()
        } else {
            self.workloads.clone()
        };
        all.sort_unstable();
        all.dedup();
        all
    }

    /// `full`, or `quick` if little was asked for.
    pub(crate) fn sized<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
