//! The command line.

use std::{collections::BTreeSet, ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    addon::AddOn,
    bench,
    cluster::{self, Cluster, Name, Status, enter, relay},
    demo, images, install,
    output::{self, Progress},
    test,
};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A real Kubernetes on this machine
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Bring everything up and do what a new user does first, checked at each step
    Demo(demo::Demo),
    /// Every test, from the pure ones to those on a real cluster
    Test(test::Test),
    /// Measure something on a running cluster
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build our service images and bring them into a cluster; prints the tags
    Images(Which),
    /// Build and install the product on a cluster
    Install {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        options: install::Options,
    },
    #[command(name = "__enter", hide = true)]
    Enter(enter::Enter),
    #[command(name = "__relay", hide = true)]
    Relay(relay::Relay),
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Bring it up; does nothing if it is up, and repairs it if it is half up
    Up {
        #[command(flatten)]
        which: Which,
        /// What it is to have besides, with commas between; what it has it keeps
        #[arg(long, value_delimiter = ',', value_name = "ADD-ON")]
        with: Vec<AddOn>,
    },
    /// Say what runs
    Status {
        #[command(flatten)]
        which: Which,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Run a command, or a shell, with KUBECONFIG and PATH set for it
    Shell {
        #[command(flatten)]
        which: Which,
        /// The command
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Print a component's log, or the end of every one
    Logs {
        #[command(flatten)]
        which: Which,
        /// One of those that `status` lists
        component: Option<String>,
        /// Go on printing what is added
        #[arg(short, long)]
        follow: bool,
    },
    /// Take it down and remove everything but the cache
    Down(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The cluster's name
    #[arg(long, default_value = "dev")]
    name: Name,
}

/// Parses the command line, runs the command, and says on stderr why it failed.
pub fn run() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Cluster(command) => on_cluster(command),
        Command::Demo(args) => demo::demo(&args),
        Command::Test(args) => test::test(&args),
        Command::Bench(what) => bench::bench(&what),
        Command::Images(which) => {
            let tags = images::services(&Cluster::open(&which.name)?, &Progress::start())?;
            for (service, tag) in tags.each() {
                output::data(format_args!("{}/{service}:{tag}", images::REGISTRY));
            }
            Ok(())
        }
        Command::Install { which, options } => {
            let cluster = Cluster::open(&which.name)?;
            install::install(&cluster, &options, &Progress::start()).map(drop)
        }
        Command::Enter(args) => enter::enter(&args),
        Command::Relay(args) => relay::relay(&args),
    }
}

fn on_cluster(command: ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Up { which, with } => {
            let progress = Progress::start();
            let with: BTreeSet<_> = with.into_iter().collect();
            let cluster = cluster::up(&which.name, &with, &progress)?;
            progress.step(format_args!("the cluster {} is up", cluster.name));
            output::note("use it with:");
            output::data(format_args!(
                "export KUBECONFIG={}",
                cluster.kubeconfig.display()
            ));
            Ok(())
        }
        ClusterCommand::Status { which, json } => {
            let status = cluster::status(&which.name)?;
            if json {
                output::data(serde_json::to_string_pretty(&status)?);
            } else {
                show(&status);
            }
            Ok(())
        }
        ClusterCommand::Shell { which, command } => {
            cluster::shell(&Cluster::open(&which.name)?, &command)
        }
        ClusterCommand::Logs {
            which,
            component,
            follow,
        } => cluster::logs(&which.name, component.as_deref(), follow),
        ClusterCommand::Down(which) => cluster::down(&which.name, &Progress::start()),
    }
}

fn show(status: &Status) {
    output::data(format_args!("cluster {}: {}", status.name, status.state));
    let Some(kubeconfig) = &status.kubeconfig else {
        return;
    };
    output::data(format_args!("  kubeconfig  {kubeconfig}"));
    for (what, port) in [("api", status.api_port), ("gateway", status.gateway_port)] {
        if let Some(port) = port {
            output::data(format_args!("  {what:<10}  https://127.0.0.1:{port}"));
        }
    }
    let with: Vec<_> = status.with.iter().map(|addon| addon.name()).collect();
    if !with.is_empty() {
        output::data(format_args!("  with        {}", with.join(", ")));
    }
    for component in &status.components {
        let state = component
            .pid
            .map_or_else(|| "dead".to_owned(), |pid| format!("pid {pid}"));
        output::data(format_args!(
            "  {:<24} {:<10} {state}",
            component.name, component.version
        ));
    }
}
