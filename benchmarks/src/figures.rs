//! Medians, spread and slopes. Pure.

use serde_json::{Value, json};

/// The value below which this share of the measurements lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index among thousands of measurements"
    )]
    let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The arithmetic mean.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / number(values.len())
}

/// Median with the least and the most: `1.00 (0.90–1.20)`.
pub(crate) fn spread(values: &[f64]) -> String {
    let [least, median, most] = [0.0, 0.5, 1.0].map(|share| quantile(values, share));
    format!("{median:.2} ({least:.2}–{most:.2})")
}

/// Median, spread and each measurement, for the report.
pub(crate) fn series(values: &[f64]) -> Value {
    let [least, median, p99, most] = [0.0, 0.5, 0.99, 1.0].map(|share| quantile(values, share));
    json!({"n": values.len(), "min": least, "median": median, "p99": p99, "max": most})
}

/// How much y grows with x, by least squares.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let (x, y) = (mean(&xs), mean(&ys));
    let both: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let alone: f64 = xs.iter().map(|each| (each - x).powi(2)).sum();
    both / alone
}

/// Jain's index of fairness: 1 if all are alike, 1/n if one has everything.
pub(crate) fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (number(values.len()) * squares)
}

/// A count as a number to divide by.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^52"
)]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "the memory of a process")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_found_through_noise_free_points() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn fairness_is_one_for_equals_and_small_for_one_who_has_all() {
        assert!((jain(&[2.0, 2.0, 2.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[3.0, 0.0, 0.0]) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn quantiles_pass_over_what_was_not_measured() {
        let values = [3.0, f64::NAN, 1.0, 2.0];
        assert!((median(&values) - 2.0).abs() < 1e-9);
        assert!(spread(&values).starts_with("2.00 (1.00–3.00)"));
    }
}
