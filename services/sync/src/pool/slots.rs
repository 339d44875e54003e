//! Which connection a request goes to. No I/O.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::connection::{Connection, Sender};
use super::lease::Lease;

/// The connections of a pool and the streams that each has to give.
pub(super) struct Slots {
    limit: usize,
    state: Mutex<State>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    opening: bool,
}

/// Streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// What the server allows; none until it has said.
    pub(super) allowed: AtomicUsize,
    /// What is taken.
    pub(super) taken: AtomicUsize,
}

/// What a request is to do.
pub(super) enum Choice {
    /// Go on this connection.
    Use(Sender, Lease),
    /// Open another one first.
    Connect(Opening),
    /// Wait until something changes.
    Wait,
}

/// The right to open a connection; one request has it at a time.
pub(super) struct Opening {
    slots: Arc<Slots>,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            state: Mutex::default(),
            changed: Arc::default(),
        }
    }

    /// Ends when something has changed since this call.
    pub(super) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.changed).notified_owned()
    }

    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    pub(super) fn connections(&self) -> usize {
        self.locked().connections.len()
    }

    pub(super) fn choose(self: &Arc<Self>) -> Choice {
        let mut state = self.locked();
        state.tidy();
        let free = |connection: &&Connection| connection.streams.is_free();
        // The first that fits: the last ones fall idle and are closed.
        if let Some(connection) = state.connections.iter().find(free) {
            connection.streams.taken.fetch_add(1, Ordering::AcqRel);
            let lease = Lease::new(Arc::clone(self), Arc::clone(&connection.streams));
            return Choice::Use(connection.sender.clone(), lease);
        }
        // One that has not heard what it may use comes first: a burst must not open one for each.
        let unheard = state
            .connections
            .iter()
            .any(|connection| connection.streams.is_unheard());
        if unheard || state.opening || state.connections.len() >= self.limit {
            return Choice::Wait;
        }
        state.opening = true;
        Choice::Connect(Opening {
            slots: Arc::clone(self),
        })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops connections that are closed, and idle ones but for the first and one to spare.
    fn tidy(&mut self) {
        self.connections
            .retain(|connection| !connection.sender.is_closed());
        let mut idle = 0;
        self.connections.retain(|connection| {
            let is_idle = connection.streams.taken.load(Ordering::Acquire) == 0;
            idle += usize::from(is_idle);
            !is_idle || idle <= 2
        });
    }
}

impl Streams {
    fn is_unheard(&self) -> bool {
        self.allowed.load(Ordering::Acquire) == 0
    }

    fn is_free(&self) -> bool {
        self.taken.load(Ordering::Acquire) < self.allowed.load(Ordering::Acquire)
    }
}

impl Opening {
    /// Adds the connection, if there is one.
    pub(super) fn finish(self, opened: io::Result<Connection>) -> io::Result<()> {
        self.slots.locked().connections.push(opened?);
        Ok(())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.slots.locked().opening = false;
        self.slots.notify();
    }
}
