//! A tenant's allowance of requests: so many at once, so many per second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::guard::{self, Guard};

/// How long an allowance must have been too small, with at most [`LULL`] between two waits, to be called so.
const LONG: Duration = Duration::from_secs(10);
const LULL: Duration = Duration::from_secs(30);

/// A token bucket.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is left; below zero is what has been taken ahead.
    left: f64,
    since: Instant,
    /// From the first wait to the last of those that followed each other.
    short: Option<(Instant, Instant)>,
}

impl Bucket {
    /// Makes a full one that holds `burst` and fills by `rate` per second.
    pub fn new(rate: u32, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            rate: f64::from(rate.max(1)),
            burst,
            state: Mutex::new(State {
                left: burst,
                since: Instant::now(),
                short: None,
            }),
        }
    }

    /// Takes one if there is one.
    pub fn try_take(&self) -> bool {
        self.take_or_wait(false).is_none()
    }

    /// Takes one, as soon as there is one; tells whether that took time. Those who wait are served in the order in
    /// which they came.
    pub async fn take(&self) -> bool {
        let wait = self.take_or_wait(true);
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        wait.is_some()
    }

    /// Whether it has been too small for a while.
    pub fn is_short(&self) -> bool {
        let short = self.locked().short;
        short.is_some_and(|(first, last)| last >= first + LONG && last.elapsed() < LULL)
    }

    /// Takes one; if there is none, tells how long until there is, and takes that one if `ahead`.
    fn take_or_wait(&self, ahead: bool) -> Option<Duration> {
        let mut state = self.locked();
        let now = Instant::now();
        let filled = now.duration_since(state.since).as_secs_f64() * self.rate;
        let left = (state.left + filled).min(self.burst);
        let enough = left >= 1.0;
        let left = if enough || ahead { left - 1.0 } else { left };
        if !enough {
            let follows = |(_, last): &(Instant, Instant)| now < *last + LULL;
            let first = state.short.filter(follows).map_or(now, |(first, _)| first);
            state.short = Some((first, now));
        }
        (state.left, state.since) = (left, now);
        (!guard::passes(Guard::Allowance, enough))
            .then(|| Duration::from_secs_f64((-left).max(0.0) / self.rate))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn it_is_called_short_when_it_has_been_so_for_a_while_and_until_a_lull() {
        let bucket = Bucket::new(10, 5);
        for _ in 0..100 {
            bucket.take().await;
        }
        assert!(!bucket.is_short(), "a burst is none");
        for _ in 0..20 {
            bucket.take().await;
        }
        assert!(bucket.is_short());
        tokio::time::advance(LULL).await;
        assert!(!bucket.is_short());
        for _ in 0..10 {
            bucket.take().await;
        }
        assert!(!bucket.is_short(), "it begins anew");
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
