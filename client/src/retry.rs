//! Which failures are worth another try, and after how long.
//!
//! Every code has a verdict with its reason; a call has one deadline over all its tries, which is
//! the only limit to their number.

use std::time::Duration;

use tonic::Code;

use crate::Error;

/// Whether a call may be carried out twice without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A second run changes nothing: reads, deletes, creates with a request id.
    Idempotent,
    /// A second run might act on something that the first one made.
    Once,
}

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another try would end the same.
    Stop,
    /// Another try may succeed; the failed one may have been carried out.
    Repeat,
    /// Refused without being carried out, for now: another try only if the service says when.
    WhenTold,
}

/// The verdict on a code.
pub const fn verdict(code: Code) -> Verdict {
    match code {
        // The service is restarting, or the gateway cannot reach it.
        Code::Unavailable => Verdict::Repeat,
        // Either a rate limit, which comes with a delay, or a message that is too large.
        Code::ResourceExhausted => Verdict::WhenTold,
        // Not a failure.
        Code::Ok
        // Somebody asked for the end of the call.
        | Code::Cancelled
        // The deadline is one for all tries, so there is no time left.
        | Code::DeadlineExceeded
        // The state must be read again first, which only the caller can do.
        | Code::Aborted
        // The request, or the state it meets, is wrong and stays so.
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated
        // A bug, or something nobody classified: repeating hides it.
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss => Verdict::Stop,
    }
}

/// Delays between tries: doubling from `first` to `most`, each with full jitter of its upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Upper bound of the first delay.
    pub first: Duration,
    /// Upper bound of every delay.
    pub most: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            most: Duration::from_secs(3),
        }
    }
}

impl Policy {
    /// Delay after the failed try number `tries` (from 1); `random` is uniform in `0.0..1.0`.
    pub fn delay(&self, tries: u32, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1u32 << (tries.saturating_sub(1)).min(16));
        let bound = doubled.min(self.most);
        bound.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// How long to wait before the next try after `error`; `None` if there should be none.
    pub fn next(&self, error: &Error, effect: Effect, tries: u32, random: f64) -> Option<Duration> {
        if error.is_final_transport_failure() {
            return None;
        }
        match (error, verdict(error.code()), effect) {
            (Error::Credentials(_) | Error::Incomplete(_) | Error::Deadline { .. }, _, _)
            | (_, Verdict::Stop, _)
            | (_, Verdict::Repeat, Effect::Once) => None,
            (_, Verdict::Repeat, Effect::Idempotent) => Some(
                error
                    .rejection()
                    .and_then(|r| r.retry_after)
                    .unwrap_or_else(|| self.delay(tries, random)),
            ),
            (_, Verdict::WhenTold, Effect::Idempotent | Effect::Once) => {
                error.rejection().and_then(|r| r.retry_after)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Status;

    use super::*;

    fn rejected(status: Status) -> Error {
        Error::from_status(status, "https://gw")
    }

    #[test]
    fn only_harmless_calls_are_repeated_when_the_service_is_away() {
        let error = rejected(Status::unavailable("restarting"));
        let policy = Policy::default();
        assert!(policy.next(&error, Effect::Idempotent, 1, 0.0).is_some());
        assert!(policy.next(&error, Effect::Once, 1, 0.0).is_none());
    }

    #[test]
    fn a_refusal_is_final() {
        for code in 0..=16 {
            let code = Code::from_i32(code);
            let next = Policy::default().next(
                &rejected(Status::new(code, "x")),
                Effect::Idempotent,
                1,
                0.5,
            );
            assert_eq!(next.is_some(), code == Code::Unavailable, "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(tries in 1u32..1000, random in 0.0f64..1.0) {
            let policy = Policy::default();
            let delay = policy.delay(tries, random);
            prop_assert!(delay >= policy.first / 2);
            prop_assert!(delay <= policy.most);
        }
    }
}
