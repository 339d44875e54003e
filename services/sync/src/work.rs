//! The work queue as workers see it: [`crate::queue`] behind a lock, with a clock and a wake-up.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::object::Key;
use crate::queue::{After, Depth, Lane, Limits, Place, Queue, Taken, Ticket};

/// Keys of every tenant that are to be looked at.
#[derive(Debug, Default)]
pub struct Work {
    queue: Mutex<Queue<Key>>,
    ready: Notify,
}

impl Work {
    /// Takes a tenant up.
    pub fn admit(&self, limits: Limits) -> Ticket {
        self.locked().admit(limits)
    }

    /// Drops a tenant with all its keys.
    pub fn remove(&self, tenant: Ticket) {
        self.locked().remove(tenant);
    }

    /// Adds a key; nothing happens if the tenant has gone.
    pub fn add(&self, tenant: Ticket, key: Key, lane: Lane) {
        if self.locked().add(tenant, key, lane, Instant::now()) {
            self.ready.notify_one();
        }
    }

    /// Has a key looked at no later than `at`.
    pub fn wake(&self, tenant: Ticket, key: &Key, at: Instant) {
        self.locked().wake(tenant, key, at);
        // Whoever sleeps until the next timer must learn of this one.
        self.ready.notify_one();
    }

    /// Gives a key back.
    pub fn done(&self, tenant: Ticket, key: &Key, after: After) {
        self.locked().done(tenant, key, after);
        self.ready.notify_one();
    }

    /// Waits for the next key. Cancel safe.
    pub async fn take(&self) -> Taken<Key> {
        loop {
            let notified = self.ready.notified();
            let next = {
                let mut queue = self.locked();
                let next = queue.advance(Instant::now());
                if let Some(taken) = queue.take() {
                    // One notification may stand for several keys: pass it on.
                    self.ready.notify_one();
                    return taken;
                }
                next
            };
            match next {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = notified => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => notified.await,
            }
        }
    }

    /// Where a key is; nothing if it is at rest.
    pub fn place(&self, tenant: Ticket, key: &Key) -> Option<Place> {
        self.locked().place(tenant, key)
    }

    /// How much of this tenant is where.
    pub fn depth(&self, tenant: Ticket) -> Depth {
        self.locked().depth(tenant)
    }

    /// How much of all tenants is where.
    pub fn total(&self) -> Depth {
        self.locked().total()
    }

    fn locked(&self) -> MutexGuard<'_, Queue<Key>> {
        // The queue holds no invariant across a panic of its own; one in it ends the process.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::object::Kind;

    const LIMITS: Limits = Limits {
        weight: 1,
        in_flight: 4,
    };

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_waits_is_woken_by_a_key_and_by_a_timer() {
        let work = Arc::new(Work::default());
        let tenant = work.admit(LIMITS);
        let worker = tokio::spawn({
            let work = Arc::clone(&work);
            async move { (work.take().await.key, work.take().await.key) }
        });
        tokio::task::yield_now().await;
        let late = Key::new(Kind::Pod, "shop", "late");
        work.wake(tenant, &late, Instant::now() + Duration::from_secs(30));
        tokio::task::yield_now().await;
        let soon = Key::new(Kind::Pod, "shop", "soon");
        work.add(tenant, soon.clone(), Lane::Live);
        assert_eq!(worker.await.unwrap(), (soon, late));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_reach_every_waiting_worker() {
        let work = Arc::new(Work::default());
        let tenant = work.admit(LIMITS);
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let work = Arc::clone(&work);
                tokio::spawn(async move { work.take().await })
            })
            .collect();
        tokio::task::yield_now().await;
        for name in ["a", "b", "c"] {
            work.add(tenant, Key::new(Kind::Pod, "shop", name), Lane::Live);
        }
        for worker in workers {
            worker.await.unwrap();
        }
    }
}
