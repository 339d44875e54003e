//! `test`: every test, from the pure ones to those on the real cluster.
//!
//! Formatting and lints, then everything that needs no cluster, then the scenarios in
//! `integration-tests` on a cluster of the run's own, which is taken down afterwards whatever
//! happened. A run that was killed leaves a cluster behind; the next one removes it first.

use std::{collections::BTreeSet, env, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    addon::AddOn,
    cluster::{self, Cluster, NODE_IP, Name},
    command, install,
    output::Progress,
    workspace,
};

/// Names the kubeconfig for the scenarios; `integration-tests` knows it by the same word.
const KUBECONFIG: &str = "VCLUSTER_TEST_KUBECONFIG";
/// Names the cluster's network namespace, as a file, for those that serve something inside.
const NETNS: &str = "VCLUSTER_TEST_NETNS";
/// Names the address inside at which the services expect a collector of traces. Most of the time
/// there is none, which must disturb nothing.
const COLLECTOR: &str = "VCLUSTER_TEST_COLLECTOR";
/// Names the folder of the charts that came with add-ons.
const CHARTS: &str = "VCLUSTER_TEST_CHARTS";
/// OTLP's own.
const COLLECTOR_PORT: u16 = 4317;
/// Scenarios at a time: each has a control plane of its own, and a small machine has two cores.
const THREADS: &str = "--test-threads=2";

/// Seeds of the schedules that are run beside those of every `cargo test`: about everything, and about one thing each.
const SCHEDULES: &str = "100..500,10030..10150";

/// Flags of `test`.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// Leave the cluster up afterwards, and use the one that is up
    #[arg(long)]
    keep: bool,
    /// Name of the dev cluster
    #[arg(long, default_value = "test")]
    name: Name,
    /// Run only what needs no cluster
    #[arg(long)]
    no_cluster: bool,
    /// Run only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs them.
///
/// # Errors
/// The first group of tests that fails.
pub fn test(test: &Test) -> Result<()> {
    let progress = Progress::start();
    if test.only.is_none() {
        without_cluster(&progress)?;
    }
    if test.no_cluster {
        return Ok(());
    }
    if !test.keep {
        cluster::down(&test.name, &progress)?;
    }
    let tested = on_cluster(test, &progress);
    if test.keep {
        return tested;
    }
    let down = cluster::down(&test.name, &progress);
    tested.and(down)
}

fn without_cluster(progress: &Progress) -> Result<()> {
    progress.step("formatting");
    cargo(&["fmt", "--all", "--check"])?;
    progress.step("lints");
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    progress.step("tests that need no cluster");
    cargo(&["test", "--workspace", "--exclude", "integration-tests"])?;
    progress.step("schedules of the simulation");
    schedules()?;
    cargo(&[
        "test",
        "-p",
        "integration-tests",
        "--lib",
        "--test",
        "dependencies",
    ])
}

/// Runs more schedules of sync's simulation than every `cargo test` does.
fn schedules() -> Result<()> {
    command::inherit(
        Command::new("cargo")
            .args(["test", "--workspace", "--exclude", "integration-tests"])
            .args(["--lib", "--", "every_schedule"])
            .env("VCLUSTER_SEEDS", SCHEDULES)
            .current_dir(workspace::root()),
    )
}

fn on_cluster(test: &Test, progress: &Progress) -> Result<()> {
    let cluster = cluster::up(&test.name, &BTreeSet::from(AddOn::ALL), progress)?;
    let options = install::Options {
        values: vec![
            format!("telemetry.otlpEndpoint=http://{}", collector()),
            "networkPolicies.enabled=true".to_owned(),
        ],
    };
    install::install(&cluster, &options, progress)?;
    progress.step("scenarios on the cluster");
    if let Some(text) = &test.only {
        known(&cluster, text)?;
    }
    let mut cargo = scenarios(&cluster)?;
    cargo.args(["--no-fail-fast", "--", THREADS]);
    cargo.args(&test.only);
    let run = command::inherit(&mut cargo);
    if run.is_err() {
        install::explain(&cluster);
    }
    run?;
    progress.step("every test has passed");
    Ok(())
}

/// Refuses a text that no scenario's name contains: running none would look like passing all.
fn known(cluster: &Cluster, text: &str) -> Result<()> {
    let listed = command::stdout(scenarios(cluster)?.args(["--", "--list", "--format=terse"]))?;
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    ensure!(
        names.iter().any(|name| name.contains(text)),
        "no scenario's name contains {text:?}; there are:\n  {}",
        names.join("\n  ")
    );
    Ok(())
}

fn collector() -> String {
    format!("{NODE_IP}:{COLLECTOR_PORT}")
}

/// `cargo test` of every scenario, with the cluster's kubeconfig, and its kubectl and helm and the
/// built `vcluster` first on the PATH.
fn scenarios(cluster: &Cluster) -> Result<Command> {
    let mut folders = vec![
        cluster.layout.programs(),
        workspace::target()?.join("debug"),
    ];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "-p", "integration-tests", "--test", "*"])
        .current_dir(workspace::root())
        .env(KUBECONFIG, &cluster.kubeconfig)
        .env(NETNS, cluster.layout.netns())
        .env(COLLECTOR, collector())
        .env(CHARTS, cluster::chart::folder(cluster))
        .env(
            "PATH",
            env::join_paths(folders).context("a folder's name holds a colon")?,
        );
    Ok(cargo)
}

fn cargo(args: &[&str]) -> Result<()> {
    command::inherit(
        Command::new("cargo")
            .args(args)
            .current_dir(workspace::root()),
    )
}
