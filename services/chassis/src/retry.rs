//! Back-off as data, and one verdict per error of the Kubernetes client.
//!
//! Full jitter (the delay is uniform between nothing and the step) because callers that failed together
//! must not return together. The verdict is a total match: a new kind of error does not compile until
//! somebody has decided about it.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance;

/// How long to wait between attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Upper bound of the first delay.
    pub base: Duration,
    /// Growth of the bound per attempt.
    pub factor: f64,
    /// Upper bound of every delay.
    pub cap: Duration,
}

impl Default for Policy {
    /// 100 ms, doubling, at most 30 s.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            factor: 2.0,
            cap: Duration::from_secs(30),
        }
    }
}

impl Policy {
    /// The largest delay before attempt `attempt + 1`; the first attempt is number 0.
    pub fn bound(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let seconds = self.base.as_secs_f64() * self.factor.powi(exponent);
        // Infinity and NaN come out as errors, and mean the cap.
        Duration::try_from_secs_f64(seconds).map_or(self.cap, |delay| delay.min(self.cap))
    }

    /// The delay for a draw of chance between 0 and 1.
    pub fn delay_at(&self, attempt: u32, chance: f64) -> Duration {
        self.bound(attempt).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// The delay before attempt `attempt + 1`, with full jitter.
    pub fn delay(&self, attempt: u32) -> Duration {
        self.delay_at(attempt, chance::draw())
    }
}

/// Whether doing the same again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, after a delay of the caller's policy.
    Retry,
    /// Yes, and the other side says when.
    RetryAfter(Duration),
    /// No: the same request gets the same answer.
    Never,
}

/// Judges an error of the Kubernetes client.
///
/// A conflict is `Never`: the same request conflicts again; who wants to write must read first.
pub fn verdict(error: &kube::Error) -> Verdict {
    match error {
        kube::Error::Api(status) => verdict_of_status(status),
        // The connection broke, or a deadline of ours passed: the request may or may not have happened.
        kube::Error::HyperError(_)
        | kube::Error::Service(_)
        | kube::Error::ReadEvents(_)
        // A token file that is being replaced, or an exec plugin that failed once.
        | kube::Error::Auth(_) => Verdict::Retry,
        // The answer could not be read, or the request not be built.
        kube::Error::FromUtf8(_)
        | kube::Error::LinesCodecMaxLineLengthExceeded
        | kube::Error::SerdeError(_)
        | kube::Error::HttpError(_)
        | kube::Error::BuildRequest(_)
        // The configuration is wrong.
        | kube::Error::ProxyProtocolUnsupported { .. }
        | kube::Error::ProxyProtocolDisabled { .. }
        | kube::Error::InferConfig(_)
        | kube::Error::InferKubeconfig(_)
        | kube::Error::Discovery(_)
        | kube::Error::RustlsTls(_)
        | kube::Error::TlsRequired => Verdict::Never,
    }
}

fn verdict_of_status(status: &kube::core::Status) -> Verdict {
    let after = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    match status.code {
        408 | 429 | 500 | 502 | 503 | 504 if after > 0 => {
            Verdict::RetryAfter(Duration::from_secs(u64::from(after)))
        }
        408 | 429 | 500 | 502 | 503 | 504 => Verdict::Retry,
        // Codes are an open set; everything else the API server means.
        0..=407 | 409..=428 | 430..=499 | 501 | 505.. => Verdict::Never,
    }
}

/// Runs `operation` until it succeeds, `verdict` says never, or the next attempt would begin after
/// `deadline`; the last error is returned. An attempt that is under way is not cut off.
pub async fn until<T, E, F>(
    policy: Policy,
    deadline: Instant,
    verdict: impl Fn(&E) -> Verdict,
    mut operation: F,
) -> Result<T, E>
where
    F: AsyncFnMut() -> Result<T, E>,
{
    let mut attempt = 0;
    loop {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let delay = match verdict(&error) {
            Verdict::Retry => policy.delay(attempt),
            // Jitter on top, or everybody who was told the same comes at once.
            Verdict::RetryAfter(delay) => delay + policy.delay(0),
            Verdict::Never => return Err(error),
        };
        if Instant::now() + delay > deadline {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kube::core::Status;

    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let policy = Policy::default();
        let bounds: Vec<_> = (0..4)
            .map(|attempt| policy.bound(attempt).as_millis())
            .collect();
        assert_eq!(bounds, [100, 200, 400, 800]);
        for attempt in [9, 64, 2000, u32::MAX] {
            assert_eq!(policy.bound(attempt), policy.cap);
        }
    }

    #[test]
    fn a_delay_lies_between_nothing_and_the_bound() {
        let policy = Policy::default();
        assert_eq!(policy.delay_at(3, 0.0), Duration::ZERO);
        assert_eq!(policy.delay_at(3, 1.0), policy.bound(3));
        assert!((0..100).all(|_| policy.delay(3) <= policy.bound(3)));
    }

    #[test]
    fn api_errors_are_judged_by_their_code() {
        let cases = [
            (400, Verdict::Never),
            (401, Verdict::Never),
            (403, Verdict::Never),
            (404, Verdict::Never),
            (408, Verdict::Retry),
            (409, Verdict::Never),
            (410, Verdict::Never),
            (422, Verdict::Never),
            (429, Verdict::Retry),
            (500, Verdict::Retry),
            (501, Verdict::Never),
            (503, Verdict::Retry),
            (504, Verdict::Retry),
        ];
        for (code, expected) in cases {
            let status = Status::failure("", "").with_code(code);
            assert_eq!(
                verdict(&kube::Error::Api(status.boxed())),
                expected,
                "{code}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_ends_at_success() {
        let calls = Cell::new(0);
        let deadline = Instant::now() + Duration::from_mins(1);
        let result = until(
            Policy::default(),
            deadline,
            |(): &()| Verdict::Retry,
            async || {
                calls.set(calls.get() + 1);
                if calls.get() < 3 {
                    Err(())
                } else {
                    Ok(calls.get())
                }
            },
        );
        assert_eq!(result.await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_does_not_begin_after_the_deadline() {
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(5);
        let verdict = |(): &()| Verdict::RetryAfter(Duration::from_secs(2));
        let result = until(Policy::default(), deadline, verdict, async || {
            Err::<(), ()>(())
        });
        assert_eq!(result.await, Err(()));
        assert!(begun.elapsed() <= Duration::from_secs(5));
    }
}
