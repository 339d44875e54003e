//! W2: as many pods as the paper's, per tenant, all at once. Direct to the host, by a writer that only writes both
//! sides, and by sync; in turns.

mod summary;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::board::Stage;
use crate::figures;
use crate::fleet::{Cpu, Fleet, PATIENCE, To, finished};
use crate::metrics::Requests;
use crate::pods::{self, Token};
use crate::report::{Report, say};
use crate::sync::{self, Sync};
use crate::tenant::LOAD;

/// How long a tenant that is served is still read about.
const SETTLING: Duration = Duration::from_secs(2);
/// How long a pod that is ready is still followed by requests.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Who brings the pods to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// Nobody: users make them there.
    Direct,
    /// A writer that makes the least requests on both sides, without watching or comparing.
    Floor,
    /// Sync.
    Ours,
    /// Sync, one process for each tenant.
    Naive,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Direct, Self::Floor, Self::Ours, Self::Naive];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Naive => "naive",
        }
    }
}

/// What one burst came to.
#[derive(Debug, Clone)]
struct Burst {
    mode: Mode,
    pods: usize,
    seconds: f64,
    latencies: Vec<f64>,
    cpu: Cpu,
    json: Value,
    host_requests: f64,
}

/// Measures; tells the median throughput of ours in pods per second.
pub(crate) async fn measure(
    fleet: &Fleet,
    report: &mut Report,
    sizes: &[usize],
    repeats: usize,
) -> Result<f64> {
    let template = sample(fleet, report).await?;
    let mut throughput = 0.0;
    for size in sizes {
        let mut bursts = Vec::new();
        for repeat in 0..repeats {
            for turn in 0..Mode::ALL.len() {
                let mode = Mode::ALL[(repeat + turn) % Mode::ALL.len()];
                let burst = run(fleet, mode, *size, &template).await;
                let burst =
                    burst.with_context(|| format!("{} of {size} pods per tenant", mode.name()))?;
                say(&format!(
                    "w2 {size} pods per tenant, {}: {:.2} s",
                    mode.name(),
                    burst.seconds
                ));
                bursts.push(burst);
            }
        }
        throughput = summary::add(report, fleet.tenants.len(), *size, &bursts);
    }
    Ok(throughput)
}

/// Has sync make one pod, counts what that costs with and without a token, and learns how its host pods look.
async fn sample(fleet: &Fleet, report: &mut Report) -> Result<String> {
    let sync = fleet.sync(&[]).await?;
    fleet
        .burst(&fleet.everyone(), "sample", 2, To::Inside)
        .await?;
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    let tenant = fleet.tenants.first().context("no tenant")?;
    let path = format!("/api/v1/namespaces/{}/pods", tenant.namespace);
    let list = fleet.host.client.get(&path).await?;
    let mut items = list["items"].as_array().into_iter().flatten();
    let wanted = |pod: &&Value| pod["metadata"]["annotations"]["vcluster.dev/name"] == "sample-1";
    let made = items.find(wanted).context("sync made no sample")?.clone();
    with_tokens(fleet, report).await?;
    fleet.clear().await?;
    sync.process.stop().await;
    Ok(pods::template(made, "sample-1", &tenant.namespace))
}

/// Counts the requests for pods that have a token.
async fn with_tokens(fleet: &Fleet, report: &mut Report) -> Result<()> {
    let count = 5;
    for is_first in [true, false] {
        let before = Requests::of(&fleet.host.client).await?;
        for tenant in &fleet.tenants {
            for pod in 0..count {
                let name = format!("token-{is_first}-{pod}");
                fleet.board.enter(&tenant.namespace, &name);
                let body = pods::manifest(&name, Token::Mounted);
                tenant
                    .client
                    .create(&format!("/api/v1/namespaces/{LOAD}/pods"), body)
                    .await?;
            }
        }
        fleet.board.all(Stage::Ready, PATIENCE).await?;
        tokio::time::sleep(AFTERMATH).await;
        // The first of a tenant bring what is made once.
        if is_first {
            continue;
        }
        let requests = Requests::of(&fleet.host.client).await?.since(&before);
        let each =
            (requests.total() - played(&requests)) / figures::number(count * fleet.tenants.len());
        report.bar(
            "host requests per pod with a token",
            "w2",
            each,
            "<= 2",
            &[],
        );
        report.raw(
            "tokens",
            json!({"pods": count * fleet.tenants.len(), "hostRequests": requests.json()}),
        );
    }
    Ok(())
}

/// What the host's own scheduler and kubelets would have asked for: one binding and one status for each pod.
fn played(requests: &Requests) -> f64 {
    let bindings = requests.of_kind("POST pods/binding");
    bindings + requests.of_kind("PATCH pods/status").min(bindings)
}

async fn run(fleet: &Fleet, mode: Mode, size: usize, template: &str) -> Result<Burst> {
    let syncs = match mode {
        Mode::Ours => vec![fleet.sync(&[]).await?],
        Mode::Naive => fleet.naive().await?,
        Mode::Direct | Mode::Floor => Vec::new(),
    };
    fleet.nodes.show(mode == Mode::Direct);
    fleet.nodes.idle(mode == Mode::Floor);
    if !syncs.is_empty() {
        // What is made once in the life of a tenant is there already.
        fleet
            .burst(&fleet.everyone(), "warm", 1, To::Inside)
            .await?;
        fleet.board.all(Stage::Ready, PATIENCE).await?;
        fleet.board.clear();
        tokio::time::sleep(SETTLING).await;
    }
    let result = timed(fleet, mode, size, template, &syncs).await;
    let cleared = fleet.clear().await;
    for sync in syncs {
        sync.process.stop().await;
    }
    fleet.nodes.show(false);
    fleet.nodes.idle(false);
    // What went wrong first says why: after it, pods may stay.
    let measured = result?;
    cleared?;
    Ok(measured)
}

async fn timed(
    fleet: &Fleet,
    mode: Mode,
    size: usize,
    template: &str,
    syncs: &[Sync],
) -> Result<Burst> {
    let tenant = &fleet.tenants.first().context("no tenant")?.client;
    let requests = [
        Requests::of(&fleet.host.client).await?,
        Requests::of(tenant).await?,
    ];
    let counts = sync::metrics(syncs).await?;
    let before = fleet.cpu(syncs);
    let everyone = fleet.everyone();
    match mode {
        Mode::Direct => fleet.burst(&everyone, "pod", size, To::Host).await?,
        Mode::Ours | Mode::Naive => fleet.burst(&everyone, "pod", size, To::Inside).await?,
        Mode::Floor => write_twice(fleet, size, template).await?,
    }
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    let cpu = fleet.cpu(syncs).since(&before);
    let pods = size * everyone.len();
    // What still follows a pod that is ready is part of its cost in requests.
    tokio::time::sleep(AFTERMATH).await;
    let host = Requests::of(&fleet.host.client).await?.since(&requests[0]);
    let inside = Requests::of(tenant).await?.since(&requests[1]);
    let played = played(&host);
    let mut json = json!({
        "mode": mode.name(), "podsPerTenant": size, "pods": pods, "seconds": fleet.board.total(),
        "stagesMs": fleet.board.stages(), "cpuMsPerPod": cpu.per(pods),
        "hostRequests": host.json(), "requestsOfTenant0": inside.json(),
    });
    if !syncs.is_empty() {
        let counts = sync::metrics(syncs).await?.since(&counts);
        json["queueSecondsSum"] = json!(counts.sum("sync_queue_seconds_sum"));
        json["workSecondsSum"] = json!(counts.sum("sync_work_seconds_sum"));
        json["looks"] = json!(counts.sum("sync_keys_total"));
        json["hostWrites"] = json!(counts.labelled("sync_writes_total", "side", "host"));
        json["virtualWrites"] = json!(counts.labelled("sync_writes_total", "side", "virtual"));
        json["memory"] = json!(syncs.iter().map(Sync::memory).sum::<u64>());
    }
    Ok(Burst {
        mode,
        pods,
        seconds: fleet.board.total(),
        latencies: fleet.board.between(Stage::Sent, Stage::Ready, |_| true),
        cpu,
        host_requests: (host.total() - played) / figures::number(pods),
        json,
    })
}

/// The floor: every write that has to be, one after the other for each pod.
async fn write_twice(fleet: &Fleet, size: usize, template: &str) -> Result<()> {
    let mut tenants = JoinSet::new();
    for (tenant, account) in fleet.tenants.iter().zip(&fleet.accounts) {
        let (tenant, account) = (tenant.clone(), account.clone());
        let (board, host) = (Arc::clone(&fleet.board), fleet.host.client.clone());
        let bodies: Vec<_> = (0..size)
            .map(|pod| {
                let name = format!("pod-{pod}");
                let body = pods::of_template(template, &name, &tenant.namespace);
                (name, body, fleet.nodes.next())
            })
            .collect();
        tenants.spawn(async move {
            let mut rest = JoinSet::new();
            for (name, body, (number, node)) in bodies {
                board.enter(&tenant.namespace, &name);
                let inside = format!("/api/v1/namespaces/{LOAD}/pods");
                tenant
                    .client
                    .create(&inside, pods::manifest(&name, Token::None))
                    .await?;
                board.reach(&tenant.namespace, &name, Stage::Accepted);
                let (tenant, account, board, host) = (
                    tenant.clone(),
                    account.clone(),
                    Arc::clone(&board),
                    host.clone(),
                );
                rest.spawn(async move {
                    let outside = format!("/api/v1/namespaces/{}/pods", tenant.namespace);
                    account.create(&outside, body).await?;
                    board.reach(&tenant.namespace, &name, Stage::OnHost);
                    let whole = format!("{name}-x-{LOAD}-x-vc");
                    let at_host = format!("{outside}/{whole}");
                    host.create(&format!("{at_host}/binding"), pods::binding(&whole, &node))
                        .await?;
                    let status = pods::running(number);
                    host.patch_strategic(&format!("{at_host}/status"), status.clone())
                        .await?;
                    board.reach(&tenant.namespace, &name, Stage::Running);
                    let at_tenant = format!("{inside}/{name}");
                    let binding = pods::binding(&name, &node);
                    tenant
                        .client
                        .create(&format!("{at_tenant}/binding"), binding)
                        .await?;
                    tenant
                        .client
                        .patch_strategic(&format!("{at_tenant}/status"), status)
                        .await?;
                    anyhow::Ok(())
                });
            }
            finished(rest).await
        });
    }
    finished(tenants).await
}
