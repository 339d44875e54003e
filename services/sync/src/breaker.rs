//! A circuit breaker, as data: whether a server is asked at all.
//!
//! Closed, every request goes. After so many failures with no good answer between them it opens: nothing goes until a
//! time that doubles with each opening, with jitter. Then one request goes as a probe; its failure opens the breaker
//! again, and any good answer closes it. How requests of before fail, however late, does not count.
//!
//! Of a server that many tenants use, failures count only if they come to more than one of them: one tenant's requests
//! may fail for reasons of its own, such as a webhook that does not answer.

use std::time::Duration;

use tokio::time::Instant;
use vcluster_chassis::retry::Policy;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// How long it stays open.
const PAUSE: Policy = Policy {
    base: Duration::from_secs(1),
    factor: 2.0,
    cap: Duration::from_secs(30),
};
/// The least part of a pause: the rest is chance.
const LEAST: f64 = 0.5;
/// How long a probe may be under way before another one goes.
const PROBE: Duration = Duration::from_secs(35);
/// When those ask again who met a probe under way.
const SOON: Duration = Duration::from_secs(1);

/// The leave to send one request, by which its end is told from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// How often the breaker had changed when it was given.
    changes: u64,
    is_probe: bool,
}

/// A breaker; `W` tells whose requests they are.
#[derive(Debug)]
pub struct Breaker<W> {
    state: State<W>,
    changes: u64,
    /// Whether failures must come to more than one.
    shared: bool,
}

#[derive(Debug)]
enum State<W> {
    Closed {
        failures: u32,
        /// Whose was the first of them, and whether others failed too.
        first: Option<W>,
        others: bool,
    },
    Open {
        until: Instant,
        openings: u32,
    },
    Probing {
        since: Instant,
        openings: u32,
    },
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has opened, until then.
    Opened(Instant),
    /// It has closed.
    Closed,
}

impl<W: PartialEq> Breaker<W> {
    /// Makes one that is closed.
    pub fn new(shared: bool) -> Self {
        Self {
            state: State::closed(),
            changes: 0,
            shared,
        }
    }

    /// Whether a request may go; if not, when to ask again. One that may go has to be followed by [`Self::succeeded`],
    /// [`Self::failed`] or [`Self::unknown`].
    pub fn ask(&mut self, now: Instant) -> Result<Leave, Duration> {
        match self.state {
            State::Closed { .. } => Ok(self.leave(false)),
            State::Open { .. } | State::Probing { .. } if !self.left(now).is_zero() => {
                Err(self.left(now))
            }
            State::Open { openings, .. } | State::Probing { openings, .. } => {
                self.turn(State::Probing {
                    since: now,
                    openings,
                });
                Ok(self.leave(true))
            }
        }
    }

    /// How long nothing goes yet.
    pub fn left(&self, now: Instant) -> Duration {
        match self.state {
            State::Open { until, .. } => until.saturating_duration_since(now),
            State::Probing { since, .. } if now < since + PROBE => SOON,
            State::Closed { .. } | State::Probing { .. } => Duration::ZERO,
        }
    }

    /// A good answer came.
    pub fn succeeded(&mut self) -> Option<Change> {
        if let State::Closed { .. } = self.state {
            self.state = State::closed();
            return None;
        }
        // It may be to an earlier request, which shows as well that the server works.
        self.turn(State::closed());
        Some(Change::Closed)
    }

    /// A request failed; `chance` is a draw between 0 and 1.
    pub fn failed(&mut self, leave: Leave, whose: W, now: Instant, chance: f64) -> Option<Change> {
        if leave.changes != self.changes {
            return None;
        }
        let openings = match &mut self.state {
            State::Closed {
                failures,
                first,
                others,
            } => {
                *failures += 1;
                match first {
                    Some(first) => *others |= *first != whose,
                    None => *first = Some(whose),
                }
                if *failures < FAILURES || (self.shared && !*others) {
                    return None;
                }
                0
            }
            // No leave is given then.
            State::Open { .. } => return None,
            State::Probing { openings, .. } => *openings,
        };
        let pause = PAUSE.bound(openings);
        let until = now + pause.mul_f64(LEAST + (1.0 - LEAST) * chance.clamp(0.0, 1.0));
        self.turn(State::Open {
            until,
            openings: openings.saturating_add(1),
        });
        Some(Change::Opened(until))
    }

    /// Nobody knows how a request ended, because nobody waited for it.
    pub fn unknown(&mut self, leave: Leave, now: Instant) {
        if let State::Probing { openings, .. } = self.state
            && leave.is_probe
            && leave.changes == self.changes
        {
            self.turn(State::Open {
                until: now,
                openings,
            });
        }
    }

    /// How often in a row it has opened; 0 if it is closed.
    pub fn openings(&self) -> u32 {
        match self.state {
            State::Closed { .. } => 0,
            State::Open { openings, .. } | State::Probing { openings, .. } => openings,
        }
    }

    fn leave(&self, is_probe: bool) -> Leave {
        Leave {
            changes: self.changes,
            is_probe,
        }
    }

    fn turn(&mut self, state: State<W>) {
        self.state = state;
        self.changes += 1;
    }
}

impl<W> State<W> {
    fn closed() -> Self {
        Self::Closed {
            failures: 0,
            first: None,
            others: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request after the other fails.
    fn fail(breaker: &mut Breaker<u8>, whose: &[u8], now: Instant) -> Option<Change> {
        let last = |_, whose: &u8| {
            let leave = breaker.ask(now).unwrap();
            breaker.failed(leave, *whose, now, 1.0)
        };
        whose.iter().fold(None, last)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_closes_it_or_opens_it_for_longer() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(false);
        assert_eq!(fail(&mut breaker, &[1; 4], now), None);
        assert_eq!(breaker.succeeded(), None);
        assert_eq!(fail(&mut breaker, &[1; 4], now), None);
        let earlier = breaker.ask(now).unwrap();
        let mut leave = earlier;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(seconds);
            let change = breaker.failed(leave, 1, now, 1.0);
            assert_eq!(change, Some(Change::Opened(now + pause)));
            assert_eq!(breaker.ask(now), Err(pause));
            now += pause;
            leave = breaker.ask(now).unwrap();
            let late = breaker.failed(earlier, 1, now, 1.0);
            assert_eq!(late, None, "a request of before says nothing of now");
            breaker.unknown(earlier, now);
            assert_eq!(breaker.ask(now), Err(SOON), "one probe");
        }
        assert_eq!(breaker.openings(), 7);
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert_eq!(breaker.openings(), 0);
        assert!(breaker.ask(now).is_ok());
    }

    #[test]
    fn a_probe_that_nobody_waited_for_is_followed_by_another() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(false);
        fail(&mut breaker, &[1; 5], now);
        now += Duration::from_secs(1);
        let probe = breaker.ask(now).unwrap();
        breaker.unknown(probe, now);
        assert!(breaker.ask(now).is_ok());
        assert!(breaker.ask(now + PROBE).is_ok(), "or it is lost");
    }

    #[test]
    fn what_fails_for_one_tenant_only_does_not_close_the_host_to_all() {
        let now = Instant::now();
        let mut breaker = Breaker::new(true);
        assert_eq!(fail(&mut breaker, &[1; 50], now), None);
        assert!(fail(&mut breaker, &[2], now).is_some());
    }

    #[test]
    fn pauses_have_jitter() {
        let now = Instant::now();
        for (chance, millis) in [(0.0, 500), (0.5, 750), (1.0, 1000)] {
            let mut breaker = Breaker::new(false);
            let leave = breaker.ask(now).unwrap();
            for _ in 0..4 {
                breaker.failed(leave, 1, now, chance);
            }
            let until = now + Duration::from_millis(millis);
            let change = breaker.failed(leave, 1, now, chance);
            assert_eq!(change, Some(Change::Opened(until)));
        }
    }
}
