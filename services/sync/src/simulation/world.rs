//! The simulated world: a host cluster, virtual clusters, and the links between sync's processes and them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;
use vcluster_chassis::clock::Clock;

use super::law::Law;
use super::store::{Answer, Call, Selector, Store, Written};
use super::trace::Trace;
use super::wire;

mod cluster;
mod link;

pub(super) use cluster::{Cluster, mark};
use link::Link;

/// An API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Host,
    Virtual(usize),
}

impl Target {
    /// How long an answer is waited for.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Host => Duration::from_secs(30),
            Self::Virtual(_) => Duration::from_secs(15),
        }
    }
}

/// A crash that will come.
#[derive(Debug, Clone, Copy)]
struct Crash {
    process: usize,
    /// After so many requests.
    requests: u64,
    /// Whether the last one is still done.
    is_done: bool,
}

/// Everything that is not sync. Clones are not needed: it is shared.
pub(super) struct World {
    inner: Mutex<Inner>,
    clock: WorldClock,
}

/// What a world holds.
pub(super) struct Inner {
    pub(super) host: Store,
    pub(super) clusters: Vec<Cluster>,
    pub(super) law: Law,
    pub(super) trace: Trace,
    links: BTreeMap<(usize, Target), Link>,
    topics: BTreeMap<(Target, String), Arc<Notify>>,
    chance: StdRng,
    dead: Vec<usize>,
    crash: Option<Crash>,
}

/// The simulated time as wall time.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorldClock {
    begun: Instant,
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(1_790_000_000).unwrap_or_default();
        epoch + self.begun.elapsed()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(seed: u64, host: Store, clusters: Vec<Cluster>, trace: Trace) -> Self {
        let inner = Inner {
            host,
            clusters,
            law: Law::default(),
            trace,
            links: BTreeMap::new(),
            topics: BTreeMap::new(),
            chance: StdRng::seed_from_u64(seed ^ 0x5eed),
            dead: Vec::new(),
            crash: None,
        };
        let clock = WorldClock {
            begun: Instant::now(),
        };
        Self {
            inner: Mutex::new(inner),
            clock,
        }
    }

    pub(super) fn clock(&self) -> WorldClock {
        self.clock
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.begun.elapsed()
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server at an address.
    pub(super) fn at(&self, ip: &str) -> Target {
        let inner = self.locked();
        let found = inner.clusters.iter().position(|cluster| cluster.ip == ip);
        Target::Virtual(found.unwrap_or_else(|| unreachable!("nobody is at {ip}")))
    }

    /// Does something to a store as somebody else than sync, and tells those who watch.
    pub(super) fn act<T>(&self, target: Target, act: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let now = self.now();
        let mut inner = self.locked();
        let store = inner.store_mut(target);
        let before = store.version();
        let done = act(store, now);
        inner.tell_since(target, before);
        done
    }

    /// Has a server do a request; nothing if whoever sent it is dead.
    pub(super) fn handle(
        &self,
        process: usize,
        target: Target,
        call: &Call,
        is_late: bool,
    ) -> Option<Answer> {
        let now = self.now();
        let elapsed = self.elapsed();
        let mut inner = self.locked();
        if !is_late && inner.dead.contains(&process) {
            return None;
        }
        let last = !is_late && inner.counts_down(process);
        if last && !inner.crash.take().is_some_and(|crash| crash.is_done) {
            inner.kill(process);
            return None;
        }
        let (answer, written) = inner.store_mut(target).handle(&wire::stripped(call), now);
        inner
            .trace
            .add(elapsed, process, target, call, answer.code, is_late);
        if let Some(mut written) = written {
            (written.meant, written.is_late) = (call.meant(), is_late);
            inner.written(process, target, &written, (elapsed, now));
        }
        if last {
            inner.kill(process);
            return None;
        }
        Some(answer)
    }

    /// Has a process die at its so manieth request from now, done or not.
    pub(super) fn crash_after(&self, process: usize, requests: u64, is_done: bool) {
        self.locked().crash = Some(Crash {
            process,
            requests,
            is_done,
        });
    }

    /// Has a process die now.
    pub(super) fn kill(&self, process: usize) {
        self.locked().kill(process);
    }

    pub(super) fn is_dead(&self, process: usize) -> bool {
        self.locked().dead.contains(&process)
    }

    /// Takes note that a process is told that a virtual object is gone.
    pub(super) fn told_gone(&self, process: usize, uid: &str) {
        let at = self.elapsed();
        self.locked().law.told_gone(process, uid, at);
    }

    /// Takes note that a process is told to stop.
    pub(super) fn told_to_stop(&self, process: usize) {
        let at = self.elapsed();
        self.locked().law.told_to_stop(process, at);
    }

    /// Lets chance decide; nothing happens by chance in fine weather.
    pub(super) fn toss(&self, _process: usize, _target: Target, chance: f64) -> bool {
        self.locked().chance.random_bool(chance)
    }

    /// Tells when something of a collection may have changed.
    pub(super) fn subscribe(&self, target: Target, collection: &str) -> Arc<Notify> {
        let mut inner = self.locked();
        let topic = inner
            .topics
            .entry((target, collection.to_owned()))
            .or_default();
        Arc::clone(topic)
    }

    /// Judges a request of sync when it is sent.
    pub(super) fn sends(&self, process: usize, target: Target, call: &Call) {
        let at = self.elapsed();
        let mut inner = self.locked();
        if inner.dead.contains(&process) {
            return;
        }
        let mut law = std::mem::take(&mut inner.law);
        law.sent(&mut inner, process, target, call, at);
        inner.law = law;
    }

    /// What a watch is told, and the version up to which; nothing if the past is forgotten.
    pub(super) fn since(
        &self,
        target: Target,
        version: u64,
        selector: &Selector,
    ) -> Option<(Vec<String>, u64)> {
        let inner = self.locked();
        let store = inner.store(target);
        Some((store.since(version, selector)?, store.version()))
    }
}

impl Inner {
    pub(super) fn store(&self, target: Target) -> &Store {
        match target {
            Target::Host => &self.host,
            Target::Virtual(number) => &self.clusters[number].store,
        }
    }

    pub(super) fn store_mut(&mut self, target: Target) -> &mut Store {
        match target {
            Target::Host => &mut self.host,
            Target::Virtual(number) => &mut self.clusters[number].store,
        }
    }

    fn kill(&mut self, process: usize) {
        self.dead.push(process);
    }

    /// Counts a request of a process that is to crash; true if it is the last.
    fn counts_down(&mut self, process: usize) -> bool {
        let Some(crash) = self.crash.as_mut().filter(|crash| crash.process == process) else {
            return false;
        };
        crash.requests = crash.requests.saturating_sub(1);
        crash.requests == 0
    }

    fn written(
        &mut self,
        process: usize,
        target: Target,
        written: &Written,
        at: (Duration, Timestamp),
    ) {
        let mut law = std::mem::take(&mut self.law);
        law.judge(self, process, target, written, at);
        self.law = law;
        self.tell(target, Some(&written.id.collection));
    }

    /// Tells those who watch a server; only of one collection if that is given.
    fn tell(&self, target: Target, about: Option<&str>) {
        for ((of, collection), topic) in &self.topics {
            if *of == target && about.is_none_or(|about| *about == *collection) {
                topic.notify_waiters();
            }
        }
    }

    /// Tells those who watch what has changed since a version.
    fn tell_since(&self, target: Target, version: u64) {
        for collection in self.store(target).changed(version) {
            self.tell(target, Some(collection));
        }
    }
}

/// A text of an object.
pub(super) fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An annotation of an object.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    let all = object.pointer("/metadata/annotations");
    all.and_then(|all| all.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}
