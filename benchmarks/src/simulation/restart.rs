//! W6: what tenants and pods cost in memory, and what a restart costs. Tells nothing of latency.

use anyhow::Result;
use serde_json::json;
use tokio::time::Instant;

use super::{PATIENCE, SETTLING, Simulation, settled};
use crate::board::Stage;
use crate::figures;
use crate::fleet::To;
use crate::metrics::Requests;
use crate::process;
use crate::report::{Report, say};
use crate::sync::Sync;
use crate::tenant;

/// Measures with so many tenants, and pods in each.
pub(crate) async fn measure(
    s: &mut Simulation,
    report: &mut Report,
    tenants: usize,
    pods: usize,
) -> Result<()> {
    let sync = s.fleet.sync(&[]).await?;
    idle_memory(s, report, &sync, tenants).await?;
    pod_memory(s, report, &sync, tenants, pods).await?;
    s.fleet.board.clear();
    sync.process.kill();
    // While nobody serves: one pod in each, whose way to the host is the first reaction.
    s.fleet
        .burst(&s.fleet.everyone(), "canary", 1, To::Inside)
        .await?;
    let before = Requests::of(&s.fleet.host.client).await?;
    let begun = Instant::now();
    let mut sync = Sync::start(&s.fleet.ground, "sync", &[])?;
    sync.ready().await?;
    let ready = begun.elapsed().as_secs_f64();
    s.fleet.board.all(Stage::OnHost, PATIENCE).await?;
    let first: Vec<f64> = s.fleet.board.since(begun, Stage::OnHost);
    tenant::served(&s.fleet.host, &s.fleet.tenants).await?;
    let served = begun.elapsed().as_secs_f64();
    let cpu = process::cpu_of(sync.process.id());
    s.fleet.board.all(Stage::Ready, PATIENCE).await?;
    tokio::time::sleep(SETTLING).await;
    let requests = Requests::of(&s.fleet.host.client).await?.since(&before);
    let counts = sync.metrics().await?;
    let writes = counts.labelled("sync_writes_total", "side", "host") - figures::number(tenants);
    let (memory, peak) = (
        figures::mib(sync.memory()),
        figures::mib(process::peak_of(sync.process.id())),
    );
    let all = tenants * pods;
    report.table(
        &format!("W6: restart with {tenants} S tenants and {all} pods"),
        &[
            "first reaction p50 (s)",
            "last (s)",
            "ready (s)",
            "all served (s)",
            "writes of copies",
            "CPU (s)",
            "memory (MiB)",
            "peak",
        ],
        &[vec![
            format!("{:.2}", figures::median(&first)),
            format!("{:.2}", figures::quantile(&first, 1.0)),
            format!("{ready:.2}"),
            format!("{served:.2}"),
            format!("{writes:.0}"),
            format!("{cpu:.2}"),
            format!("{memory:.0}"),
            format!("{peak:.0}"),
        ]],
    );
    report.bar(
        "first correct reaction of the last tenant (s)",
        "w6",
        figures::quantile(&first, 1.0),
        "<= 5",
        &first,
    );
    report.bar(
        "writes of translated objects in a restart",
        "w6",
        writes,
        "<= 0",
        &[],
    );
    report.raw("w6", json!({
        "class": "S", "tenants": tenants, "podsPerTenant": pods, "firstReactionSeconds": first,
        "readySeconds": ready, "servedSeconds": served, "cpuSeconds": cpu, "hostRequests": requests.json(),
        "hostWritesBeyondCanaries": writes, "virtualWrites": counts.labelled("sync_writes_total", "side", "virtual"),
        "memoryMiB": memory, "peakMiB": peak,
    }));
    sync.process.stop().await;
    Ok(())
}

async fn idle_memory(
    s: &mut Simulation,
    report: &mut Report,
    sync: &Sync,
    tenants: usize,
) -> Result<()> {
    let mut points = vec![(0.0, settled(sync).await)];
    for quarter in 0..4 {
        let (from, to) = (tenants * quarter / 4, tenants * (quarter + 1) / 4);
        s.admit(from..to).await?;
        tenant::served(&s.fleet.host, &s.fleet.tenants).await?;
        points.push((figures::number(to), settled(sync).await));
        say(&format!(
            "w6 {to} idle tenants: {:.1} MiB",
            points.last().map_or(0.0, |point| point.1)
        ));
    }
    let slope = figures::slope(&points);
    report.bar("memory per idle tenant (MiB)", "w6", slope, "<= 1", &[]);
    report.line(
        "idle-memory",
        "Memory of sync by idle S tenants",
        ("tenants", "MiB (PSS)"),
        &points,
    );
    report.raw(
        "idleMemoryMiB",
        json!({"class": "S", "hostNodes": s.fleet.nodes.count(), "points": points, "slope": slope}),
    );
    Ok(())
}

async fn pod_memory(
    s: &mut Simulation,
    report: &mut Report,
    sync: &Sync,
    tenants: usize,
    pods: usize,
) -> Result<()> {
    let mut points = vec![(0.0, settled(sync).await)];
    let mut made = 0;
    for step in [1, 2, 4] {
        let want = pods * step / 4;
        s.fleet
            .burst(
                &s.fleet.everyone(),
                &format!("fill-{step}"),
                want - made,
                To::Inside,
            )
            .await?;
        s.fleet.board.all(Stage::Ready, PATIENCE).await?;
        made = want;
        let all = tenants * made;
        points.push((figures::number(all) / 1e3, settled(sync).await));
        say(&format!(
            "w6 {all} pods: {:.1} MiB",
            points.last().map_or(0.0, |point| point.1)
        ));
    }
    let slope = figures::slope(&points) * f64::from(1 << 20) / 1e6;
    report.bar("memory per 1,000 pods (MB)", "w6", slope, "<= 10", &[]);
    report.line(
        "pod-memory",
        "Memory of sync by pods of S tenants",
        ("thousand pods", "MiB (PSS)"),
        &points,
    );
    report.raw(
        "podMemoryMiB",
        json!({"class": "S", "tenants": tenants, "thousandPodsAndMiB": points, "slopeMB": slope}),
    );
    Ok(())
}
