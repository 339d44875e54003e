//! Deadlines, polling and stopwatches: the crate's only view of the clock.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the lints are for async services; this crate has plain threads and no tokio"
)]

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often [`Deadline::poll`] asks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Measures from its creation.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// A point in time by which something must have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    total: Duration,
}

impl Deadline {
    /// `seconds` from now.
    pub fn seconds(seconds: u64) -> Self {
        let total = Duration::from_secs(seconds);
        Self {
            at: Instant::now() + total,
            total,
        }
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// What is left, in whole seconds, at least one: a `--timeout` for other programs.
    pub fn left(&self) -> u64 {
        self.at
            .saturating_duration_since(Instant::now())
            .as_secs()
            .max(1)
    }

    /// Asks until the answer is `Some`, or fails with "`what`: not within N s".
    ///
    /// # Errors
    /// The question's own error ends the wait at once.
    pub fn poll<T>(
        &self,
        what: impl fmt::Display,
        mut ask: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if self.passed() {
                bail!("{what}: not within {} s", self.total.as_secs());
            }
            thread::sleep(INTERVAL);
        }
    }
}

/// Waits one polling interval, for loops that end with a signal and not with a deadline.
pub fn pause() {
    thread::sleep(INTERVAL * 4);
}
