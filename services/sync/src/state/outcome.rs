//! What came of the last looks at an object: nothing left to do, a patch that was sent, a problem that was told.

use std::time::Duration;

use tokio::time::Instant;
use vcluster_translate::Patch;
use vcluster_translate::digest::Digest;

use super::entry::Sent;
use super::{Problem, State};
use crate::object::{Key, Side};

impl State {
    /// Nothing is left to do about these versions.
    pub fn settle(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.settled = Some(entry.versions());
            entry.problem = None;
            entry.told = None;
            entry.sent = None;
        }
    }

    /// Takes note of a patch that a server took.
    pub fn set_sent(&mut self, side: Side, key: &Key, patch: &Patch) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.sent = Some(Sent {
                side,
                subresource: patch.subresource,
                body: Digest::of(&patch.body),
                at: Instant::now(),
            });
        }
    }

    /// Whether this is the very patch that the server took last, less than `pause` ago, and there has been something
    /// left to do ever since: the server does not keep it.
    pub fn is_unkept(&self, side: Side, key: &Key, patch: &Patch, pause: Duration) -> bool {
        let sent = self.entries.get(key).and_then(|entry| entry.sent.as_ref());
        sent.is_some_and(|sent| {
            sent.side == side
                && sent.at.elapsed() < pause
                && sent.subresource == patch.subresource
                && sent.body == Digest::of(&patch.body)
        })
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
