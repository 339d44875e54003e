//! `demo`: brings everything up and does what a new user does first, told step by step.
//!
//! Every statement is checked when it is made; one that does not hold ends the demo with an error
//! that shows what was seen instead. Without `--keep` the cluster is taken down at the end, also
//! after a failure.

mod table;
mod terminal;
mod walk;

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    cluster::{self, Name},
    install,
    output::{self, Progress},
};

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Leave the cluster and the virtual cluster up, to play with
    #[arg(long)]
    keep: bool,
    /// Name of the dev cluster
    #[arg(long, default_value = "demo")]
    name: Name,
}

/// Runs it.
///
/// # Errors
/// The first statement that does not hold, or what hindered the way there.
pub fn demo(demo: &Demo) -> Result<()> {
    let progress = Progress::start();
    let told = tell(demo, &progress);
    if told.is_err() {
        output::note("\nThe demo ends here. What the services say:");
        if let Ok(cluster) = cluster::Cluster::open(&demo.name) {
            install::explain(&cluster);
        }
    }
    if demo.keep {
        return told;
    }
    let down = cluster::down(&demo.name, &progress);
    told.and(down)
}

fn tell(demo: &Demo, progress: &Progress) -> Result<()> {
    let cluster = cluster::up(&demo.name, &BTreeSet::new(), progress)?;
    progress.step("the host cluster is up");
    install::install(&cluster, &install::Options::default(), progress)?;
    progress.step("the product is installed");
    let mut user = terminal::Terminal::begin(&cluster)?;
    walk::tell(&mut user)?;
    if demo.keep {
        output::note(format_args!(
            "\nEverything is still up. Look around with:\n  cargo xtask cluster shell --name {0}\n  vcluster connect {1} -n {2}\nand take it down with:\n  cargo xtask cluster down --name {0}",
            demo.name,
            walk::CLUSTER,
            walk::NAMESPACE,
        ));
        return Ok(());
    }
    walk::remove(&mut user)?;
    progress.step("every statement held");
    Ok(())
}
