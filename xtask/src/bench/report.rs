//! Median and spread of measurements, and the file that holds each of them. Pure, but for writing the file.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{output, workspace};

/// Measurements of one side, in seconds, in the order in which they were made.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) side: &'static str,
    pub(super) seconds: Vec<f64>,
}

impl Series {
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index among a few measurements"
        )]
        let index = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    fn line(&self) -> String {
        let [least, low, median, high, most] =
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| self.quantile(q));
        format!(
            "| {} | {median:.2} | {low:.2}–{high:.2} | {least:.2}–{most:.2} |",
            self.side
        )
    }
}

/// The table of both sides, whose last line says how many times as long the first takes.
pub(super) fn table(virtual_side: &Series, host_side: &Series) -> String {
    let ratio = virtual_side.quantile(0.5) / host_side.quantile(0.5);
    [
        "| side | median (s) | middle half (s) | all (s) |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
        virtual_side.line(),
        host_side.line(),
        format!("\nInside takes {ratio:.2} times as long as on the host (medians)."),
    ]
    .join("\n")
}

/// Prints the table and writes every measurement to `docs/benchmarks/NAME.json`.
pub(super) fn publish(name: &str, what: &str, sides: [&Series; 2]) -> Result<()> {
    let [first, second] = sides;
    output::data(table(first, second));
    let raw = json!({
        "what": what,
        "unit": "s",
        "order": "one of each side in turns",
        first.side: first.seconds,
        second.side: second.seconds,
    });
    let folder = workspace::root().join("docs/benchmarks");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, format!("{raw:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    output::note(format_args!("each measurement is in {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared_and_the_spread_is_shown() {
        let series = |side, seconds: &[f64]| Series {
            side,
            seconds: seconds.to_vec(),
        };
        let shown = table(
            &series("inside", &[3.0, 1.0, 2.0]),
            &series("host", &[1.0, 1.0, 4.0]),
        );
        assert!(
            shown.contains("| inside | 2.00 | 2.00–3.00 | 1.00–3.00 |"),
            "{shown}"
        );
        assert!(shown.contains("2.00 times"), "{shown}");
    }
}
