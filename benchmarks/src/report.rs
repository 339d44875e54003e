//! What a run found: tables for people, every measurement as JSON, and plots.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::figures;
use crate::plot;

/// Says to the person who waits what has been done. A closed stream is no reason to stop.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The report of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    text: String,
    figures: Vec<Value>,
    raw: Map<String, Value>,
    plots: Vec<(String, String)>,
}

impl Report {
    /// Adds a table.
    pub(crate) fn table(&mut self, title: &str, head: &[&str], rows: &[Vec<String>]) {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
        let mut text = format!("\n### {title}\n\n{}{}", line(&head), line(&rule));
        text.extend(rows.iter().map(|row| line(row)));
        say(&text);
        self.text.push_str(&text);
    }

    /// Adds a figure that has a bar to reach.
    pub(crate) fn bar(&mut self, what: &str, workload: &str, value: f64, bar: &str, all: &[f64]) {
        // A difference of nothing may be -0.
        let value = value + 0.0;
        let reached = reaches(value, bar);
        let measured = json!({
            "what": what, "workload": workload, "value": value, "bar": bar, "reached": reached, "all": all,
        });
        self.figures.push(measured);
    }

    /// Adds a figure that has none.
    pub(crate) fn figure(&mut self, what: &str, workload: &str, value: f64, all: &[f64]) {
        self.figures
            .push(json!({"what": what, "workload": workload, "value": value, "all": all}));
    }

    /// Adds every measurement of a workload; a second time, beside the first.
    pub(crate) fn raw(&mut self, workload: &str, measured: Value) {
        let all = self.raw.entry(workload).or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(measured);
        }
    }

    /// Adds a plot of medians with their spread.
    pub(crate) fn bars(&mut self, name: &str, title: &str, unit: &str, bars: &[(&str, &[f64])]) {
        self.plots
            .push((name.to_owned(), plot::bars(title, unit, bars)));
    }

    /// Adds a plot of points.
    pub(crate) fn line(
        &mut self,
        name: &str,
        title: &str,
        axes: (&str, &str),
        points: &[(f64, f64)],
    ) {
        self.plots
            .push((name.to_owned(), plot::line(title, axes, points)));
    }

    /// Writes what a run measured to a folder, under a name. Of one that failed, what there is, under a name that says
    /// so: it never replaces a whole one.
    ///
    /// # Errors
    /// Why the run failed, or nothing can be written.
    pub(crate) fn conclude(
        self,
        measured: Result<()>,
        folder: &Path,
        name: &str,
        mut ground: Value,
    ) -> Result<()> {
        let Err(error) = measured else {
            return self.publish(folder, name, &ground);
        };
        if self.figures.is_empty() && self.raw.is_empty() {
            return Err(error);
        }
        ground["incomplete"] = format!("{error:#}").into();
        match self.publish(folder, &format!("{name}-incomplete"), &ground) {
            Ok(()) => say(&format!("what was measured is in {name}-incomplete")),
            Err(lost) => say(&format!("what was measured is lost: {lost:#}")),
        }
        Err(error)
    }

    /// Writes everything to a folder, under a name; prints the figures.
    fn publish(mut self, folder: &Path, name: &str, ground: &Value) -> Result<()> {
        let rows: Vec<Vec<String>> = self.figures.iter().map(row).collect();
        let title = "Figures";
        self.table(
            title,
            &["figure", "workload", "median (least–most)", "to reach", ""],
            &rows,
        );
        fs::create_dir_all(folder)?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        for (plot, svg) in &self.plots {
            write(&format!("{name}-{plot}.svg"), svg)?;
        }
        write(&format!("{name}.md"), self.text.trim_start())?;
        let all = json!({"ground": ground, "figures": self.figures, "workloads": self.raw});
        write(&format!("{name}.json"), &format!("{all:#}\n"))
    }
}

fn row(figure: &Value) -> Vec<String> {
    let text = |key: &str| figure[key].as_str().unwrap_or_default().to_owned();
    let all = figure["all"].as_array().into_iter().flatten();
    let mut all: Vec<f64> = all.filter_map(Value::as_f64).collect();
    if all.is_empty() {
        all.extend(figure["value"].as_f64());
    }
    let verdict = match figure["reached"].as_bool() {
        Some(true) => "reached",
        Some(false) => "**missed**",
        None => "",
    };
    let shown = figures::spread(&all);
    vec![
        text("what"),
        text("workload"),
        shown,
        text("bar"),
        verdict.to_owned(),
    ]
}

/// Whether a value is as `<= 1` or `>= 1` wants it.
fn reaches(value: f64, bar: &str) -> bool {
    let number = |text: &str| -> Option<f64> { text.split_whitespace().next()?.parse().ok() };
    let most = bar.strip_prefix("<= ").and_then(number);
    let least = bar.strip_prefix(">= ").and_then(number);
    most.is_some_and(|most| value <= most) || least.is_some_and(|least| value >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_fails_keeps_what_it_measured_beside_the_last_whole_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let report = || {
            let mut report = Report::default();
            report.raw("w1", json!({"pods": 1}));
            report
        };
        let conclude =
            |report: Report, measured| report.conclude(measured, folder.path(), "real", json!({}));
        let read = |name: &str| fs::read_to_string(folder.path().join(name));
        conclude(report(), Ok(())).expect("written");
        let whole = read("real.json").expect("written");
        let failed = conclude(report(), Err(anyhow::anyhow!("interrupted")));
        assert_eq!(failed.expect_err("told").to_string(), "interrupted");
        assert_eq!(read("real.json").expect("there"), whole);
        let kept = read("real-incomplete.json").expect("written");
        let kept: Value = serde_json::from_str(&kept).expect("JSON");
        assert_eq!(kept["ground"]["incomplete"], "interrupted");
        assert_eq!(kept["workloads"]["w1"][0]["pods"], 1);
    }

    #[test]
    fn a_run_that_fails_before_it_measured_anything_writes_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = Err(anyhow::anyhow!("no host"));
        let failed = Report::default().conclude(failed, folder.path(), "real", json!({}));
        assert_eq!(failed.expect_err("told").to_string(), "no host");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    }

    #[test]
    fn a_bar_is_reached_from_the_right_side_only() {
        assert!(reaches(0.9, ">= 0.87") && !reaches(0.8, ">= 0.87"));
        assert!(reaches(1.0, "<= 1 MiB") && !reaches(1.1, "<= 1 MiB"));
        assert!(!reaches(f64::NAN, "<= 1") && !reaches(1.0, "unclear"));
    }
}
