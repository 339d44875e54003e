//! A tenant's allowance of requests: so many at once, so many per second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::guard::{self, Guard};

/// A token bucket.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// Makes a full one that holds `burst` and fills by `rate` per second.
    pub fn new(rate: u32, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            rate: f64::from(rate.max(1)),
            burst,
            state: Mutex::new((burst, Instant::now())),
        }
    }

    /// Takes one if there is one.
    pub fn try_take(&self) -> bool {
        self.take_or_wait(false).is_none()
    }

    /// Takes one, as soon as there is one. Those who wait are served in the order in which they came.
    pub async fn take(&self) {
        if let Some(wait) = self.take_or_wait(true) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes one; if there is none, tells how long until there is, and takes that one if `ahead`.
    fn take_or_wait(&self, ahead: bool) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (left, since) = *state;
        let left = (left + now.duration_since(since).as_secs_f64() * self.rate).min(self.burst);
        let enough = left >= 1.0;
        let left = if enough || ahead { left - 1.0 } else { left };
        *state = (left, now);
        (!guard::passes(Guard::Allowance, enough))
            .then(|| Duration::from_secs_f64((-left).max(0.0) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let bucket = Bucket::new(10, 5);
        let begun = Instant::now();
        for _ in 0..15 {
            bucket.take().await;
        }
        let passed = begun.elapsed().as_millis();
        assert!((990..=1020).contains(&passed), "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn trying_costs_nothing_when_empty() {
        let bucket = Bucket::new(1, 1);
        assert!(bucket.try_take());
        for _ in 0..100 {
            assert!(!bucket.try_take());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(bucket.try_take());
    }
}
