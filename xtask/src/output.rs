//! The only place that prints: data to stdout, everything a person reads to stderr.
//!
//! Errors on the streams are ignored: a closed pipe is no reason to leave a cluster half up.

use std::{
    fmt,
    io::{self, Write as _},
};

use crate::wait::Stopwatch;

/// Writes one line of data to stdout.
pub fn data(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes one line for a person to stderr.
pub fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Steps of a long command on stderr, each with the seconds since the command began.
#[derive(Debug)]
pub struct Progress {
    since: Stopwatch,
}

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self {
            since: Stopwatch::start(),
        }
    }

    /// Says that `what` is done, or now begins.
    pub fn step(&self, what: impl fmt::Display) {
        note(format_args!("{:6.1} s  {what}", self.since.seconds()));
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.since.seconds()
    }
}
