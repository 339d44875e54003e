//! What came of the last looks at an object: nothing left to do, or a problem that was told.

use std::time::Duration;

use tokio::time::Instant;

use super::{Problem, State};
use crate::object::Key;

impl State {
    /// Nothing is left to do about these versions.
    pub fn settle(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.settled = Some(entry.versions());
            entry.problem = None;
            entry.told = None;
        }
    }

    /// Whether nothing was left to do and nothing has changed since.
    pub fn is_settled(&self, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            !entry.virtual_.doubted
                && !entry.host.doubted
                && entry.settled == Some(entry.versions())
        })
    }

    /// Says why an object is not as it should be; tells whether that was news.
    pub fn set_problem(&mut self, key: &Key, problem: Option<Problem>) -> bool {
        match self.entries.get_mut(key) {
            Some(entry) if entry.problem != problem => {
                entry.problem = problem;
                entry.told = None;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes note that the tenant was told of the problem.
    pub fn set_told(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.told = Some(Instant::now());
        }
    }

    /// Whether the tenant was told of the problem less than `pause` ago.
    pub fn is_told(&self, key: &Key, pause: Duration) -> bool {
        let told = self.entries.get(key).and_then(|entry| entry.told);
        told.is_some_and(|told| told.elapsed() < pause)
    }
}
