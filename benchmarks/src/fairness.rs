//! W5: regular tenants, who make one pod after the other, beside greedy ones.
//!
//! Downwards the greedy ones have twenty seconds' worth of pods to be brought to the host. *Down*: they were made while
//! sync was stopped (`SIGSTOP`), so that what is measured is what it does with them; direct, while the played nodes were
//! idle. *Rush*: they are being made at the same time, so that the greedy tenants' own API servers and the machine that
//! all share have their part in it. Upwards, the greedy ones' pods run already and change their status ten times each.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::board::Stage;
use crate::figures;
use crate::fleet::{Fleet, PATIENCE, To};
use crate::pods::{self, Token};
use crate::report::{Report, say};
use crate::sync::Sync;
use crate::tenant::{LOAD, Tenant};

/// Greedy tenants; the others are regular, up to [`REGULAR`].
const GREEDY: usize = 2;
const REGULAR: usize = 8;
/// Pods of each regular tenant.
const PODS: usize = 10;
/// Status changes of each greedy pod, upwards.
const CHANGES: usize = 10;
/// The most pods that a namespace of the host should hold.
const MOST: usize = 1500;
/// How long a greedy load runs before the regular tenants begin.
const HEAD_START: Duration = Duration::from_millis(500);

/// What the greedy ones do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greed {
    None,
    Down,
    Rush,
    Up,
}

impl Greed {
    const ALL: [Self; 4] = [Self::None, Self::Down, Self::Rush, Self::Up];
}

/// Who brings pods to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Direct,
    Ours,
    Naive,
}

/// Milliseconds of each pod, by regular tenant.
type Regular = Vec<Vec<f64>>;

/// Measures; `rate` is what sync reached in a burst, in pods per second.
pub(crate) async fn measure(
    fleet: &Fleet,
    report: &mut Report,
    rate: f64,
    repeats: usize,
    seconds: f64,
) -> Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    let backlog = ((rate * seconds / figures::number(GREEDY)) as usize).clamp(20, MOST);
    let mut rows = Vec::new();
    let mut slowdowns: Vec<(Mode, Greed, f64, Vec<f64>)> = Vec::new();
    for mode in [Mode::Direct, Mode::Ours, Mode::Naive] {
        let mut latencies: [Vec<Regular>; 4] = Default::default();
        for _ in 0..repeats {
            for (greed, all) in Greed::ALL.into_iter().zip(&mut latencies) {
                // What is written on the host has no way up.
                if mode == Mode::Direct && greed == Greed::Up {
                    continue;
                }
                let (took, raw) = scene(fleet, mode, greed, backlog)
                    .await
                    .with_context(|| format!("{mode:?} with greed {greed:?}"))?;
                say(&format!(
                    "w5 {mode:?}, greed {greed:?}: regular p99 {:.0} ms",
                    figures::quantile(&took.concat(), 0.99)
                ));
                report.raw("w5", raw);
                all.push(took);
            }
        }
        let [solo, ..] = &latencies;
        let at = |runs: &[Regular], share| {
            let all: Vec<f64> = runs.iter().flat_map(|run| run.concat()).collect();
            figures::quantile(&all, share)
        };
        for (greed, runs) in Greed::ALL.into_iter().zip(&latencies) {
            if runs.is_empty() {
                continue;
            }
            let slowdown = at(runs, 0.99) / at(solo, 0.99);
            let each = runs.iter().zip(solo);
            let each = each.map(|(with, alone)| {
                let p99 = |run: &Regular| figures::quantile(&run.concat(), 0.99);
                p99(with) / p99(alone)
            });
            // Of tenants, not of pods: whether one of them is worse off than another.
            let tenants = runs.iter().flatten().map(|took| figures::mean(took));
            let tenants: Vec<f64> = tenants.collect();
            rows.push(vec![
                format!("{mode:?}").to_lowercase(),
                format!("{greed:?}").to_lowercase(),
                format!("{:.0}", at(runs, 0.5)),
                format!("{:.0}", at(runs, 0.99)),
                format!("{:.2}", at(runs, 0.5) / at(solo, 0.5)),
                format!("{slowdown:.2}"),
                format!("{:.2}", figures::jain(&tenants)),
            ]);
            slowdowns.push((mode, greed, slowdown, each.collect()));
        }
    }
    for (mode, greed, slowdown, each) in &slowdowns {
        let what = format!("regular p99 ÷ solo, greed {greed:?}, {mode:?}").to_lowercase();
        match (mode, greed) {
            (Mode::Ours, Greed::Down | Greed::Up) => {
                report.bar(&what, "w5", *slowdown, "<= 1.5", each);
            }
            // Not sync's alone: see direct.
            (Mode::Ours, Greed::Rush)
            | (Mode::Direct | Mode::Naive, Greed::Down | Greed::Rush | Greed::Up) => {
                report.figure(&what, "w5", *slowdown, each);
            }
            (_, Greed::None) => {}
        }
    }
    let title = format!(
        "W5: {GREEDY} greedy R tenants × {backlog} pods, regular ones × {PODS} pods one after the other"
    );
    let head = [
        "mode",
        "greed",
        "regular p50 (ms)",
        "p99 (ms)",
        "p50 ÷ solo",
        "p99 ÷ solo",
        "Jain's index of tenants",
    ];
    report.table(&title, &head, &rows);
    Ok(())
}

async fn scene(
    fleet: &Fleet,
    mode: Mode,
    greed: Greed,
    backlog: usize,
) -> Result<(Regular, Value)> {
    let syncs = match mode {
        Mode::Direct => Vec::new(),
        Mode::Ours => vec![fleet.sync(&[]).await?],
        Mode::Naive => fleet.naive().await?,
    };
    let to = if mode == Mode::Direct {
        To::Host
    } else {
        To::Inside
    };
    fleet.nodes.show(to == To::Host);
    fleet.burst(&fleet.everyone(), "warm", 1, to).await?;
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    fleet.board.clear();
    let result = act(fleet, greed, backlog, to, &syncs).await;
    let cleared = fleet.clear().await;
    for sync in syncs {
        sync.process.stop().await;
    }
    fleet.nodes.show(false);
    // What went wrong first says why: after it, pods may stay.
    let (took, mut raw) = result?;
    cleared?;
    raw["mode"] = format!("{mode:?}").to_lowercase().into();
    Ok((took, raw))
}

async fn act(
    fleet: &Fleet,
    greed: Greed,
    backlog: usize,
    to: To,
    syncs: &[Sync],
) -> Result<(Regular, Value)> {
    let greedy: Vec<usize> = (0..GREEDY.min(fleet.tenants.len() - 1)).collect();
    if greed == Greed::Up {
        // A quarter as many, each with ten changes: the same order of work.
        fleet
            .burst(&greedy, "greedy", (backlog / 4).max(20), to)
            .await?;
        fleet.board.all(Stage::Ready, PATIENCE).await?;
    }
    if greed == Greed::Down {
        hold(fleet, syncs);
        let made = fleet.burst(&greedy, "greedy", backlog, to).await;
        if made.is_err() {
            go_on(fleet, syncs).await?;
        }
        made?;
    }
    let before = fleet.cpu(syncs);
    let begun = Instant::now();
    let load = async {
        match greed {
            Greed::None => Ok(()),
            Greed::Down => go_on(fleet, syncs).await,
            Greed::Rush => fleet.burst(&greedy, "greedy", backlog, to).await,
            Greed::Up => stir(fleet, &greedy).await,
        }
    };
    let regular = async {
        if greed != Greed::None {
            tokio::time::sleep(HEAD_START).await;
        }
        one_by_one(fleet, &greedy, to).await?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let ((), regular_done) = tokio::try_join!(load, regular)?;
    let load_done = begun.elapsed().as_secs_f64();
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    let names: Vec<String> = greedy.iter().map(|number| format!("t-{number}")).collect();
    let is_regular = |namespace: &str| !names.iter().any(|name| name == namespace);
    let regulars = fleet
        .tenants
        .iter()
        .filter(|tenant| is_regular(&tenant.namespace));
    let of = |tenant: &Tenant| {
        let is_its = |namespace: &str| namespace == tenant.namespace;
        fleet.board.between(Stage::Sent, Stage::Ready, is_its)
    };
    let took: Regular = regulars.map(of).filter(|took| !took.is_empty()).collect();
    let part = |from, to| figures::series(&fleet.board.between(from, to, is_regular));
    let parts = json!({
        "create": part(Stage::Sent, Stage::Accepted), "down": part(Stage::Accepted, Stage::OnHost),
        "host": part(Stage::OnHost, Stage::Running), "up": part(Stage::Running, Stage::Ready),
    });
    let greedys = fleet.board.between(Stage::Sent, Stage::Ready, |namespace| {
        !is_regular(namespace)
    });
    let raw = json!({
        "greed": format!("{greed:?}").to_lowercase(), "backlogPerTenant": backlog, "regularMs": took, "regularStagesMs": parts,
        "greedyMs": figures::series(&greedys), "regularDone": regular_done, "requestsDone": load_done,
        "allDone": begun.elapsed().as_secs_f64(), "cpuSeconds": fleet.cpu(syncs).since(&before).per(1000),
    });
    Ok((took, raw))
}

/// Has everything that brings pods to the host or runs them there stand still.
fn hold(fleet: &Fleet, syncs: &[Sync]) {
    for sync in syncs {
        sync.process.pause();
    }
    fleet.nodes.idle(syncs.is_empty());
}

/// Has it go on, with what has come meanwhile.
async fn go_on(fleet: &Fleet, syncs: &[Sync]) -> Result<()> {
    for sync in syncs {
        sync.process.resume();
    }
    if syncs.is_empty() {
        fleet.nodes.resume().await?;
    }
    Ok(())
}

/// Each regular tenant makes a pod, waits until it is ready, and makes the next.
async fn one_by_one(fleet: &Fleet, greedy: &[usize], to: To) -> Result<()> {
    let regular = fleet
        .tenants
        .iter()
        .enumerate()
        .filter(|(number, _)| !greedy.contains(number))
        .take(REGULAR);
    let mut users = Vec::new();
    for (_, tenant) in regular {
        let (tenant, board, host) = (
            tenant.clone(),
            Arc::clone(&fleet.board),
            fleet.host.client.clone(),
        );
        users.push(tokio::spawn(async move {
            for pod in 0..PODS {
                let name = format!("regular-{pod}");
                let body = pods::manifest(&name, Token::None);
                board.enter(&tenant.namespace, &name);
                match to {
                    To::Inside => {
                        tenant
                            .client
                            .create(&format!("/api/v1/namespaces/{LOAD}/pods"), body)
                            .await?
                    }
                    To::Host => {
                        host.create(
                            &format!("/api/v1/namespaces/{}/pods", tenant.namespace),
                            body,
                        )
                        .await?
                    }
                };
                board.reach(&tenant.namespace, &name, Stage::Accepted);
                board.ready(&tenant.namespace, &name, PATIENCE).await?;
            }
            anyhow::Ok(())
        }));
    }
    for user in users {
        user.await??;
    }
    Ok(())
}

/// The kubelets of the greedy tenants' pods say something new of each, again and again.
async fn stir(fleet: &Fleet, greedy: &[usize]) -> Result<()> {
    let mut kubelets = Vec::new();
    for number in greedy {
        let tenant = fleet.tenants.get(*number).context("no such tenant")?;
        let base = format!("/api/v1/namespaces/{}/pods", tenant.namespace);
        let list = fleet.host.client.get(&base).await?;
        let names = list["items"].as_array().into_iter().flatten();
        let names: Vec<String> = names
            .filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned()))
            .collect();
        let client = fleet.host.client.clone();
        kubelets.push(tokio::spawn(async move {
            for change in 1..=CHANGES {
                for name in &names {
                    let status = json!({"status": {"containerStatuses": [{"name": "web", "restartCount": change}]}});
                    let path = format!("{base}/{name}/status");
                    client.patch_strategic(&path, status.to_string()).await?;
                }
            }
            anyhow::Ok(())
        }));
    }
    for kubelet in kubelets {
        kubelet.await??;
    }
    Ok(())
}
