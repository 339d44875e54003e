//! Tenants that are on their way into the engine as a term begins.
//!
//! A host watch that all tenants share lists everything once. A tenant that is there by then need not list it again for
//! itself, and after a restart all of them are there within moments: so that list waits for them, within a deadline.
//! Whoever comes later lists for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The longest that a list waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many are awaited. A new term has new ones.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    awaited: Mutex<Awaited>,
    /// Wakes those who wait in the order in which they came.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Awaited {
    /// Everybody who is to come is known.
    complete: bool,
    coming: usize,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Awaited)) {
        change(&mut self.awaited.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    fn has_all(&self) -> bool {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.complete && awaited.coming == 0
    }
}

/// A tenant that is awaited until this is dropped, or it has arrived.
#[derive(Debug)]
pub struct Coming {
    arrivals: Arrivals,
    arrived: AtomicBool,
}

impl Arrivals {
    /// Awaits another one.
    pub fn expect(&self) -> Coming {
        self.0.change(|awaited| awaited.coming += 1);
        Coming {
            arrivals: self.clone(),
            arrived: AtomicBool::new(false),
        }
    }

    /// Everybody who is to come is known.
    pub fn complete(&self) {
        self.0.change(|awaited| awaited.complete = true);
    }

    /// Waits until everybody has arrived, but not for ever.
    pub async fn all(&self) {
        let all = async {
            loop {
                // What changes from here on is not missed.
                let changed = self.0.changed.notified();
                if self.0.has_all() {
                    return;
                }
                changed.await;
            }
        };
        // Who is late lists for itself.
        drop(tokio::time::timeout(PATIENCE, all).await);
    }
}

impl Coming {
    /// It is in the engine, or does not come for now.
    pub fn arrived(&self) {
        if !self.arrived.swap(true, Ordering::AcqRel) {
            self.arrivals.0.change(|awaited| awaited.coming -= 1);
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.arrived();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_waits_for_those_who_come_and_not_for_ever() {
        let arrivals = Arrivals::default();
        let begun = Instant::now();
        arrivals.all().await;
        assert_eq!(begun.elapsed(), PATIENCE, "nobody is known yet");
        let (one, two) = (arrivals.expect(), arrivals.expect());
        arrivals.complete();
        assert!(arrivals.all().now_or_never().is_none());
        one.arrived();
        one.arrived();
        drop(one);
        assert!(
            arrivals.all().now_or_never().is_none(),
            "the other is on its way"
        );
        drop(two);
        assert!(arrivals.all().now_or_never().is_some());
    }
}
