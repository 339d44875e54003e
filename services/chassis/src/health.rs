//! Readiness as a set of named gates.
//!
//! Each part of a service that must be up before traffic may come takes a [`Gate`]. The process is
//! ready when every gate is open and no drain has begun; it says which gate is closed and why. Health
//! decides nothing: probes and gRPC health only read it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::drain::Shutdown;

/// The readiness of the process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    gates: Mutex<BTreeMap<&'static str, GateState>>,
    ready: watch::Sender<bool>,
    shutdown: Shutdown,
}

/// Whether a gate lets traffic through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// This part is up.
    Open,
    /// This part is not up, for the reason given.
    Closed(String),
}

/// What a probe sees: every gate by name, and whether the process drains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Gates in alphabetical order.
    pub gates: Vec<(&'static str, GateState)>,
    /// Whether shutdown has begun.
    pub draining: bool,
}

impl Report {
    /// Whether traffic may come.
    pub fn is_ready(&self) -> bool {
        !self.draining
            && self
                .gates
                .iter()
                .all(|(_, state)| *state == GateState::Open)
    }
}

impl Health {
    /// Makes health without gates: ready until the shutdown begins.
    pub fn new(shutdown: &Shutdown) -> Self {
        let inner = Inner {
            gates: Mutex::new(BTreeMap::new()),
            ready: watch::Sender::new(true),
            shutdown: shutdown.clone(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Adds a closed gate. Taking the same name twice gives two handles of one gate.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.gates()
            .entry(name)
            .or_insert_with(|| GateState::Closed("not started".to_owned()));
        self.publish();
        Gate {
            name,
            health: self.clone(),
        }
    }

    /// Tells the state of every gate.
    pub fn report(&self) -> Report {
        let gates = self
            .gates()
            .iter()
            .map(|(name, state)| (*name, state.clone()))
            .collect();
        Report {
            gates,
            draining: self.inner.shutdown.has_begun(),
        }
    }

    /// Whether traffic may come.
    pub fn is_ready(&self) -> bool {
        self.report().is_ready()
    }

    /// Whether the process should go on living: false once a vital task has panicked.
    pub fn is_live(&self) -> bool {
        !self.inner.shutdown.has_failed()
    }

    /// Follows whether every gate is open. A drain does not show here; watch the shutdown token.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.inner.ready.subscribe()
    }

    fn gates(&self) -> MutexGuard<'_, BTreeMap<&'static str, GateState>> {
        // A map insert cannot be left half done, so a poisoned lock still guards a good map.
        self.inner
            .gates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) {
        // Computed while the sender's own lock is held, so that two publishers cannot overtake one
        // another and leave an old value behind.
        self.inner.ready.send_if_modified(|ready| {
            let now = self.gates().values().all(|state| *state == GateState::Open);
            std::mem::replace(ready, now) != now
        });
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.report()).finish()
    }
}

/// One condition of readiness. Cloned handles move the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    name: &'static str,
    health: Health,
}

impl Gate {
    /// Lets traffic through, as far as this gate is concerned.
    pub fn open(&self) {
        self.set(&GateState::Open);
    }

    /// Holds traffic back; `reason` is what /readyz shows, so it holds no secret.
    pub fn close(&self, reason: impl Into<String>) {
        self.set(&GateState::Closed(reason.into()));
    }

    fn set(&self, next: &GateState) {
        let previous = self.health.gates().insert(self.name, next.clone());
        if previous.as_ref() != Some(next) {
            tracing::info!(gate = self.name, from = ?previous, to = ?next, "readiness gate moved");
            self.health.publish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_ready_when_every_gate_is_open() {
        let health = Health::new(&Shutdown::new());
        assert!(health.is_ready());
        let (first, second) = (health.gate("first"), health.gate("second"));
        assert!(!health.is_ready());
        first.open();
        assert!(!health.is_ready());
        second.open();
        assert!(health.is_ready());
        first.close("lost its watch");
        assert_eq!(
            health.report().gates,
            [
                ("first", GateState::Closed("lost its watch".into())),
                ("second", GateState::Open)
            ]
        );
    }

    #[test]
    fn a_drain_ends_readiness_but_not_life() {
        let shutdown = Shutdown::new();
        let health = Health::new(&shutdown);
        shutdown.begin("test");
        assert!(!health.is_ready());
        assert!(health.is_live());
    }

    #[test]
    fn subscribers_see_gates_move() {
        let health = Health::new(&Shutdown::new());
        let ready = health.subscribe();
        let gate = health.gate("store");
        assert!(!*ready.borrow());
        gate.open();
        assert!(*ready.borrow());
    }
}
