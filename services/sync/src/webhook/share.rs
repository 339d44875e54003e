//! What one tenant may ask of the webhook: so many reviews at once, so many writes to the host, and so many Services
//! that are made there and not stored yet. All of that per replica of sync, as each answers for every tenant, and from
//! zero after a restart: with more replicas a tenant may have as much of each.
//!
//! The last bounds what a virtual cluster takes of the host's addresses whose own policies refuse every Service after
//! sync has reserved for it: a reservation lasts until its time is over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::PER_TENANT;
use super::reserve::RESERVED;
use super::review::Denied;
use crate::bucket::Bucket;
use crate::metrics::Metrics;
use crate::object::Side;

/// Writes to the host per second, and in a burst; per replica of sync.
const WRITES: u32 = 20;
const BURST: u32 = 100;
/// Services that may have been made on the host within the life of a reservation; per replica of sync.
const RESERVATIONS: usize = 512;
/// How long what a tenant has used is remembered after its last review: longer than a reservation lasts.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The share of one tenant.
#[derive(Debug)]
pub(super) struct Share {
    metrics: Metrics,
    slots: Arc<Semaphore>,
    writes: Bucket,
    reserved: Mutex<VecDeque<Instant>>,
    used: Mutex<Instant>,
}

/// A review that is under way.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) share: Arc<Share>,
    _slot: OwnedSemaphorePermit,
}

impl Share {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            slots: Arc::new(Semaphore::new(PER_TENANT)),
            writes: Bucket::new(WRITES, BURST),
            reserved: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// A right to be served, unless the tenant has its fill.
    pub(super) fn enter(this: &Arc<Self>) -> Option<Entered> {
        *this.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let slot = Arc::clone(&this.slots).try_acquire_owned().ok()?;
        Some(Entered {
            share: Arc::clone(this),
            _slot: slot,
        })
    }

    /// Whether nothing of it need be remembered, if no review is under way.
    pub(super) fn is_spent(&self) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.elapsed() > REMEMBERED
    }

    /// Allows one write to the host, and counts it.
    pub(super) fn write(&self) -> Result<(), Denied> {
        if !self.writes.try_take() {
            return Err(Denied::too_many(
                "the virtual cluster makes and changes too many Services at once; try again",
            ));
        }
        self.metrics.wrote(Side::Host);
        Ok(())
    }

    /// Allows one more Service on the host that is not stored yet.
    pub(super) fn has_room(&self) -> Result<(), Denied> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        while reserved.front().is_some_and(|at| at.elapsed() > RESERVED) {
            reserved.pop_front();
        }
        if reserved.len() < RESERVATIONS {
            return Ok(());
        }
        Err(Denied::too_many(format!(
            "the virtual cluster has made {RESERVATIONS} Services within {} seconds; try again",
            RESERVED.as_secs()
        )))
    }

    /// Takes note of a Service that was made on the host.
    pub(super) fn reserved(&self) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.push_back(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reservations_make_room_when_their_time_is_over() {
        let share = Share::new(Metrics::default());
        for _ in 0..RESERVATIONS {
            share.has_room().unwrap();
            share.reserved();
        }
        assert_eq!(share.has_room().unwrap_err().code, 429);
        tokio::time::advance(RESERVED + Duration::from_secs(1)).await;
        share.has_room().unwrap();
    }
}
