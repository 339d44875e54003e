//! W3C trace context: one trace per client.
//!
//! A client records no spans. In a trace that it joins, the services' spans hang directly below the
//! caller's, so that every link leads to a span that somebody has recorded.

use std::{fmt, str::FromStr};

/// The flag that says that the caller's span is recorded.
const SAMPLED: u8 = 1;

/// A trace, passed on to the services so that their spans join it. Shown as its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    /// Whose trace it is, unless it is ours.
    caller: Option<Caller>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Caller {
    span: u64,
    flags: u8,
}

/// The text is not a `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent (00-TRACE-SPAN-FLAGS)")]
pub struct Malformed;

impl Trace {
    /// A new trace.
    pub fn random() -> Self {
        loop {
            let id = rand::random();
            // All zero means "none" in the standard.
            if id != 0 {
                return Self { id, caller: None };
            }
        }
    }

    /// Value of the `traceparent` header for a call in this trace. In a trace that was joined it is
    /// the caller's own; in a new one `span` names the call, and it is sampled.
    pub fn traceparent(self, span: u64) -> String {
        let Caller { span, flags } = self.caller.unwrap_or_else(|| Caller {
            span: span.max(1),
            flags: SAMPLED,
        });
        format!("00-{self}-{span:016x}-{flags:02x}")
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

impl FromStr for Trace {
    type Err = Malformed;

    /// The trace of a `traceparent`, to be joined.
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
        let (id, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let span = u64::try_from(span).ok().filter(|span| *span != 0);
        match (id, span, u8::try_from(flags)) {
            (1.., Some(span), Ok(flags)) => Ok(Self {
                id,
                caller: Some(Caller { span, flags }),
            }),
            (_, None | Some(_), Ok(_) | Err(_)) => Err(Malformed),
        }
    }
}

/// The number that so many lowercase digits say.
fn hex(text: &str, digits: usize) -> Result<u128, Malformed> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(is_digit) {
        return Err(Malformed);
    }
    u128::from_str_radix(text, 16).ok().ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_trace_names_its_call_and_is_sampled() {
        let trace = Trace::random();
        assert_eq!(
            trace.traceparent(7),
            format!("00-{trace}-0000000000000007-01")
        );
    }

    #[test]
    fn in_a_joined_trace_the_caller_stays_the_parent_and_decides_on_sampling() {
        for flags in ["00", "01"] {
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let trace: Trace = parent.parse().unwrap();
            assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(trace.traceparent(7), parent);
        }
    }

    #[test]
    fn malformed_parents_are_refused() {
        for text in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<Trace>(), Err(Malformed), "{text}");
        }
    }
}
