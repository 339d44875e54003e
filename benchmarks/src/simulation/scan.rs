//! W7: copies on the host that nobody watches are deleted or edited behind sync's back, until a scan mends them; and
//! what a scan costs that finds nothing.

use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{PATIENCE, Simulation};
use crate::board::Stage;
use crate::figures;
use crate::fleet::Fleet;
use crate::metrics::Requests;
use crate::pods;
use crate::process;
use crate::report::Report;
use crate::sync::Sync;
use crate::tenant::LOAD;

/// How often sync scans; the flag says the same.
const INTERVAL: Duration = Duration::from_secs(10);
const FLAG: &str = "--scan-interval=10s";
const CONFIG: &str = "settings";

/// Measures with the tenants and pods that are there.
pub(crate) async fn measure(s: &Simulation, report: &mut Report) -> Result<()> {
    let sync = s.fleet.sync(&[FLAG]).await?;
    let copies = configure(&s.fleet).await?;
    tokio::time::sleep(INTERVAL).await;
    quiet(&s.fleet, &sync, report).await?;
    mend(&s.fleet, &sync, &copies, report).await?;
    sync.process.stop().await;
    Ok(())
}

/// Gives each tenant a pod with a ConfigMap; tells where the copies of those are.
async fn configure(fleet: &Fleet) -> Result<Vec<String>> {
    let mut copies = Vec::new();
    for tenant in &fleet.tenants {
        let base = format!("/api/v1/namespaces/{LOAD}");
        let config = json!({"metadata": {"name": CONFIG}, "data": {"key": "right"}});
        tenant
            .client
            .ensure(&format!("{base}/configmaps"), &config)
            .await?;
        fleet.board.enter(&tenant.namespace, "configured");
        let body = pods::with_config("configured", CONFIG);
        tenant.client.create(&format!("{base}/pods"), body).await?;
        copies.push(format!(
            "/api/v1/namespaces/{}/configmaps/{CONFIG}-x-{LOAD}-x-vc",
            tenant.namespace
        ));
    }
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    Ok(copies)
}

/// One whole interval in which nothing is wrong.
async fn quiet(fleet: &Fleet, sync: &Sync, report: &mut Report) -> Result<()> {
    let before = (
        sync.metrics().await?,
        Requests::of(&fleet.host.client).await?,
        process::cpu_of(sync.process.id()),
    );
    tokio::time::sleep(INTERVAL).await;
    let cpu = process::cpu_of(sync.process.id()) - before.2;
    let writes = sync
        .metrics()
        .await?
        .since(&before.0)
        .sum("sync_writes_total");
    let requests = Requests::of(&fleet.host.client).await?.since(&before.1);
    let pods = figures::number(usize::try_from(fleet.host.pods().await?)?);
    let each = cpu * 1e3 / pods;
    report.bar(
        "writes of a scan that finds nothing",
        "w7",
        writes,
        "<= 0",
        &[],
    );
    report.bar("CPU-s of a scan per 1,000 pods", "w7", each, "<= 0.2", &[]);
    report.raw("w7", json!({
        "class": "S", "scan": "quiet", "tenants": fleet.tenants.len(), "pods": pods, "cpuSeconds": cpu, "writes": writes,
        "hostRequests": requests.json(),
    }));
    Ok(())
}

/// Every fifth copy is broken: deleted and edited by turns.
async fn mend(fleet: &Fleet, sync: &Sync, copies: &[String], report: &mut Report) -> Result<()> {
    let before = sync.metrics().await?;
    let begun = Instant::now();
    let broken: Vec<&String> = copies.iter().step_by(5).collect();
    for (number, copy) in broken.iter().enumerate() {
        if number % 2 == 0 {
            fleet.host.client.delete(copy).await?;
        } else {
            let wrong = r#"{"data":{"key":"wrong"}}"#;
            fleet.host.client.patch(copy, wrong).await?;
        }
    }
    let mended = broken.iter().map(|copy| is_right(fleet, copy, begun));
    let mended = try_join_all(mended).await?;
    let found = sync.metrics().await?.since(&before);
    let of = |kind: &str| found.labelled("sync_scan_total", "found", kind);
    let title = format!(
        "W7: {} of {} copies broken silently, a scan each {INTERVAL:?}",
        broken.len(),
        copies.len()
    );
    let head = [
        "mended p50 (s)",
        "last (s)",
        "drift",
        "missing",
        "orphan",
        "fixed",
        "false",
    ];
    let mut row = vec![
        format!("{:.1}", figures::median(&mended)),
        format!("{:.1}", figures::quantile(&mended, 1.0)),
    ];
    row.extend(
        ["Drift", "Missing", "Orphan", "Fixed", "False"].map(|kind| format!("{:.0}", of(kind))),
    );
    report.table(&title, &head, &[row]);
    report.bar("false repairs", "w7", of("False"), "<= 0", &[]);
    report.raw("w7", json!({
        "class": "S", "scan": "mending", "broken": broken.len(), "mendedSeconds": mended, "drift": of("Drift"),
        "missing": of("Missing"), "orphan": of("Orphan"), "fixed": of("Fixed"), "false": of("False"),
    }));
    Ok(())
}

/// Waits until the copy is as it should be; tells how long after the beginning that was.
async fn is_right(fleet: &Fleet, copy: &str, begun: Instant) -> Result<f64> {
    while begun.elapsed() < 6 * INTERVAL {
        let found: Result<Value> = fleet.host.client.get(copy).await;
        if found.is_ok_and(|found| found["data"]["key"] == "right") {
            return Ok(begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!("{copy} is not mended")
}
