//! W10: a steady state in which things are touched without being changed, and then changed; and how many writes sync
//! makes for each.
//!
//! A touch is a field manager that says what is so already, and then says so no more (server-side apply): the object has
//! a new version, its watchers hear of it, and nothing is different.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::board::Stage;
use crate::figures;
use crate::fleet::{Fleet, PATIENCE, To};
use crate::metrics::{Counts, Requests};
use crate::pods;
use crate::report::Report;
use crate::sync::Sync;
use crate::tenant::LOAD;

/// Touches or changes per second.
const RATE: u32 = 10;
/// How long sync may take to be done with what was changed last.
const SETTLING: Duration = Duration::from_millis(1500);
const CONFIG: &str = "settings";
/// Pods of each tenant.
const PODS: usize = 5;

/// What is done, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    TouchPod,
    TouchHostPod,
    TouchConfig,
    ChangeConfig,
    ChangeHostStatus,
}

impl Deed {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::TouchPod,
        Self::TouchHostPod,
        Self::TouchConfig,
        Self::ChangeConfig,
        Self::ChangeHostStatus,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::TouchPod => "touch of a pod inside",
            Self::TouchHostPod => "touch of a pod on the host",
            Self::TouchConfig => "touch of a ConfigMap in use",
            Self::ChangeConfig => "change of a ConfigMap in use",
            Self::ChangeHostStatus => "change of a status on the host",
        }
    }

    const fn is_touch(self) -> bool {
        match self {
            Self::TouchPod | Self::TouchHostPod | Self::TouchConfig => true,
            Self::Nothing | Self::ChangeConfig | Self::ChangeHostStatus => false,
        }
    }
}

/// Measures each deed for `each`.
pub(crate) async fn measure(fleet: &Fleet, report: &mut Report, each: Duration) -> Result<()> {
    let sync = fleet.sync(&[]).await?;
    for tenant in &fleet.tenants {
        let config = json!({"metadata": {"name": CONFIG}, "data": {"key": "0"}});
        tenant
            .client
            .ensure(&format!("/api/v1/namespaces/{LOAD}/configmaps"), &config)
            .await?;
        for pod in 0..PODS {
            let name = format!("steady-{pod}");
            fleet.board.enter(&tenant.namespace, &name);
            let body = pods::with_config(&name, CONFIG);
            tenant
                .client
                .create(&format!("/api/v1/namespaces/{LOAD}/pods"), body)
                .await?;
        }
    }
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    tokio::time::sleep(SETTLING).await;
    let mut rows = Vec::new();
    for deed in Deed::ALL {
        rows.push(
            deeds(fleet, report, &sync, deed, each)
                .await
                .with_context(|| deed.name())?,
        );
    }
    let title = format!(
        "W10: {} R tenants × {PODS} pods in steady state",
        fleet.tenants.len()
    );
    let head = [
        "deed",
        "deeds",
        "host writes",
        "virtual writes",
        "keys looked at",
        "sync CPU-ms each",
    ];
    report.table(&title, &head, &rows);
    replace(fleet, report).await?;
    fleet.clear().await?;
    sync.process.stop().await;
    Ok(())
}

/// Does one thing at a rate, one after the other, and counts what sync writes for it: after a slow one the next come
/// faster, until the rate is kept again.
async fn deeds(
    fleet: &Fleet,
    report: &mut Report,
    sync: &Sync,
    deed: Deed,
    each: Duration,
) -> Result<Vec<String>> {
    let hosts = host_pods(fleet).await?;
    let before = (
        sync.metrics().await?,
        Requests::of(&fleet.host.client).await?,
    );
    let cpu = crate::process::cpu_of(sync.process.id());
    let until = Instant::now() + each;
    let mut clock = interval(Duration::from_secs(1) / RATE);
    let mut done = 0_usize;
    while Instant::now() < until {
        clock.tick().await;
        act(fleet, deed, done, &hosts).await?;
        done += 1;
    }
    tokio::time::sleep(SETTLING).await;
    let cpu = (crate::process::cpu_of(sync.process.id()) - cpu) * 1e3 / figures::number(done);
    let counts = sync.metrics().await?.since(&before.0);
    let host = Requests::of(&fleet.host.client).await?.since(&before.1);
    let writes = |side: &str| counts.labelled("sync_writes_total", "side", side);
    let (down, up) = (writes("host"), writes("virtual"));
    report.raw(
        "w10",
        json!({
            "deed": deed.name(), "deeds": done, "hostWrites": down, "virtualWrites": up,
            "looks": looks(&counts), "syncCpuMsEach": cpu, "hostRequests": host.json(),
        }),
    );
    let rate = |writes: f64| writes / figures::number(done);
    if deed.is_touch() {
        report.bar(
            &format!("writes per {}", deed.name()),
            "w10",
            rate(down + up),
            "<= 0",
            &[],
        );
    } else if deed != Deed::Nothing {
        report.figure(
            &format!("writes per {}", deed.name()),
            "w10",
            rate(down + up),
            &[],
        );
    }
    Ok(vec![
        deed.name().to_owned(),
        done.to_string(),
        format!("{down:.0}"),
        format!("{up:.0}"),
        format!("{:.0}", looks(&counts)),
        format!("{cpu:.2}"),
    ])
}

fn looks(counts: &Counts) -> f64 {
    counts.sum("sync_keys_total")
}

/// Where each pod is on the host.
async fn host_pods(fleet: &Fleet) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for tenant in &fleet.tenants {
        let base = format!("/api/v1/namespaces/{}/pods", tenant.namespace);
        let list = fleet.host.client.get(&base).await?;
        let pods = list["items"].as_array().into_iter().flatten();
        all.extend(
            pods.filter_map(|pod| Some(format!("{base}/{}", pod["metadata"]["name"].as_str()?))),
        );
    }
    Ok(all)
}

async fn act(fleet: &Fleet, deed: Deed, number: usize, hosts: &[String]) -> Result<()> {
    let count = fleet.tenants.len();
    // Every object is touched twice in a row: a manager comes, and goes.
    let (turn, comes) = (number / 2, number.is_multiple_of(2));
    let inside = &fleet.tenants.get(turn % count).context("no tenant")?.client;
    let pod = format!("steady-{}", turn / count % PODS);
    let labels = if comes {
        json!({"app": "web"})
    } else {
        json!({})
    };
    let touch = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}});
    let path = format!("/api/v1/namespaces/{LOAD}");
    match deed {
        Deed::Nothing => Ok(()),
        Deed::TouchPod => {
            inside
                .apply(
                    &format!("{path}/pods/{pod}"),
                    "toucher",
                    &touch("Pod", &pod),
                )
                .await
        }
        Deed::TouchHostPod => {
            let path = hosts.get(turn % hosts.len()).context("no host pod")?;
            let name = path.rsplit('/').next().unwrap_or_default();
            let mut wanted = touch("Pod", name);
            wanted["metadata"]["labels"] = if comes {
                json!({"vcluster.dev/part": "workload"})
            } else {
                json!({})
            };
            fleet.host.client.apply(path, "toucher", &wanted).await
        }
        Deed::TouchConfig => {
            let mut wanted =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}});
            if comes {
                let now = inside.get(&format!("{path}/configmaps/{CONFIG}")).await?;
                wanted["data"] = now["data"].clone();
            }
            inside
                .apply(&format!("{path}/configmaps/{CONFIG}"), "toucher", &wanted)
                .await
        }
        Deed::ChangeConfig => {
            let inside = &fleet
                .tenants
                .get(number % count)
                .context("no tenant")?
                .client;
            let change: Value = json!({"data": {"key": format!("changed-{number}")}});
            inside
                .patch(&format!("{path}/configmaps/{CONFIG}"), change.to_string())
                .await
                .map(drop)
        }
        Deed::ChangeHostStatus => {
            let path = hosts.get(number % hosts.len()).context("no host pod")?;
            let status = json!({"status": {"containerStatuses": [{"name": "web", "restartCount": number + 1}]}});
            fleet
                .host
                .client
                .patch_strategic(&format!("{path}/status"), status.to_string())
                .await
                .map(drop)
        }
    }
}

/// One pod of each tenant is deleted and made anew under another name.
async fn replace(fleet: &Fleet, report: &mut Report) -> Result<()> {
    fleet.board.clear();
    for tenant in &fleet.tenants {
        tenant
            .client
            .delete(&format!("/api/v1/namespaces/{LOAD}/pods/steady-0"))
            .await?;
    }
    fleet
        .burst(&fleet.everyone(), "replaced", 1, To::Inside)
        .await?;
    fleet.board.all(Stage::Ready, PATIENCE).await?;
    let took = fleet.board.between(Stage::Sent, Stage::Ready, |_| true);
    let p99 = figures::quantile(&took, 0.99) / 1e3;
    report.bar("start of a replaced pod, p99 (s)", "w10", p99, "<= 5", &[]);
    Ok(())
}
