//! What happens in a run, by chance: a seed chooses which kinds of trouble there are, so that each is met alone and in
//! company.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;

use super::run::Run;
use super::store::Store;
use super::theme::Theme;
use super::weather::Weather;
use super::world::Target;
use super::{ground, hosts, users};

/// A kind of thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A tenant does something.
    User,
    /// The host's side takes a pod away.
    TakeAway,
    /// Somebody takes our labels off a host object.
    Unlabel,
    /// A link becomes bad.
    Weather,
    /// An API server is out of reach of a process until the end.
    Dead,
    /// A process can neither renew its Lease nor hear of others' until the end.
    Unlead,
    /// Answers over one link of a process, or over all, are late.
    Slow,
    /// Writes of a process are done long after they were sent.
    Late,
    /// Watches say again what they said, the last first.
    Echo,
    /// The links of an API server become good.
    Clear,
    /// Watches break.
    Cut,
    /// An API server forgets its past.
    Compact,
    /// A process crashes at one of its next requests.
    Crash,
    /// A process is told to stop, and another starts.
    Stop,
    /// A virtual cluster's store comes back empty, or as it was.
    Empty,
    /// For a moment another store answers, while somebody is at work on the host.
    Blink,
    /// A virtual cluster's store is put back to an older state, or as it was.
    RollBack,
    /// A person accepts the store that a virtual cluster has now, whatever it lacks.
    Accept,
    /// A virtual cluster is removed.
    Remove,
    /// A host namespace is gone with all in it, and made again with another virtual cluster of the same name.
    Anew,
}

/// Each kind, how often it happens where there is trouble of that kind, and how often there is.
const KINDS: &[(Kind, u32, f64)] = &[
    (Kind::User, 55, 1.0),
    (Kind::TakeAway, 7, 0.8),
    (Kind::Unlabel, 4, 0.3),
    (Kind::Weather, 12, 0.85),
    (Kind::Clear, 8, 1.0),
    (Kind::Cut, 6, 0.8),
    (Kind::Compact, 4, 0.7),
    (Kind::Crash, 4, 0.6),
    (Kind::Stop, 2, 0.6),
    (Kind::Empty, 4, 0.4),
    (Kind::RollBack, 6, 0.25),
    (Kind::Accept, 3, 0.3),
    (Kind::Remove, 1, 0.2),
    (Kind::Anew, 1, 0.15),
];

/// Which kinds of trouble there are in a run.
#[derive(Debug)]
pub(super) struct Mix {
    kinds: Vec<(Kind, u32)>,
}

impl Mix {
    /// Chooses, unless the run is about one thing.
    pub(super) fn by(chance: &mut StdRng, theme: Option<Theme>) -> Self {
        if let Some(theme) = theme {
            let kinds = theme.kinds().to_vec();
            return Self { kinds };
        }
        let chosen = KINDS
            .iter()
            .filter(|(_, _, often)| chance.random_bool(*often));
        Self {
            kinds: chosen.map(|(kind, weight, _)| (*kind, *weight)).collect(),
        }
    }

    /// Whether stores are put back to an older state.
    pub(super) fn rolls_back(&self) -> bool {
        self.kinds.iter().any(|(kind, _)| *kind == Kind::RollBack)
    }

    fn draw(&self, chance: &mut StdRng) -> Kind {
        let all = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut left = chance.random_range(0..all);
        let found = self.kinds.iter().find(|(_, weight)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        });
        found.map_or(Kind::User, |(kind, _)| *kind)
    }
}

impl Run {
    /// Has one thing happen.
    pub(super) fn happen(&mut self) {
        self.bury();
        let kind = self.mix.draw(&mut self.chance);
        let targets = self.targets();
        let target = targets[self.chance.random_range(0..targets.len())];
        let number = self.chance.random_range(1..targets.len()) - 1;
        let process = self.chance.random_range(0..self.processes.len());
        let process = self.processes[process].number;
        match kind {
            Kind::User => self.user(number),
            Kind::TakeAway => self.take_away(),
            Kind::Unlabel => self.unlabel(),
            Kind::Weather => {
                let weather = Weather::bad(&mut self.chance);
                self.note(&format!(
                    "the way from {process} to {target:?} is {weather:?}"
                ));
                self.world.set_weather(process, target, weather);
            }
            Kind::Dead => {
                self.note(&format!("{target:?} is out of reach of {process}"));
                self.world.kill_link(process, target);
            }
            Kind::Unlead => {
                self.note(&format!("nothing of Leases reaches {process}"));
                self.world.unlead(process);
            }
            Kind::Clear => {
                for process in 0..self.started {
                    self.world.set_weather(process, target, Weather::Clear);
                }
            }
            Kind::Cut => {
                self.note(&format!("watches from {process} to {target:?} are cut"));
                self.world.cut(process, target);
            }
            Kind::Compact => {
                self.note(&format!("{target:?} is compacted, its watches are cut"));
                self.world.act(target, |store, _| store.compact());
                self.world.cut(process, target);
            }
            Kind::Crash => {
                let (requests, is_done) = (self.chance.random_range(1..120), self.chance.random());
                self.note(&format!("{process} will crash after {requests} requests"));
                self.world.crash_after(process, requests, is_done);
            }
            Kind::Stop => {
                self.note(&format!("{process} is told to stop"));
                if let Some(found) = self.processes.iter().find(|found| found.number == process) {
                    found.stop();
                    self.world.told_to_stop(process);
                }
                self.start();
            }
            Kind::Slow => {
                let one = self.chance.random_bool(0.7).then_some(target);
                self.cover(process, one.map_or(targets, |one| vec![one]), Weather::Slow);
            }
            Kind::Late => self.cover(process, targets, Weather::Tardy),
            Kind::Echo => {
                self.note(&format!(
                    "watches from {process} to {target:?} say old news"
                ));
                self.world.echo(process, target);
            }
            Kind::Blink => self.blink(number),
            Kind::Empty => self.lose_store(number),
            Kind::RollBack => self.roll_back(number),
            Kind::Accept => {
                if self.world.accept_loss(number) {
                    self.note(&format!("a person accepts the store of {number} as it is"));
                }
            }
            Kind::Remove => self.remove(number),
            Kind::Anew => self.make_anew(number),
        }
    }

    /// Has the same weather on some links of a process.
    fn cover(&self, process: usize, targets: Vec<Target>, weather: Weather) {
        self.note(&format!(
            "the ways from {process} to {targets:?} are {weather:?}"
        ));
        for target in targets {
            self.world.set_weather(process, target, weather);
        }
    }

    fn user(&mut self, number: usize) {
        if self.world.locked().clusters[number].lost.is_some() {
            return;
        }
        let (habits, chance) = (self.habits(), &mut self.chance);
        let done = self.world.act(Target::Virtual(number), |store, now| {
            users::act(store, now, habits, chance)
        });
        self.note(&format!("the tenant of {number} {done}"));
    }

    fn take_away(&mut self) {
        let mut law = std::mem::take(&mut self.world.locked().law);
        let chance = &mut self.chance;
        let done = self.world.act(Target::Host, |store, now| {
            hosts::take_away(store, &mut law, now, chance)
        });
        self.world.locked().law = law;
        if let Some(done) = done {
            self.note(&format!("somebody on the host {done}"));
        }
    }

    fn unlabel(&mut self) {
        let chance = &mut self.chance;
        let done = self.world.act(Target::Host, |store, now| {
            hosts::unlabel(store, now, chance)
        });
        if let Some(done) = done {
            self.note(&format!("somebody on the host {done}"));
        }
    }

    /// Another store answers for a moment, and no watch is cut; meanwhile there is a reason to ask it.
    fn blink(&mut self, number: usize) {
        let now = self.world.now();
        {
            let mut inner = self.world.locked();
            let cluster = &mut inner.clusters[number];
            if cluster.lost.is_some() {
                return;
            }
            let empty = ground::inside(&no_other("blink", number, now), now);
            cluster.lost = Some(std::mem::replace(&mut cluster.store, empty));
        }
        let moment = Duration::from_millis(self.chance.random_range(100..1200));
        self.note(&format!(
            "another store answers for {number}, for {moment:?}"
        ));
        self.take_away();
        self.unlabel();
        self.unlabel();
        let world = Arc::clone(&self.world);
        drop(tokio::spawn(async move {
            tokio::time::sleep(moment).await;
            world.give_back(number);
        }));
    }

    /// A virtual cluster's store comes back empty, or as it was.
    pub(super) fn lose_store(&mut self, number: usize) {
        let now = self.world.now();
        let empty = ground::inside(&no_other("empty", number, now), now);
        self.swap_store(number, Some(empty));
    }

    /// A virtual cluster's store is put back to a copy of it, or to what it was. A copy that is younger than the last
    /// mark would not be noticed, which ADR 24 says.
    fn roll_back(&mut self, number: usize) {
        let copy = {
            let mut inner = self.world.locked();
            let marked = inner.mark_of(number);
            let cluster = &mut inner.clusters[number];
            if cluster.lost.is_some() {
                None
            } else {
                let older = |copy: &Store| marked.is_some() && super::world::mark(copy) != marked;
                let copy = cluster.copy.take_if(|copy| older(copy));
                if copy.is_none() && cluster.copy.is_none() {
                    cluster.copy = Some(cluster.store.clone());
                    drop(inner);
                    self.note(&format!("the store of {number} is copied"));
                    return;
                }
                if copy.is_none() {
                    return;
                }
                copy
            }
        };
        let grown = self.chance.random_range(0..200);
        let prefix = no_other("copy", number, self.world.now());
        let grown = |copy: Store| copy.grown(grown, &prefix);
        self.swap_store(number, copy.map(grown));
    }

    /// Another store answers in place of the right one; or the right one again.
    fn swap_store(&mut self, number: usize, other: Option<Store>) {
        {
            let mut inner = self.world.locked();
            let cluster = &mut inner.clusters[number];
            match (cluster.lost.take(), other) {
                (Some(lost), _) => cluster.store = lost,
                (None, Some(other)) => {
                    cluster.lost = Some(std::mem::replace(&mut cluster.store, other));
                }
                (None, None) => return,
            }
        }
        let target = Target::Virtual(number);
        self.note(&format!("{target:?} has another store"));
        for process in 0..self.started {
            self.world.cut(process, target);
        }
    }

    /// Somebody deletes the VirtualCluster.
    fn remove(&mut self, number: usize) {
        self.note(&format!("virtual cluster {number} is deleted"));
        let (namespace, name) = self.world.locked().clusters[number].place();
        self.world.act(Target::Host, |store, now| {
            hosts::delete_cluster(store, &namespace, &name, now);
        });
    }

    fn make_anew(&mut self, number: usize) {
        self.note(&format!("the host namespace of {number} is made anew"));
        let generation = self.started;
        self.world.make_anew(number, generation);
        for process in 0..self.started {
            self.world.cut(process, Target::Virtual(number));
        }
    }
}

/// A prefix of UIDs that no other store has: UIDs are never given twice.
fn no_other(word: &str, number: usize, now: Timestamp) -> String {
    format!("{word}{number}-{}", now.as_millisecond())
}
