//! One fair work queue for every tenant, as data.
//!
//! Promises:
//! - a key waits at most once, is handed out to one worker at a time, and is handed out again if it was
//!   added while a worker had it;
//! - a take costs O(1): tenants with work stand in a ring, others are not looked at;
//! - each turn of the ring gives a tenant at most its weight of keys, a tenant that comes back rested goes first, and a
//!   tenant never has more keys in work than its limit, so that one tenant's load changes nobody else's wait;
//! - a tenant that is paused has its keys wait; after the pause they are handed out one by one until it is resumed;
//! - within a tenant live events go first, yet the lists and the scan get a fixed share;
//! - timers (retries, refreshes) belong to the tenant and vanish with it, and what a worker reports
//!   about a tenant that has gone, or has come again under the same name, changes nothing.
//!
//! It knows no clock but the instants that it is given, and does no I/O. [`crate::work`] makes it async.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;

use tokio::time::Instant;

mod lane;
mod pause;
#[cfg(test)]
mod tests;

pub use lane::Lane;
use lane::{COUNT, order};
use pause::Pause;

use crate::guard::{self, Guard};
use crate::hash::HashMap;
use crate::turns::Turns;

/// One stay of a tenant in the queue: a tenant that leaves and comes back gets another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A key that was handed out; to be given back by [`Queue::done`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken<K> {
    /// Whose key it is.
    pub tenant: Ticket,
    /// What to look at.
    pub key: K,
    /// From which lane.
    pub lane: Lane,
    /// When it was first added.
    pub since: Instant,
    /// How often in a row it has failed.
    pub failures: u32,
}

/// What becomes of a key after work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is as it should be.
    Settled,
    /// It is as it should be until then.
    Until(Instant),
    /// It failed, and is tried again then.
    Failed(Instant),
}

/// Limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Keys per turn of the ring; at least 1.
    pub weight: u32,
    /// Keys in work at once; at least 1.
    pub in_flight: usize,
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Since when it waits for a worker, if it does.
    pub waits_since: Option<Instant>,
    /// A worker has it.
    pub in_work: bool,
    /// When it is looked at again without any other reason.
    pub timer: Option<Instant>,
    /// How often in a row it has failed.
    pub failures: u32,
}

/// How much of a tenant is where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Keys that wait for a worker.
    pub queued: usize,
    /// Keys in work.
    pub in_flight: usize,
    /// Keys that failed and wait for their time.
    pub retrying: usize,
}

/// The queue. See the module.
#[derive(Debug)]
pub struct Queue<K> {
    tenants: HashMap<Ticket, Tenant<K>>,
    ring: Turns<Ticket>,
    /// Of these, those that had nothing in work.
    idle: Turns<Ticket>,
    timers: BTreeMap<(Instant, u64), (Ticket, K)>,
    pauses: BTreeSet<(Instant, Ticket)>,
    next: u64,
}

#[derive(Debug)]
struct Tenant<K> {
    limits: Limits,
    lanes: [VecDeque<(K, u64)>; COUNT],
    entries: HashMap<K, Entry>,
    queued: usize,
    in_flight: usize,
    retrying: usize,
    pause: Option<Pause>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Entry {
    waiting: Option<Waiting>,
    working: bool,
    timer: Option<(Instant, u64)>,
    retrying: bool,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    lane: Lane,
    since: Instant,
    number: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            tenants: HashMap::default(),
            ring: Turns::default(),
            idle: Turns::default(),
            timers: BTreeMap::new(),
            pauses: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Takes a tenant up.
    pub fn admit(&mut self, limits: Limits) -> Ticket {
        let ticket = Ticket(self.number());
        let limits = Limits {
            weight: limits.weight.max(1),
            in_flight: limits.in_flight.max(1),
        };
        self.tenants.insert(ticket, Tenant::new(limits));
        ticket
    }

    /// Drops a tenant with all its keys and timers.
    pub fn remove(&mut self, tenant: Ticket) {
        if let Some(gone) = self.tenants.remove(&tenant) {
            for at in gone.entries.into_values().filter_map(|entry| entry.timer) {
                self.timers.remove(&at);
            }
            if let Some(Pause::Until(at)) = gone.pause {
                self.pauses.remove(&(at, tenant));
            }
            // Left in the ring it would be skipped, but a tenant that comes and goes must leave nothing.
            self.ring.leave(tenant);
            self.idle.leave(tenant);
        }
    }

    /// Adds a key; false if the tenant is not there. A key that waits already keeps its place unless
    /// this lane is more urgent.
    pub fn add(&mut self, tenant: Ticket, key: K, lane: Lane, now: Instant) -> bool {
        let number = self.number();
        let Some(state) = self.tenants.get_mut(&tenant) else {
            return false;
        };
        state.add(key, lane, now, number);
        self.enter_ring(tenant);
        true
    }

    /// Has the key looked at no later than `at`, as if it were added then.
    pub fn wake(&mut self, tenant: Ticket, key: &K, at: Instant) {
        self.set_timer(tenant, key, at, false);
    }

    /// Moves every key whose time has come into the queue; tells when the next comes.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        let resumed = self.end_pauses(now);
        let timer = self.end_timers(now);
        resumed.into_iter().chain(timer).min()
    }

    fn end_timers(&mut self, now: Instant) -> Option<Instant> {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                return Some(first.key().0);
            }
            let (tenant, key) = first.remove();
            let number = self.number();
            if let Some(state) = self.tenants.get_mut(&tenant) {
                state.clear_timer(&key);
                state.add(key, Lane::Live, now, number);
                self.enter_ring(tenant);
            }
        }
        None
    }

    /// Hands out the next key, if any may be.
    pub fn take(&mut self) -> Option<Taken<K>> {
        loop {
            let tenants = &self.tenants;
            let weight = |ticket| {
                let tenant: &Tenant<K> = tenants.get(&ticket)?;
                tenant.may_be_served().then_some(tenant.limits.weight)
            };
            let ticket = self.ring.next(weight)?;
            if let Some(taken) = self.hand_out(ticket) {
                return Some(taken);
            }
        }
    }

    /// Hands out the next key of a tenant that has nothing in work, if any may be.
    pub fn take_idle(&mut self) -> Option<Taken<K>> {
        loop {
            let tenants = &self.tenants;
            let weight = |ticket| {
                let tenant: &Tenant<K> = tenants.get(&ticket)?;
                let is_idle = tenant.in_flight == 0 && tenant.may_be_served();
                is_idle.then_some(1)
            };
            let ticket = self.idle.next(weight)?;
            if let Some(taken) = self.hand_out(ticket) {
                return Some(taken);
            }
        }
    }

    fn hand_out(&mut self, ticket: Ticket) -> Option<Taken<K>> {
        // What has moved to another lane leaves a lane that looks as if it had something.
        let (taken, timer) = self.tenants.get_mut(&ticket)?.take(ticket)?;
        if let Some(timer) = timer {
            self.timers.remove(&timer);
        }
        Some(taken)
    }

    /// Gives a key back.
    pub fn done(&mut self, tenant: Ticket, key: &K, after: After) {
        let Some(state) = self.tenants.get_mut(&tenant) else {
            return;
        };
        if !state.finish(key, matches!(after, After::Failed(_))) {
            return;
        }
        match after {
            After::Settled => {}
            After::Until(at) => self.set_timer(tenant, key, at, false),
            After::Failed(at) => self.set_timer(tenant, key, at, true),
        }
        if let Some(state) = self.tenants.get_mut(&tenant) {
            state.forget_if_idle(key);
        }
        self.enter_ring(tenant);
    }

    /// Where a key is; nothing if it is at rest.
    pub fn place(&self, tenant: Ticket, key: &K) -> Option<Place> {
        let entry = self.tenants.get(&tenant)?.entries.get(key)?;
        Some(Place {
            waits_since: entry.waiting.map(|waiting| waiting.since),
            in_work: entry.working,
            timer: entry.timer.map(|(at, _)| at),
            failures: entry.failures,
        })
    }

    /// How much of this tenant is where.
    pub fn depth(&self, tenant: Ticket) -> Depth {
        self.tenants
            .get(&tenant)
            .map(|state| Depth {
                queued: state.queued,
                in_flight: state.in_flight,
                retrying: state.retrying,
            })
            .unwrap_or_default()
    }

    /// How much of all tenants is where.
    pub fn total(&self) -> Depth {
        self.tenants
            .values()
            .fold(Depth::default(), |sum, state| Depth {
                queued: sum.queued + state.queued,
                in_flight: sum.in_flight + state.in_flight,
                retrying: sum.retrying + state.retrying,
            })
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn enter_ring(&mut self, ticket: Ticket) {
        if let Some(tenant) = self.tenants.get(&ticket)
            && tenant.may_be_served()
        {
            let is_rested =
                tenant.in_flight == 0 && tenant.queued <= 1 && guard::stands(Guard::Turns);
            self.ring.enter(ticket, tenant.limits.weight, is_rested);
            if tenant.in_flight == 0 {
                self.idle.enter(ticket, 1, false);
            }
        }
    }

    fn set_timer(&mut self, tenant: Ticket, key: &K, at: Instant, retry: bool) {
        let number = self.number();
        let Some(state) = self.tenants.get_mut(&tenant) else {
            return;
        };
        let entry = state.entries.entry(key.clone()).or_default();
        if entry.waiting.is_some() || entry.timer.is_some_and(|(earlier, _)| earlier <= at) {
            // It is looked at before that anyway, and the worker sets the timer anew.
            return;
        }
        if let Some(later) = entry.timer.replace((at, number)) {
            self.timers.remove(&later);
        }
        if retry && !entry.retrying {
            entry.retrying = true;
            state.retrying += 1;
        }
        self.timers.insert((at, number), (tenant, key.clone()));
    }
}

impl<K: Clone + Eq + Hash> Tenant<K> {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: std::array::from_fn(|_| VecDeque::new()),
            entries: HashMap::default(),
            queued: 0,
            in_flight: 0,
            retrying: 0,
            pause: None,
            turn: 0,
        }
    }

    fn may_be_served(&self) -> bool {
        let most = match self.pause {
            None => self.limits.in_flight,
            Some(Pause::Until(_)) => 0,
            Some(Pause::Probing) => 1,
        };
        guard::passes(Guard::InFlight, self.in_flight < most)
            && self.lanes.iter().any(|lane| !lane.is_empty())
    }

    fn add(&mut self, key: K, lane: Lane, now: Instant, number: u64) {
        let entry = self.entries.entry(key.clone()).or_default();
        let since = match entry.waiting {
            Some(waiting) if waiting.lane <= lane => return,
            Some(waiting) => waiting.since,
            None => now,
        };
        if entry.waiting.is_none() && !entry.working {
            self.queued += 1;
        }
        entry.waiting = Some(Waiting {
            lane,
            since,
            number,
        });
        // A key in work is queued when it comes back: see `finish`.
        if !entry.working {
            self.lanes[lane.index()].push_back((key, number));
        }
    }

    /// Takes the next key, and the timer that it had.
    #[expect(clippy::type_complexity, reason = "both halves are used at once")]
    fn take(&mut self, ticket: Ticket) -> Option<(Taken<K>, Option<(Instant, u64)>)> {
        self.turn += 1;
        for lane in order(self.turn) {
            while let Some((key, number)) = self.lanes[lane.index()].pop_front() {
                let Some(entry) = self.entries.get_mut(&key) else {
                    continue;
                };
                // Another number: it has moved to a more urgent lane since.
                let Some(waiting) = entry.waiting.filter(|waiting| waiting.number == number) else {
                    continue;
                };
                entry.waiting = None;
                entry.working = true;
                let timer = entry.timer.take();
                if std::mem::take(&mut entry.retrying) {
                    self.retrying -= 1;
                }
                self.queued -= 1;
                self.in_flight += 1;
                let taken = Taken {
                    tenant: ticket,
                    key,
                    lane,
                    since: waiting.since,
                    failures: entry.failures,
                };
                return Some((taken, timer));
            }
        }
        None
    }

    /// Ends the work on a key; false if it was not in work.
    fn finish(&mut self, key: &K, failed: bool) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.working) else {
            return false;
        };
        entry.working = false;
        entry.failures = if failed {
            entry.failures.saturating_add(1)
        } else {
            0
        };
        self.in_flight -= 1;
        if let Some(waiting) = entry.waiting {
            self.queued += 1;
            self.lanes[waiting.lane.index()].push_back((key.clone(), waiting.number));
        }
        true
    }

    fn clear_timer(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.timer = None;
            if std::mem::take(&mut entry.retrying) {
                self.retrying -= 1;
            }
        }
    }

    fn forget_if_idle(&mut self, key: &K) {
        let idle =
            |entry: &Entry| entry.waiting.is_none() && !entry.working && entry.timer.is_none();
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
        }
    }
}
