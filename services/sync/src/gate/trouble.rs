//! Whether failures are a server's trouble or one tenant's. Data.

use std::time::Duration;

use tokio::time::Instant;

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// The failures of the last moment; `W` tells whose they are.
#[derive(Debug)]
pub(super) struct Trouble<W> {
    since: Option<Instant>,
    answered: u32,
    failed: u32,
    first: Option<W>,
    others: bool,
}

impl<W> Default for Trouble<W> {
    fn default() -> Self {
        Self {
            since: None,
            answered: 0,
            failed: 0,
            first: None,
            others: false,
        }
    }
}

impl<W: PartialEq> Trouble<W> {
    /// A request was answered.
    pub(super) fn none(&mut self, now: Instant) {
        self.begin(now);
        self.answered += 1;
    }

    /// A request failed. Tells whether that is the server's trouble: it fails more than one, or fails mostly. One
    /// tenant's requests may hang, be too large or meet a limit of its own.
    pub(super) fn of(&mut self, whose: W, now: Instant) -> bool {
        self.begin(now);
        self.failed += 1;
        match &self.first {
            Some(first) => self.others |= *first != whose,
            None => self.first = Some(whose),
        }
        self.others || self.failed > self.answered
    }

    fn begin(&mut self, now: Instant) {
        if self.since.is_none_or(|since| now >= since + WINDOW) {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_s_failures_beside_others_answers_are_its_own() {
        let now = Instant::now();
        let mut trouble = Trouble::default();
        assert!(trouble.of(1, now), "nobody was answered");
        for _ in 0..3 {
            trouble.none(now);
        }
        assert!(!trouble.of(1, now));
        assert!(trouble.of(2, now), "another fails too");
        let later = now + WINDOW;
        trouble.none(later);
        assert!(!trouble.of(2, later), "what was long ago does not count");
        assert!(trouble.of(2, later), "most fail");
    }
}
