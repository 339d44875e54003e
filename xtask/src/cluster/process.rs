//! Processes known by pid *and* start time: a pid alone may be somebody else's by now.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// One process, for as long as this machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Clock ticks between boot and its start.
    start: u64,
}

impl Identity {
    /// The process that has `pid` now; `None` if none has, or only its exit status is left.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = parse(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, start })
    }

    /// Whether this very process still runs.
    pub(super) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether not even its exit status is left.
    pub(super) fn reaped(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.ok()
            .and_then(|stat| parse(&stat))
            .is_none_or(|(_, start)| start != self.start)
    }

    /// Sends the signal to this process and to no other: the file descriptor is bound to the
    /// process before its identity is compared, so the pid cannot change hands in between.
    pub(super) fn signal(self, signal: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(());
        };
        if !self.alive() {
            return Ok(());
        }
        match pidfd_send_signal(process, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal {}", self.pid)),
        }
    }
}

/// State and start time of a `/proc/<pid>/stat` (proc(5), fields 3 and 22). The program's name
/// before them may itself hold blanks and parentheses.
fn parse(stat: &str) -> Option<(char, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(parse(stat), Some(('S', 4242)));
    }

    #[test]
    fn we_are_ourselves_and_nobody_who_had_our_pid_before() {
        let us = Identity::of(id().cast_signed()).expect("we run");
        assert!(us.alive());
        assert!(
            !Identity {
                start: us.start + 1,
                ..us
            }
            .alive()
        );
    }

    #[test]
    fn a_process_that_only_waits_to_be_reaped_is_dead() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("started");
        let identity = Identity::of(child.id().cast_signed()).expect("it runs");
        identity.signal(Signal::KILL).expect("killed");
        while identity.alive() {
            std::thread::yield_now();
        }
        assert!(Identity::of(child.id().cast_signed()).is_none());
        assert!(!identity.reaped());
        child.wait().expect("reaped");
        assert!(identity.reaped());
        identity.signal(Signal::KILL).expect("nothing to do");
    }
}
