//! Tenants whose keys wait although they could be handed out: their API server is not to be asked for a while.

use std::hash::Hash;

use tokio::time::Instant;

use super::{Queue, Ticket};

/// How a tenant is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing is handed out.
    Until(Instant),
    /// One key at a time is handed out, to see whether it works again.
    Probing,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Hands out nothing of a tenant until then, and after that one key at a time, until [`Self::resume`].
    pub fn pause(&mut self, tenant: Ticket, until: Instant) {
        let Some(state) = self.tenants.get_mut(&tenant) else {
            return;
        };
        if let Some(Pause::Until(at)) = state.pause.replace(Pause::Until(until)) {
            self.pauses.remove(&(at, tenant));
        }
        self.pauses.insert((until, tenant));
    }

    /// Hands out a tenant's keys as ever.
    pub fn resume(&mut self, tenant: Ticket) {
        let Some(state) = self.tenants.get_mut(&tenant) else {
            return;
        };
        if let Some(Pause::Until(at)) = state.pause.take() {
            self.pauses.remove(&(at, tenant));
        }
        self.enter_ring(tenant);
    }

    /// Ends the pauses that are over; tells when the next one is.
    pub(super) fn end_pauses(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, tenant)) = self.pauses.first().copied() {
            if at > now {
                return Some(at);
            }
            self.pauses.pop_first();
            if let Some(state) = self.tenants.get_mut(&tenant) {
                state.pause = Some(Pause::Probing);
            }
            self.enter_ring(tenant);
        }
        None
    }
}
