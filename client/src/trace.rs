//! W3C trace context: one trace per client, one span id per try.

use std::{fmt, str::FromStr};

/// Identity of a trace, passed on to the services so that their spans join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The text is not a `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent (00-TRACE-SPAN-FLAGS)")]
pub struct Malformed;

impl TraceId {
    /// A new trace.
    pub fn random() -> Self {
        loop {
            let id: [u8; 16] = rand::random();
            // All zero means "none" in the standard.
            if id != [0; 16] {
                return Self(id);
            }
        }
    }

    /// Value of the `traceparent` header for a call in this trace, sampled.
    pub fn traceparent(self, span: u64) -> String {
        format!("00-{self}-{:016x}-01", span.max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for TraceId {
    type Err = Malformed;

    /// The trace of a `traceparent`.
    fn from_str(traceparent: &str) -> Result<Self, Malformed> {
        let mut parts = traceparent.split('-');
        let (Some("00"), Some(trace), Some(span), Some(flags), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(Malformed);
        };
        let hex = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return Err(Malformed);
        }
        match u128::from_str_radix(trace, 16) {
            Ok(0) | Err(_) => Err(Malformed),
            Ok(id) => Ok(Self(id.to_be_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_gives_its_trace_back() {
        let id = TraceId::random();
        assert_eq!(id.traceparent(7).parse(), Ok(id));
    }

    #[test]
    fn malformed_parents_are_refused() {
        for text in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceId>(), Err(Malformed), "{text}");
        }
    }
}
