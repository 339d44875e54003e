//! The work queue as workers see it: [`crate::queue`] behind a lock, with a clock and a wake-up.
//!
//! So many keys are in work at once, over all tenants. One that waits for what is its own tenant's, be it the answer of
//! its API server or its allowance, does not count meanwhile: a tenant whose API server answers late has keys under way
//! for long, and takes nobody's place by it. Its own limit still counts them all.
//!
//! When such waits end, more than that many may be in work, and nothing else would begin until most of them are done. Then a
//! tenant that has nothing in work still has one key taken at a time.

use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::object::Key;
use crate::queue::{After, Depth, Lane, Limits, Place, Queue, Taken, Ticket};

/// Keys of every tenant that are to be looked at.
#[derive(Debug)]
pub struct Work {
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue<Key>,
    /// Keys in work that wait for nothing of their own tenant's. Below zero where such waits are of no key.
    running: isize,
    most: isize,
}

/// Something waits for what is its own tenant's, until dropped.
#[derive(Debug)]
pub struct Aside<'a>(&'a Work);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.locked().running += 1;
    }
}

impl Default for Work {
    /// Without bound.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Work {
    /// Makes it for so many keys at once.
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Queue::default(),
                running: 0,
                most: isize::try_from(most).unwrap_or(isize::MAX),
            }),
            ready: Notify::new(),
        }
    }

    /// Says that whoever has called waits for what is its own tenant's.
    pub fn aside(&self) -> Aside<'_> {
        self.locked().running -= 1;
        self.ready.notify_one();
        Aside(self)
    }

    /// Hands out nothing of a tenant until then, and then one key at a time until it is resumed.
    pub fn pause(&self, tenant: Ticket, until: Instant) {
        self.locked().queue.pause(tenant, until);
        // Whoever sleeps until the next timer must learn of this one.
        self.ready.notify_one();
    }

    /// Hands out a tenant's keys as ever.
    pub fn resume(&self, tenant: Ticket) {
        self.locked().queue.resume(tenant);
        self.ready.notify_one();
    }

    /// Takes a tenant up.
    pub fn admit(&self, limits: Limits) -> Ticket {
        self.locked().queue.admit(limits)
    }

    /// Drops a tenant with all its keys.
    pub fn remove(&self, tenant: Ticket) {
        self.locked().queue.remove(tenant);
    }

    /// Adds a key; nothing happens if the tenant has gone.
    pub fn add(&self, tenant: Ticket, key: Key, lane: Lane) {
        if self.locked().queue.add(tenant, key, lane, Instant::now()) {
            self.ready.notify_one();
        }
    }

    /// Has a key looked at no later than `at`.
    pub fn wake(&self, tenant: Ticket, key: &Key, at: Instant) {
        self.locked().queue.wake(tenant, key, at);
        // Whoever sleeps until the next timer must learn of this one.
        self.ready.notify_one();
    }

    /// Gives a key back.
    pub fn done(&self, tenant: Ticket, key: &Key, after: After) {
        let mut state = self.locked();
        state.running -= 1;
        state.queue.done(tenant, key, after);
        drop(state);
        self.ready.notify_one();
    }

    /// Waits for the next key, which must be given back by [`Self::done`]. Cancel safe.
    pub async fn take(&self) -> Taken<Key> {
        loop {
            let notified = self.ready.notified();
            let next = {
                let mut state = self.locked();
                let next = state.queue.advance(Instant::now());
                let taken = match state.running.cmp(&state.most) {
                    Ordering::Less => state.queue.take(),
                    Ordering::Equal => None,
                    Ordering::Greater => state.queue.take_idle(),
                };
                if let Some(taken) = taken {
                    state.running += 1;
                    drop(state);
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
        self.locked().queue.place(tenant, key)
    }

    /// How much of this tenant is where.
    pub fn depth(&self, tenant: Ticket) -> Depth {
        self.locked().queue.depth(tenant)
    }

    /// How much of all tenants is where.
    pub fn total(&self) -> Depth {
        self.locked().queue.total()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // The queue holds no invariant across a panic of its own; one in it ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt;

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
    async fn a_key_that_waits_for_its_own_tenant_takes_nobody_s_place() {
        let work = Work::new(1);
        let (slow, other) = (work.admit(LIMITS), work.admit(LIMITS));
        for (tenant, name) in [(slow, "a"), (slow, "b"), (other, "c")] {
            work.add(tenant, Key::new(Kind::Pod, "shop", name), Lane::Live);
        }
        let first = work.take().await;
        assert!(work.take().now_or_never().is_none(), "one at a time");
        let aside = work.aside();
        let second = work.take().await;
        assert_eq!(second.tenant, other);
        drop(aside);
        work.done(second.tenant, &second.key, After::Settled);
        assert!(work.take().now_or_never().is_none(), "the first is back");
        work.done(first.tenant, &first.key, After::Settled);
        assert_eq!(work.take().await.tenant, slow);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_in_work_does_not_wait_for_all_whose_own_wait_is_over() {
        let work = Work::new(1);
        let (greedy, other) = (work.admit(LIMITS), work.admit(LIMITS));
        for name in ["a", "b", "c", "d"] {
            work.add(greedy, Key::new(Kind::Pod, "shop", name), Lane::Live);
        }
        let mut aside = Vec::new();
        for _ in 0..3 {
            work.take().await;
            aside.push(work.aside());
        }
        drop(aside);
        assert!(work.take().now_or_never().is_none(), "three are in work");
        for name in ["a", "b"] {
            work.add(other, Key::new(Kind::Pod, "shop", name), Lane::Live);
        }
        let first = work.take().await;
        assert_eq!(first.tenant, other);
        assert!(work.take().now_or_never().is_none(), "it has one");
        work.done(other, &first.key, After::Settled);
        assert_eq!(work.take().await.tenant, other);
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
