//! W1: what sync adds to a pod's way when little happens: pods at a steady rate, whether those before are ready or not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::board::Stage;
use crate::figures;
use crate::fleet::{Fleet, PATIENCE};
use crate::pods::{self, Token};
use crate::report::{Report, say};
use crate::tenant::LOAD;

/// Tenants that get pods in turn.
const TENANTS: usize = 8;

/// Measures each rate directly and by sync, one after the other.
pub(crate) async fn measure(
    fleet: &Fleet,
    report: &mut Report,
    rates: &[u32],
    each: Duration,
) -> Result<()> {
    let mut rows = Vec::new();
    for rate in rates {
        let mut found = Vec::new();
        for is_ours in [false, true] {
            let sync = if is_ours {
                Some(fleet.sync(&[]).await?)
            } else {
                None
            };
            fleet.nodes.show(!is_ours);
            if is_ours {
                fleet
                    .burst(&fleet.everyone(), "warm", 1, crate::fleet::To::Inside)
                    .await?;
                fleet.board.all(Stage::Ready, PATIENCE).await?;
                fleet.board.clear();
            }
            let before = (fleet.cpu(&[]), Instant::now());
            arrive(fleet, *rate, each, is_ours).await?;
            let busy = fleet.cpu(&[]).since(&before.0).all() / before.1.elapsed().as_secs_f64();
            let took = fleet.board.between(Stage::Sent, Stage::Ready, |_| true);
            let stages = fleet.board.stages();
            fleet.clear().await?;
            if let Some(sync) = sync {
                sync.process.stop().await;
            }
            report.raw("w1", json!({
                "ratePerSecond": rate, "ours": is_ours, "seconds": each.as_secs_f64(), "pods": took.len(),
                "latencyMs": figures::series(&took), "stagesMs": stages, "coresBusyWithoutSync": busy,
            }));
            found.push(took);
        }
        fleet.nodes.show(false);
        let at = |share| -> [f64; 2] { [0, 1].map(|side| figures::quantile(&found[side], share)) };
        let ([direct, ours], [direct99, ours99]) = (at(0.5), at(0.99));
        say(&format!(
            "w1 {rate} pods/s: direct {direct:.1} ms, ours {ours:.1} ms"
        ));
        rows.push(vec![
            rate.to_string(),
            found[1].len().to_string(),
            format!("{direct:.1}"),
            format!("{ours:.1}"),
            format!("{:.1}", ours - direct),
            format!("{direct99:.1}"),
            format!("{ours99:.1}"),
            format!("{:.1}", ours99 - direct99),
        ]);
        if Some(rate) == rates.last() {
            let what = format!("added latency at {rate} pods/s, p50 (ms)");
            report.bar(&what, "w1", ours - direct, "<= 5", &[]);
            report.figure(
                &format!("added latency at {rate} pods/s, p99 (ms)"),
                "w1",
                ours99 - direct99,
                &[],
            );
        }
    }
    let tenants = fleet.tenants.len().min(TENANTS);
    let head = [
        "pods/s",
        "pods",
        "direct p50 (ms)",
        "ours p50",
        "added p50",
        "direct p99",
        "ours p99",
        "added p99",
    ];
    report.table(&format!("W1: {tenants} R tenants, open loop"), &head, &rows);
    Ok(())
}

/// Makes pods at a rate, whether earlier ones are ready or not. What a stall of ours held up comes at once after it: an
/// open loop keeps to its schedule.
async fn arrive(fleet: &Fleet, rate: u32, each: Duration, is_ours: bool) -> Result<()> {
    let until = Instant::now() + each;
    let mut clock = interval(Duration::from_secs(1) / rate);
    let mut made = Vec::new();
    while Instant::now() < until {
        clock.tick().await;
        let number = made.len();
        let tenant = fleet
            .tenants
            .get(number % fleet.tenants.len().min(TENANTS))
            .context("no tenant")?
            .clone();
        let (board, host) = (Arc::clone(&fleet.board), fleet.host.client.clone());
        made.push(tokio::spawn(async move {
            let name = format!("light-{number}");
            let body = pods::manifest(&name, Token::None);
            board.enter(&tenant.namespace, &name);
            if is_ours {
                tenant
                    .client
                    .create(&format!("/api/v1/namespaces/{LOAD}/pods"), body)
                    .await?;
            } else {
                host.create(
                    &format!("/api/v1/namespaces/{}/pods", tenant.namespace),
                    body,
                )
                .await?;
            }
            board.reach(&tenant.namespace, &name, Stage::Accepted);
            anyhow::Ok(())
        }));
    }
    for pod in made {
        pod.await??;
    }
    fleet.board.all(Stage::Ready, PATIENCE).await
}
