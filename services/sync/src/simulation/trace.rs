//! What was asked of API servers: a hash of all, and in full if that is wanted.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::store::Call;
use super::world::Target;

/// The requests so far.
#[derive(Debug)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    requests: u64,
    /// What happened in full; nothing if that is not wanted.
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Makes it empty; with every line in full if `all`.
    pub(super) fn new(all: bool) -> Self {
        Self {
            hasher: DefaultHasher::new(),
            requests: 0,
            lines: all.then(Vec::new),
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
        let what = (call.method.as_str(), &call.path, &call.sent, code);
        (at, process, target_number(target), what).hash(&mut self.hasher);
        if self.lines.is_none() || call.path.contains("/leases") {
            return;
        }
        let late = if is_late { " (late)" } else { "" };
        let (method, path) = (&call.method, &call.path);
        let body = String::from_utf8_lossy(&call.sent);
        let body: String = body.chars().take(300).collect();
        self.note(
            at,
            format_args!("{process} {target:?} {method} {path} {code}{late} {body}"),
        );
    }

    /// Adds a line that is no request.
    pub(super) fn note(&mut self, at: Duration, line: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:9.3} {line}", at.as_secs_f64()));
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

    /// All of them in full, if that is wanted.
    pub(super) fn lines(&self) -> String {
        self.lines
            .as_ref()
            .map(|lines| lines.join("\n"))
            .unwrap_or_default()
    }
}

fn target_number(target: Target) -> usize {
    match target {
        Target::Host => 0,
        Target::Virtual(number) => number + 1,
    }
}
