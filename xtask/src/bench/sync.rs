//! Measures sync without a cluster: builds the service and the load generator as they are measured, and runs the one
//! with the other. What is measured, and how, is in `benchmarks/` and in docs/benchmarks.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cache::Cache, command, output::Progress, upstream::Binaries, workspace};

/// Cargo's profile of what is measured: release without link-time optimization, so that it is compiled in minutes.
const PROFILE: &str = "measure";

/// What to measure, and how much.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Workloads (w1, w2, w5, w6, w7, w9, w10); all if none is given
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// Small sizes, few repeats: minutes, and no figures to quote
    #[arg(long)]
    quick: bool,
    /// Real virtual API servers [default: 16, quick 4]
    #[arg(long, value_name = "N")]
    tenants: Option<usize>,
    /// Repeats of what is compared, in turns [default: 5, quick 2]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// Let etcd not wait for the disk
    #[arg(long)]
    no_fsync: bool,
    /// Folder for the report [default: docs/benchmarks]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Keep the logs of the run there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Builds and measures.
pub(super) fn measure(options: &Options, progress: &Progress) -> Result<()> {
    let binaries = Binaries::ensure(&Cache::open()?, progress)?;
    let packages = ["vcluster-sync", "vcluster-benchmarks"];
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--profile", PROFILE])
        .current_dir(workspace::root());
    for package in packages {
        cargo.args(["--package", package]);
    }
    progress.step(format_args!(
        "building {} (profile {PROFILE}) …",
        packages.join(" and ")
    ));
    command::inherit(&mut cargo)?;
    let [sync, generator] = {
        let built = workspace::target()?.join(PROFILE);
        packages.map(|package| built.join(package))
    };
    let kubernetes = binaries.path("kube-apiserver")?;
    let mut run = Command::new(generator);
    run.arg("sync").current_dir(workspace::root());
    run.arg("--kubernetes").arg(kubernetes.with_file_name(""));
    for (flag, path) in [
        ("--etcd", binaries.path("etcd")?),
        ("--helm", binaries.path("helm")?),
        ("--chart", workspace::root().join("deploy/chart")),
        ("--sync", sync),
        (
            "--out",
            options
                .out
                .clone()
                .unwrap_or_else(|| workspace::root().join("docs/benchmarks")),
        ),
    ] {
        run.arg(flag).arg(path);
    }
    run.args(["--profile", PROFILE]);
    run.args(flags(options));
    if let Some(keep) = &options.keep {
        run.arg("--keep").arg(keep);
    }
    command::inherit(&mut run)
}

/// What is passed on as it is.
fn flags(options: &Options) -> Vec<String> {
    let mut flags = Vec::new();
    for workload in &options.workloads {
        flags.extend(["--workload".to_owned(), workload.clone()]);
    }
    for (flag, number) in [
        ("--tenants", options.tenants),
        ("--repeats", options.repeats),
    ] {
        flags.extend(
            number
                .into_iter()
                .flat_map(|number| [flag.to_owned(), number.to_string()]),
        );
    }
    for (flag, is_set) in [("--quick", options.quick), ("--no-fsync", options.no_fsync)] {
        flags.extend(is_set.then(|| flag.to_owned()));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_passed_on() {
        let options = Options {
            workloads: vec!["w1".to_owned(), "w6".to_owned()],
            quick: true,
            tenants: Some(8),
            repeats: None,
            no_fsync: false,
            out: None,
            keep: None,
        };
        let flags = flags(&options).join(" ");
        assert_eq!(flags, "--workload w1 --workload w6 --tenants 8 --quick");
    }
}
