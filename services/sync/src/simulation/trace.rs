//! What was asked of API servers: a hash of all, and the last in full.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::store::Call;
use super::world::Target;

/// Lines that are kept.
const KEPT: usize = 400;

/// The requests so far.
#[derive(Debug)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    requests: u64,
    lines: VecDeque<String>,
    kept: usize,
}

impl Trace {
    /// Makes it empty; keeps every line if `all`.
    pub(super) fn new(all: bool) -> Self {
        Self {
            hasher: DefaultHasher::new(),
            requests: 0,
            lines: VecDeque::new(),
            kept: if all { usize::MAX } else { KEPT },
        }
    }

    pub(super) fn add(
        &mut self,
        at: Duration,
        process: usize,
        target: Target,
        call: &Call,
        code: u16,
        is_late: bool,
    ) {
        self.requests += 1;
        let body = if call.body.is_null() {
            String::new()
        } else {
            call.body.to_string()
        };
        let what = (call.method.as_str(), &call.path, &body, code);
        (at, process, target_number(target), what).hash(&mut self.hasher);
        if call.path.contains("/leases") {
            return;
        }
        let late = if is_late { " (late)" } else { "" };
        let (method, path) = (&call.method, &call.path);
        let body: String = body.chars().take(300).collect();
        self.note(
            at,
            format_args!("{process} {target:?} {method} {path} {code}{late} {body}"),
        );
    }

    /// Adds a line that is no request.
    pub(super) fn note(&mut self, at: Duration, line: fmt::Arguments<'_>) {
        self.lines
            .push_back(format!("{:9.3} {line}", at.as_secs_f64()));
        if self.lines.len() > self.kept {
            self.lines.pop_front();
        }
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// What all of them come to.
    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last of them.
    pub(super) fn lines(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

fn target_number(target: Target) -> usize {
    match target {
        Target::Host => 0,
        Target::Virtual(number) => number + 1,
    }
}
