//! The simulated world: a host cluster, virtual clusters, and the links between sync's processes and them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use vcluster_chassis::clock::Clock;
use vcluster_resources::{label, layout};
use vcluster_translate::environment;

use super::ground;
use super::law::{self, CLAIMS, CLUSTERS, Law, NAMESPACES};
use super::store::{Answer, Call, Id, Selector, Store, Written};
use super::trace::Trace;
use super::weather::{Fate, Weather};
use super::wire;
use crate::tenant::store::{STORE_MARK, STORE_UID};

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

/// A virtual cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Name of the VirtualCluster.
    pub(super) name: String,
    /// Host namespace.
    pub(super) namespace: String,
    /// UID of the VirtualCluster.
    pub(super) uid: String,
    /// UIDs of those that were there before it.
    pub(super) earlier: Vec<String>,
    /// Address of its API server.
    pub(super) ip: String,
    /// What its API server has.
    pub(super) store: Store,
    /// What its API server had before it lost everything, and will have again.
    pub(super) lost: Option<Store>,
    /// A copy of what its API server had.
    pub(super) copy: Option<Store>,
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

#[derive(Debug, Default)]
struct Link {
    weather: Weather,
    /// Since when it is so.
    since: Duration,
    /// It stays so until everything is calm.
    is_stuck: bool,
    /// Rises when every watch over it is cut.
    epoch: u64,
    /// Rises when every watch over it is to say again what it said.
    echoes: u64,
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

    /// What becomes of a request.
    pub(super) fn fate(&self, process: usize, target: Target, call: &Call) -> Fate {
        let mut inner = self.locked();
        let weather = inner.link(process, target).weather;
        let weather = match weather {
            // A watch that does not begin is a failed request like others; while it runs, the weather is heard.
            Weather::Slow if call.is_watch() => Weather::Clear,
            Weather::Clear
            | Weather::Slow
            | Weather::Far
            | Weather::Tardy
            | Weather::Storm
            | Weather::Refused
            | Weather::Silent => weather,
        };
        weather.fate(&mut inner.chance)
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
            written.meant = call.meant();
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

    /// Sets the weather on a link.
    pub(super) fn set_weather(&self, process: usize, target: Target, weather: Weather) {
        let at = self.elapsed();
        let mut inner = self.locked();
        let link = inner.link(process, target);
        if link.weather != weather && !link.is_stuck {
            (link.weather, link.since) = (weather, at);
        }
        inner.tell(target, None);
    }

    /// Has nobody answer at a link until everything is calm.
    pub(super) fn kill_link(&self, process: usize, target: Target) {
        self.set_weather(process, target, Weather::Refused);
        self.locked().link(process, target).is_stuck = true;
    }

    /// Nothing stays as it is.
    pub(super) fn unstick(&self) {
        for link in self.locked().links.values_mut() {
            link.is_stuck = false;
        }
    }

    /// Cuts every watch over a link.
    pub(super) fn cut(&self, process: usize, target: Target) {
        let mut inner = self.locked();
        inner.link(process, target).epoch += 1;
        inner.tell(target, None);
    }

    /// Has every watch over a link say again what it said.
    pub(super) fn echo(&self, process: usize, target: Target) {
        let mut inner = self.locked();
        inner.link(process, target).echoes += 1;
        inner.tell(target, None);
    }

    pub(super) fn echoes(&self, process: usize, target: Target) -> u64 {
        self.locked().link(process, target).echoes
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

    /// Has the right store answer again for a virtual cluster.
    pub(super) fn give_back(&self, number: usize) {
        let mut inner = self.locked();
        let cluster = &mut inner.clusters[number];
        if let Some(lost) = cluster.lost.take() {
            cluster.store = lost;
        }
        inner.tell(Target::Virtual(number), None);
    }

    pub(super) fn epoch(&self, process: usize, target: Target) -> u64 {
        self.locked().link(process, target).epoch
    }

    /// How much later a watch hears of something; nothing if it hears nothing for now.
    pub(super) fn hearing(&self, process: usize, target: Target) -> Option<Duration> {
        let mut inner = self.locked();
        let weather = inner.link(process, target).weather;
        weather.hearing(&mut inner.chance)
    }

    /// Which of what was said before is said again, if any.
    pub(super) fn again(&self, process: usize, target: Target, said: usize) -> Option<usize> {
        let mut inner = self.locked();
        let is_stormy = inner.link(process, target).weather == Weather::Storm;
        (said > 0 && is_stormy && inner.chance.random_bool(0.2))
            .then(|| inner.chance.random_range(0..said))
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

    /// Has the host namespace of a virtual cluster go with all in it, and come again with another virtual cluster of the
    /// same name.
    pub(super) fn make_anew(&self, number: usize, generation: usize) {
        let now = self.now();
        let mut inner = self.locked();
        let namespace = inner.clusters[number].namespace.clone();
        let within = |(id, _): &(&Id, &Arc<Value>)| {
            id.namespace == namespace || (id.collection == NAMESPACES && id.name == namespace)
        };
        let all: Vec<_> = inner
            .host
            .objects()
            .filter(within)
            .map(|(id, _)| id.clone())
            .collect();
        for id in all {
            inner.host.lose(&id, now);
        }
        let mut earlier = std::mem::take(&mut inner.clusters[number].earlier);
        earlier.push(inner.clusters[number].uid.clone());
        let cluster = Cluster {
            earlier,
            uid: format!("cluster-{number}-{generation}-{}", inner.host.version()),
            store: ground::inside(&format!("v{number}-{}-", inner.host.version()), now),
            ..ground::cluster(number, now)
        };
        inner
            .host
            .put(&Id::new(NAMESPACES, "", &namespace), json!({}), now);
        let secret = Id::new("/api/v1/secrets", &namespace, layout::SYNC_SECRET);
        inner.host.put(&secret, ground::credential(), now);
        let id = Id::new(CLUSTERS, &namespace, &cluster.name);
        inner.host.put(&id, ground::virtual_cluster(&cluster), now);
        inner.clusters[number] = cluster;
        inner.tell(Target::Host, None);
        inner.tell(Target::Virtual(number), None);
    }

    /// Has a person say of each store that sync has doubts about that it is right; tells whether there was one.
    pub(super) fn accept_stores(&self) -> bool {
        let mut inner = self.locked();
        let doubted: Vec<_> = (0..inner.clusters.len())
            .filter(|number| inner.is_doubted(*number))
            .collect();
        for number in &doubted {
            inner.accept(*number, self.now());
        }
        !doubted.is_empty()
    }

    /// Has a person accept the store that is there in place of the right one; false if it is the right one. Data of what
    /// it lacks must be kept.
    pub(super) fn accept_loss(&self, number: usize) -> bool {
        let mut inner = self.locked();
        let Some(lost) = inner.clusters[number].lost.take() else {
            return false;
        };
        let cluster = &inner.clusters[number];
        let lives = |store: &Store, uid: &str| {
            let mut claims = store.all(CLAIMS);
            claims.any(|(_, claim)| text(claim, "/metadata/uid") == uid)
        };
        let claims = inner.host.all(CLAIMS).filter(|(_, claim)| {
            let uid = annotation(claim, label::VIRTUAL_UID);
            annotation(claim, label::CLUSTER_UID) == cluster.uid
                && lives(&lost, uid)
                && !lives(&cluster.store, uid)
        });
        let claims: Vec<_> = claims.map(|(_, claim)| Arc::clone(claim)).collect();
        for claim in claims {
            inner.law.must_keep(&claim);
        }
        inner.accept(number, self.now());
        true
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

impl Cluster {
    /// UIDs of it and of those that were there before it.
    pub(super) fn uids(&self) -> impl Iterator<Item = &str> {
        self.earlier.iter().chain([&self.uid]).map(String::as_str)
    }

    /// Namespace and name of its VirtualCluster.
    pub(super) fn place(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }

    /// What the tenant has, and has not lost by its own wish.
    pub(super) fn truth(&self) -> &Store {
        self.lost.as_ref().unwrap_or(&self.store)
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

    /// Whether there is a host pod of a virtual one.
    pub(super) fn is_on_host(&self, number: usize, id: &Id) -> bool {
        let cluster = &self.clusters[number];
        let uid = cluster
            .store
            .get(id)
            .map_or("", |pod| text(pod, "/metadata/uid"));
        law::host_of(self, cluster, uid).is_some()
    }

    /// The ConfigMap by which the host remembers a store.
    fn note_of(&self, number: usize) -> Id {
        let namespace = &self.clusters[number].namespace;
        Id::new("/api/v1/configmaps", namespace, environment::CONFIG_MAP)
    }

    /// The mark of a store that the host remembers.
    pub(super) fn mark_of(&self, number: usize) -> Option<String> {
        let kept = self.host.get(&self.note_of(number))?;
        Some(annotation(kept, STORE_MARK).to_owned()).filter(|mark| !mark.is_empty())
    }

    /// Whether sync says that a store is not what it was.
    fn is_doubted(&self, number: usize) -> bool {
        let (namespace, name) = self.clusters[number].place();
        let object = self.host.get(&Id::new(CLUSTERS, &namespace, &name));
        let conditions = object.and_then(|object| object.pointer("/status/conditions")?.as_array());
        let mut reasons = conditions
            .into_iter()
            .flatten()
            .map(|one| text(one, "/reason"));
        reasons.any(|reason| matches!(reason, "StoreReplaced" | "StoreRolledBack"))
    }

    /// Takes the annotation off by which the host remembers a store.
    fn accept(&mut self, number: usize, now: Timestamp) {
        let cluster = &self.clusters[number];
        let pods = cluster.store.all(law::PODS);
        let uids = pods.map(|(_, pod)| text(pod, "/metadata/uid"));
        let is_ended =
            |uid: &&str| law::host_of(self, cluster, uid).is_none_or(|host| law::is_deleting(host));
        let ended: Vec<_> = uids.filter(is_ended).map(ToOwned::to_owned).collect();
        for uid in ended {
            self.law.accepted_without_host(&uid);
        }
        let id = self.note_of(number);
        self.host.change(&id, now, |kept| {
            if let Some(all) = kept["metadata"]["annotations"].as_object_mut() {
                all.remove(STORE_UID);
            }
        });
        self.tell(Target::Host, Some(&id.collection));
    }

    /// Since when nobody answers at a link, if that is so.
    pub(super) fn refused_since(&mut self, process: usize, target: Target) -> Option<Duration> {
        let link = self.link(process, target);
        (link.weather == Weather::Refused).then_some(link.since)
    }

    pub(super) fn weather(&mut self, process: usize, target: Target) -> Weather {
        self.link(process, target).weather
    }

    fn link(&mut self, process: usize, target: Target) -> &mut Link {
        self.links.entry((process, target)).or_default()
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

/// The mark that a store bears.
pub(super) fn mark(store: &Store) -> Option<String> {
    let system = store.get(&Id::new(NAMESPACES, "", "kube-system"))?;
    Some(annotation(system, STORE_MARK).to_owned()).filter(|mark| !mark.is_empty())
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
