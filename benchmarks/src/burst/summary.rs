//! What bursts of one size came to, side by side. Pure, but for what the report says.

use serde_json::{Value, json};

use super::{Burst, Mode};
use crate::figures;
use crate::report::Report;

/// One value of every burst of a mode.
struct Bursts<'a>(&'a [Burst]);

impl Bursts<'_> {
    fn of(&self, mode: Mode, value: impl Fn(&Burst) -> f64) -> Vec<f64> {
        let bursts = self.0.iter().filter(|burst| burst.mode == mode);
        bursts.map(value).collect()
    }

    fn seconds(&self, mode: Mode) -> Vec<f64> {
        self.of(mode, |burst| burst.seconds)
    }

    fn latency(&self, mode: Mode, share: f64) -> Vec<f64> {
        self.of(mode, |burst| {
            figures::quantile(&burst.latencies, share) / 1e3
        })
    }

    /// Runs of one turn stand beside each other: their ratio is what the machine's moods touch least.
    fn ratio(&self, above: Mode, below: Mode) -> Vec<f64> {
        let pairs = self.seconds(above).into_iter().zip(self.seconds(below));
        pairs.map(|(above, below)| above / below).collect()
    }

    fn cpu(&self, mode: Mode) -> Vec<f64> {
        self.of(mode, |burst| {
            burst.cpu.sync * 1e3 / figures::number(burst.pods)
        })
    }

    fn memory(&self, mode: Mode) -> Vec<f64> {
        let bytes = |burst: &Burst| burst.json["memory"].as_f64().unwrap_or(f64::NAN);
        self.of(mode, |burst| bytes(burst) / f64::from(1 << 20))
    }
}

/// Adds them to the report; tells the median throughput of sync in pods per second.
pub(super) fn add(report: &mut Report, tenants: usize, size: usize, bursts: &[Burst]) -> f64 {
    let runs: Vec<&Value> = bursts.iter().map(|burst| &burst.json).collect();
    let raw = json!({"podsPerTenant": size, "tenants": tenants, "class": "R", "runs": runs});
    report.raw("w2", raw);
    let bursts = Bursts(bursts);
    let title = format!("W2: {tenants} R tenants × {size} pods at once");
    let rows: Vec<Vec<String>> = Mode::ALL.iter().map(|mode| row(&bursts, *mode)).collect();
    let head = [
        "mode",
        "all ready (s)",
        "p50 (s)",
        "p99 (s)",
        "sync CPU-ms per pod",
        "sync MiB",
    ];
    report.table(&title, &head, &rows);
    let all = Mode::ALL.map(|mode| (mode.name(), bursts.seconds(mode)));
    let all: Vec<(&str, &[f64])> = all
        .iter()
        .map(|(name, all)| (*name, all.as_slice()))
        .collect();
    report.bars(
        &format!("w2-{size}"),
        &title,
        "seconds until all are ready",
        &all,
    );
    judge(report, &bursts, size);
    figures::number(size * tenants) / figures::median(&bursts.seconds(Mode::Ours))
}

fn row(bursts: &Bursts<'_>, mode: Mode) -> Vec<String> {
    let is_sync = matches!(mode, Mode::Ours | Mode::Naive);
    let if_sync = |values: Vec<f64>| {
        if is_sync {
            figures::spread(&values)
        } else {
            String::new()
        }
    };
    vec![
        mode.name().to_owned(),
        figures::spread(&bursts.seconds(mode)),
        figures::spread(&bursts.latency(mode, 0.5)),
        figures::spread(&bursts.latency(mode, 0.99)),
        if_sync(bursts.cpu(mode)),
        if_sync(bursts.memory(mode)),
    ]
}

fn judge(report: &mut Report, bursts: &Bursts<'_>, size: usize) {
    let waits = |burst: &Burst| {
        let value = |key: &str| burst.json[key].as_f64().unwrap_or(f64::NAN);
        let total: f64 = burst.latencies.iter().sum::<f64>() / 1e3;
        (value("queueSecondsSum") - value("workSecondsSum")) / total
    };
    let ours = Mode::Ours;
    let of = |what: &str| format!("{what}, {size} pods each");
    for (what, values, bar) in [
        (
            "efficiency to the double-write floor",
            bursts.ratio(Mode::Floor, ours),
            ">= 0.87",
        ),
        (
            "host requests per pod without a token",
            bursts.of(ours, |burst| burst.host_requests),
            "<= 1",
        ),
        (
            "sync CPU ÷ host API server CPU",
            bursts.of(ours, |burst| burst.cpu.sync / burst.cpu.host_api),
            "<= 0.25",
        ),
        (
            "time in sync's queues ÷ round trips",
            bursts.of(ours, waits),
            "<= 0.40",
        ),
    ] {
        report.bar(&of(what), "w2", figures::median(&values), bar, &values);
    }
    for (what, values) in [
        ("time against direct", bursts.ratio(ours, Mode::Direct)),
        (
            "time of naive against ours",
            bursts.ratio(Mode::Naive, ours),
        ),
    ] {
        report.figure(&of(what), "w2", figures::median(&values), &values);
    }
}
