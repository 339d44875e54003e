//! One run: the workloads that were asked for, one after the other, and the report.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::args::{Options, Workload};
use crate::fleet::Fleet;
use crate::machine;
use crate::report::{Report, say};
use crate::servers::Ground;
use crate::simulation::Simulation;
use crate::{burst, churn, fairness, light, simulation};

/// Signals that end a run.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Measures until that is done, or a signal comes.
    async fn unless(&mut self, measure: impl Future<Output = Result<()>>) -> Result<()> {
        tokio::select! {
            measured = measure => measured,
            _ = self.interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = self.terminate.recv() => Err(anyhow::anyhow!("terminated")),
        }
    }
}

/// Measures until everything is, or something fails, or a signal comes: nothing is left behind but what was measured.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut signals = Signals::listen()?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let measured = everything(&options, folder.path().to_owned(), &mut signals).await;
    if let Some(keep) = &options.keep {
        fs::create_dir_all(keep)?;
        for file in fs::read_dir(folder.path())?.flatten() {
            if file
                .path()
                .extension()
                .is_some_and(|extension| extension == "log")
            {
                fs::copy(file.path(), keep.join(file.file_name()))?;
            }
        }
    }
    measured
}

async fn everything(options: &Options, folder: PathBuf, signals: &mut Signals) -> Result<()> {
    let begun = Instant::now();
    let workloads = options.workloads();
    let (simulated, real): (Vec<Workload>, Vec<Workload>) = workloads
        .iter()
        .partition(|workload| workload.is_simulated());
    let ground = json!({
        "machine": machine::describe(&options.programs.kubernetes, &options.programs.etcd),
        "profile": options.profile, "quick": options.quick, "fsync": !options.no_fsync, "hostNodes": options.nodes,
        "syncFlags": "defaults, --unopposed",
    });
    // What is measured with one class of API servers never stands beside what is measured with the other.
    if !real.is_empty() {
        let (folder, mut report, mut ground) =
            (folder.join("real"), Report::default(), ground.clone());
        fs::create_dir(&folder)?;
        let measure = Box::pin(with_real(options, folder, &real, &mut report, &mut ground));
        let measured = signals.unless(measure).await;
        report.conclude(measured, &options.out, "sync-real", ground)?;
    }
    if !simulated.is_empty() {
        let (folder, mut report) = (folder.join("simulated"), Report::default());
        fs::create_dir(&folder)?;
        let measure = Box::pin(with_simulated(options, folder, &simulated, &mut report));
        let measured = signals.unless(measure).await;
        report.conclude(measured, &options.out, "sync-simulated", ground)?;
    }
    say(&format!("{:.0} s in all", begun.elapsed().as_secs_f64()));
    Ok(())
}

async fn with_real(
    options: &Options,
    folder: PathBuf,
    workloads: &[Workload],
    report: &mut Report,
    ground: &mut serde_json::Value,
) -> Result<()> {
    let count = options.tenants.unwrap_or_else(|| options.sized(16, 4));
    let programs = Ground::new(options.programs.clone(), folder, !options.no_fsync)?;
    say(&format!("starts a host and {count} virtual API servers"));
    let fleet = Fleet::start(programs, options.nodes, count).await?;
    ground["idleWithoutSync"] = fleet
        .idle(&[], Duration::from_secs(options.sized(10, 3)))
        .await;
    let repeats = options.repeats.unwrap_or_else(|| options.sized(5, 2));
    let mut rate = options.sized(60.0, 30.0);
    for workload in workloads {
        say(&format!("{} begins", workload.name()));
        match workload {
            Workload::W1 => {
                let rates = options.sized(&[1, 5, 10, 20][..], &[10, 20][..]);
                let each = Duration::from_secs(options.sized(20, 5));
                light::measure(&fleet, report, rates, each).await?;
            }
            Workload::W2 => {
                let sizes = options.sized(&[12, 50][..], &[12][..]);
                rate = burst::measure(&fleet, report, sizes, repeats).await?;
            }
            Workload::W5 => {
                let seconds = options.sized(20.0, 3.0);
                fairness::measure(&fleet, report, rate, repeats.min(3), seconds).await?;
            }
            Workload::W10 => {
                let each = Duration::from_secs(options.sized(10, 4));
                churn::measure(&fleet, report, each).await?;
            }
            // Those have API servers of another kind.
            Workload::W6 | Workload::W7 | Workload::W9 => {}
        }
    }
    ground["failedRequestsOfNodes"] = json!(fleet.nodes.failures());
    Ok(())
}

async fn with_simulated(
    options: &Options,
    folder: PathBuf,
    workloads: &[Workload],
    report: &mut Report,
) -> Result<()> {
    let (tenants, pods) = options.sized((100, 100), (20, 20));
    let alive = tenants / 2;
    let programs = Ground::new(options.programs.clone(), folder, !options.no_fsync)?;
    say(&format!(
        "starts a host and {tenants} simulated virtual API servers"
    ));
    let mut simulation = Simulation::start(programs, options.nodes, tenants).await?;
    for workload in workloads {
        say(&format!("{} begins", workload.name()));
        match workload {
            Workload::W6 => {
                simulation::restart::measure(&mut simulation, report, tenants, pods).await?;
            }
            Workload::W7 => {
                if simulation.fleet.tenants.is_empty() {
                    simulation.admit(0..tenants).await?;
                }
                simulation::scan::measure(&simulation, report).await?;
            }
            Workload::W9 => {
                simulation.clear().await?;
                simulation::leaks::measure(&mut simulation, report, alive, options.sized(6, 3))
                    .await?;
            }
            // Those have API servers of another kind.
            Workload::W1 | Workload::W2 | Workload::W5 | Workload::W10 => {}
        }
    }
    Ok(())
}
