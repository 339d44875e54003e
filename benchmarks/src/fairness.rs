//! W5: regular tenants, who make one pod after the other, beside greedy ones. Downwards the greedy ones make twenty
//! seconds' worth of pods at once; upwards their pods, which run already, change their status ten times each.

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
use crate::tenant::LOAD;

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
    Up,
}

/// Who brings pods to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Direct,
    Ours,
    Naive,
}

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
        let mut latencies = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..repeats {
            for (greed, all) in [Greed::None, Greed::Down, Greed::Up]
                .into_iter()
                .zip(&mut latencies)
            {
                // What is written on the host has no way up.
                if mode == Mode::Direct && greed == Greed::Up {
                    continue;
                }
                let (took, raw) = scene(fleet, mode, greed, backlog)
                    .await
                    .with_context(|| format!("{mode:?} with greed {greed:?}"))?;
                say(&format!(
                    "w5 {mode:?}, greed {greed:?}: regular p99 {:.0} ms",
                    figures::quantile(&took, 0.99)
                ));
                report.raw("w5", raw);
                all.push(took);
            }
        }
        let [solo, down, up] = latencies;
        let all = |runs: &[Vec<f64>]| runs.concat();
        for (greed, runs) in [(Greed::None, &solo), (Greed::Down, &down), (Greed::Up, &up)] {
            if runs.is_empty() {
                continue;
            }
            let at = |runs: &[Vec<f64>], share| figures::quantile(&all(runs), share);
            let slowdown = at(runs, 0.99) / at(&solo, 0.99);
            let each = runs.iter().zip(&solo);
            let each = each.map(|(with, alone)| {
                figures::quantile(with, 0.99) / figures::quantile(alone, 0.99)
            });
            rows.push(vec![
                format!("{mode:?}").to_lowercase(),
                format!("{greed:?}").to_lowercase(),
                format!("{:.0}", at(runs, 0.5)),
                format!("{:.0}", at(runs, 0.99)),
                format!("{:.2}", at(runs, 0.5) / at(&solo, 0.5)),
                format!("{slowdown:.2}"),
                format!("{:.2}", figures::jain(&all(runs))),
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
            (Mode::Direct | Mode::Naive, Greed::Down | Greed::Up) => {
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
        "Jain's index",
    ];
    report.table(&title, &head, &rows);
    Ok(())
}

async fn scene(
    fleet: &Fleet,
    mode: Mode,
    greed: Greed,
    backlog: usize,
) -> Result<(Vec<f64>, Value)> {
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
    fleet.clear().await?;
    for sync in syncs {
        sync.process.stop().await;
    }
    fleet.nodes.show(false);
    let (took, mut raw) = result?;
    raw["mode"] = format!("{mode:?}").to_lowercase().into();
    Ok((took, raw))
}

async fn act(
    fleet: &Fleet,
    greed: Greed,
    backlog: usize,
    to: To,
    syncs: &[Sync],
) -> Result<(Vec<f64>, Value)> {
    let greedy: Vec<usize> = (0..GREEDY.min(fleet.tenants.len() - 1)).collect();
    if greed == Greed::Up {
        // Half as many, each with ten changes: the same order of work.
        fleet
            .burst(&greedy, "greedy", (backlog / 4).max(20), to)
            .await?;
        fleet.board.all(Stage::Ready, PATIENCE).await?;
    }
    let before = fleet.cpu(syncs);
    let begun = Instant::now();
    let load = async {
        match greed {
            Greed::None => Ok(()),
            Greed::Down => fleet.burst(&greedy, "greedy", backlog, to).await,
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
    let took = fleet.board.between(Stage::Sent, Stage::Ready, is_regular);
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
                board.expect(&tenant.namespace, &name);
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
