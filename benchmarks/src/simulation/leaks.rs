//! W9: tenants that come and go, and what they leave in sync.

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::json;

use super::{PATIENCE, Simulation, settled};
use crate::board::Stage;
use crate::figures;
use crate::fleet::To;
use crate::process;
use crate::report::{Report, say};
use crate::tenant;

/// Measures rounds of so many tenants at once.
pub(crate) async fn measure(
    s: &mut Simulation,
    report: &mut Report,
    alive: usize,
    rounds: usize,
) -> Result<()> {
    let sync = s.fleet.sync(&[]).await?;
    let mut points = Vec::new();
    let mut descriptors = Vec::new();
    for round in 0..rounds {
        s.fleet.tenants.clear();
        s.fleet.accounts.clear();
        s.admit(round * alive..(round + 1) * alive).await?;
        tenant::served(&s.fleet.host, &s.fleet.tenants).await?;
        s.fleet.board.clear();
        s.fleet
            .burst(&s.fleet.everyone(), "brief", 1, To::Inside)
            .await?;
        s.fleet.board.all(Stage::Ready, PATIENCE).await?;
        let removed = s
            .fleet
            .tenants
            .iter()
            .map(|tenant| tenant.remove(&s.fleet.host));
        try_join_all(removed).await?;
        for tenant in &s.fleet.tenants {
            tenant.client.get_bytes("/reset").await?;
        }
        let memory = settled(&sync).await;
        let gone = (round + 1) * alive;
        points.push((figures::number(gone), memory));
        descriptors.push(figures::number(process::descriptors(sync.process.id())));
        say(&format!(
            "w9 {gone} tenants have come and gone: {memory:.1} MiB"
        ));
    }
    // The first round fills what is filled once.
    let slope = figures::slope(points.get(1..).unwrap_or_default()) * 1024.0;
    let series = sync.metrics().await?.len();
    let [first, last] =
        [descriptors.first(), descriptors.last()].map(|count| count.copied().unwrap_or(f64::NAN));
    report.table(
        &format!(
            "W9: {} S tenants come and go, {alive} at once",
            alive * rounds
        ),
        &[
            "memory after the first (MiB)",
            "after the last",
            "KiB per tenant",
            "descriptors first",
            "last",
            "series",
        ],
        &[vec![
            format!("{:.1}", points.first().map_or(f64::NAN, |point| point.1)),
            format!("{:.1}", points.last().map_or(f64::NAN, |point| point.1)),
            format!("{slope:.1}"),
            format!("{first:.0}"),
            format!("{last:.0}"),
            series.to_string(),
        ]],
    );
    report.figure(
        "memory left by a tenant that has gone (KiB)",
        "w9",
        slope,
        &[],
    );
    report.bar(
        "descriptors left by all of them",
        "w9",
        last - first,
        "<= 0",
        &[],
    );
    report.line(
        "leaks",
        "Memory of sync after tenants have come and gone",
        ("tenants", "MiB (PSS)"),
        &points,
    );
    report.raw("w9", json!({"class": "S", "alive": alive, "points": points, "descriptors": descriptors, "series": series}));
    sync.process.stop().await;
    Ok(())
}
