//! Quantities of CPU and memory as metrics servers write them, to add them up.

use std::iter::Sum;
use std::ops::Add;

use serde_json::{Value, json};

use super::part::Quantities;

/// What containers use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Billionths of a CPU.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

impl Usage {
    /// Reads what was measured; what is no quantity counts as nothing.
    pub(super) fn read(usage: &Quantities) -> Self {
        let quantity = |text: &Option<String>| text.as_deref().and_then(nanos).unwrap_or_default();
        let whole = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
        Self {
            cpu: whole(quantity(&usage.cpu)),
            memory: whole(quantity(&usage.memory).div_ceil(BILLION)),
        }
    }

    /// The same as metrics servers write it.
    pub fn to_json(self) -> Value {
        json!({
            "cpu": format!("{}n", self.cpu),
            "memory": format!("{}Ki", self.memory.div_ceil(1024)),
        })
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

const BILLION: u128 = 1_000_000_000;

/// Units by their suffixes, in billionths; the longer ones first.
const UNITS: [(&str, u128); 15] = [
    ("Ki", BILLION << 10),
    ("Mi", BILLION << 20),
    ("Gi", BILLION << 30),
    ("Ti", BILLION << 40),
    ("Pi", BILLION << 50),
    ("Ei", BILLION << 60),
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("k", BILLION * 1_000),
    ("M", BILLION * 1_000_000),
    ("G", BILLION * BILLION),
    ("T", BILLION * BILLION * 1_000),
    ("P", BILLION * BILLION * 1_000_000),
    ("E", BILLION * BILLION * BILLION),
];

/// A quantity in billionths.
fn nanos(quantity: &str) -> Option<u128> {
    let of_unit = |(suffix, unit): &(&str, u128)| Some((quantity.strip_suffix(suffix)?, *unit));
    let (number, unit) = UNITS
        .iter()
        .find_map(of_unit)
        .unwrap_or((quantity, BILLION));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // Longer ones are no measurements.
    if whole.len() > 18 || fraction.len() > 9 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(digits.checked_mul(unit)? / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_every_unit_are_read() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(BILLION)),
            ("12345n", Some(12345)),
            ("7u", Some(7_000)),
            ("250m", Some(250_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("2Ki", Some(2048 * BILLION)),
            ("1Mi", Some((1 << 20) * BILLION)),
            ("1k", Some(1000 * BILLION)),
            ("", None),
            ("-1", None),
            ("1e3", None),
            ("x", None),
            ("1x", None),
            ("9999999999999999999", None),
        ] {
            assert_eq!(nanos(text), expected, "{text:?}");
        }
    }

    #[test]
    fn usage_adds_up_and_is_written_as_metrics_servers_do() {
        let usage: Usage = [
            json!({"cpu": "250m", "memory": "10Mi"}),
            json!({"cpu": "1500n", "memory": "1"}),
            json!({"memory": "much"}),
        ]
        .into_iter()
        .map(|usage| Usage::read(&serde_json::from_value(usage).unwrap()))
        .sum();
        assert_eq!(
            usage.to_json(),
            json!({"cpu": "250001500n", "memory": "10241Ki"})
        );
    }
}
