//! A deterministic simulation: the shipped engine in a world in which only clock, transport and chance are replaced.
//!
//! A seed gives a schedule: what tenants and the host's side do, how the network is, when processes crash. The same
//! seed gives the same run, request by request. In each run these hold:
//! - no wrong delete, and nothing of strangers touched: at every write ([`law`]);
//! - once nothing disturbs it any more, both sides are the same within bounded time, and nothing is written from then
//!   on ([`peace`]);
//! - what is kept in memory is bounded by what there is.
//!
//! See CONTRIBUTING.md for how to run a seed.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use vcluster_chassis::chance;
use vcluster_translate::environment;

mod ground;
mod hosts;
mod law;
mod network;
mod peace;
mod process;
mod store;
mod trace;
mod users;
mod weather;
mod world;

pub(crate) use network::Network;
use process::{Process, SCAN};
use store::Id;
use trace::Trace;
use weather::Weather;
use world::{Target, World, annotation};

use crate::tenant::store::STORE_UID;

/// How long it may take until both sides are the same.
const PATIENCE: Duration = Duration::from_mins(8);

/// What a run came to.
#[derive(Debug)]
struct Outcome {
    /// What was broken.
    broken: Option<String>,
    /// A hash of every request.
    hash: u64,
    requests: u64,
    /// How long it took until both sides were the same.
    settled: Duration,
    /// The last requests.
    lines: String,
}

/// Runs the schedule of a seed; keeps every line of its log if `all`.
fn run(seed: u64, all: bool) -> Outcome {
    vcluster_chassis::crypto::install();
    let _seeded = chance::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime can be built")
        .block_on(async { Run::new(seed, all).whole().await })
}

/// A run under way.
struct Run {
    world: Arc<World>,
    chance: StdRng,
    processes: Vec<Process>,
    started: usize,
    settled: Duration,
}

impl Run {
    fn new(seed: u64, all: bool) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let start = jiff::Timestamp::from_second(1_790_000_000).unwrap_or_default();
        let (host, clusters) = ground::lay(chance.random_range(1..=2), start);
        let world = Arc::new(World::new(seed, host, clusters, Trace::new(all)));
        Self {
            world,
            chance,
            processes: Vec::new(),
            started: 0,
            settled: Duration::ZERO,
        }
    }

    async fn whole(mut self) -> Outcome {
        self.start();
        if self.chance.random_bool(0.5) {
            self.start();
        }
        let nature = tokio::spawn(nature(Arc::clone(&self.world), self.chance.random()));
        let broken = self.stages().await.err();
        nature.abort();
        let inner = self.world.locked();
        Outcome {
            broken,
            hash: inner.trace.hash(),
            requests: inner.trace.requests(),
            settled: self.settled,
            lines: inner.trace.lines(),
        }
    }

    async fn stages(&mut self) -> Result<(), String> {
        let trouble = Duration::from_secs(self.chance.random_range(20..90));
        while self.world.elapsed() < trouble {
            sleep(Duration::from_millis(self.chance.random_range(10..1500))).await;
            self.disturb();
            self.law()?;
        }
        self.calm();
        let begun = self.world.elapsed();
        self.peace().await?;
        self.settled = self.world.elapsed().saturating_sub(begun);
        self.quiet().await
    }

    fn law(&self) -> Result<(), String> {
        let inner = self.world.locked();
        inner
            .law
            .broken()
            .first()
            .map_or(Ok(()), |broken| Err(format!("the law is broken: {broken}")))
    }

    fn note(&self, line: &str) {
        let at = self.world.elapsed();
        self.world.locked().trace.note(at, format_args!("* {line}"));
    }

    fn start(&mut self) {
        self.note(&format!("process {} starts", self.started));
        self.processes
            .push(Process::start(&self.world, self.started));
        self.started += 1;
    }

    fn targets(&self) -> Vec<Target> {
        let clusters = self.world.locked().clusters.len();
        [Target::Host]
            .into_iter()
            .chain((0..clusters).map(Target::Virtual))
            .collect()
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.chance.random_range(0..all.len())]
    }

    /// Does one thing that happens.
    fn disturb(&mut self) {
        self.bury();
        let targets = self.targets();
        let target = self.pick(&targets);
        let process = self
            .processes
            .get(self.chance.random_range(0..self.processes.len()));
        let process = process.map_or(0, |process| process.number);
        match self.chance.random_range(0..100) {
            0..55 => self.user(),
            55..62 => self.take_away(),
            62..74 => {
                let weather = Weather::bad(&mut self.chance);
                self.note(&format!(
                    "the way from {process} to {target:?} is {weather:?}"
                ));
                self.world.set_weather(process, target, weather);
            }
            74..82 => {
                for process in 0..self.started {
                    self.world.set_weather(process, target, Weather::Clear);
                }
            }
            82..88 => {
                self.note(&format!("watches from {process} to {target:?} are cut"));
                self.world.cut(process, target);
            }
            88..92 => {
                self.note(&format!("{target:?} is compacted, its watches are cut"));
                self.world.act(target, |store, _| store.compact());
                self.world.cut(process, target);
            }
            92..96 => {
                let (requests, is_done) = (self.chance.random_range(1..120), self.chance.random());
                self.note(&format!("{process} will crash after {requests} requests"));
                self.world.crash_after(process, requests, is_done);
            }
            96..98 => {
                self.note(&format!("{process} is told to stop"));
                if let Some(found) = self.processes.iter().find(|found| found.number == process) {
                    found.stop();
                }
                self.start();
            }
            _ => self.lose_store(target),
        }
    }

    fn user(&mut self) {
        let clusters = self.targets().len() - 1;
        let number = self.chance.random_range(0..clusters);
        if self.world.locked().clusters[number].lost.is_some() {
            return;
        }
        let chance = &mut self.chance;
        let done = self.world.act(Target::Virtual(number), |store, now| {
            users::act(store, now, chance)
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

    /// A virtual cluster's store comes back empty, or as it was.
    fn lose_store(&mut self, target: Target) {
        let Target::Virtual(number) = target else {
            return;
        };
        if !self.is_remembered(number) {
            return;
        }
        let now = self.world.now();
        {
            let mut inner = self.world.locked();
            let cluster = &mut inner.clusters[number];
            if let Some(lost) = cluster.lost.take() {
                cluster.store = lost;
            } else {
                let empty = ground::inside(&format!("empty{number}"), now);
                cluster.lost = Some(std::mem::replace(&mut cluster.store, empty));
            }
        }
        self.note(&format!("{target:?} has another store"));
        for process in 0..self.started {
            self.world.cut(process, target);
        }
    }

    /// Whether the host remembers the store: one that was never remembered is trusted, whatever it has.
    fn is_remembered(&self, number: usize) -> bool {
        let inner = self.world.locked();
        let namespace = &inner.clusters[number].namespace;
        let id = Id::new("/api/v1/configmaps", namespace, environment::CONFIG_MAP);
        let kept = inner.host.get(&id);
        kept.is_some_and(|kept| !annotation(kept, STORE_UID).is_empty())
    }

    /// Who died is replaced.
    fn bury(&mut self) {
        let world = Arc::clone(&self.world);
        self.processes
            .retain(|process| !world.is_dead(process.number));
        if !self.processes.iter().any(Process::stays) {
            self.start();
        }
    }

    /// Nothing disturbs sync from now on.
    fn calm(&mut self) {
        self.note("calm");
        for target in self.targets() {
            if let Target::Virtual(number) = target
                && self.world.locked().clusters[number].lost.is_some()
            {
                self.lose_store(target);
            }
            for process in 0..self.started {
                self.world.set_weather(process, target, Weather::Clear);
            }
        }
        self.world.crash_after(usize::MAX, u64::MAX, false);
        self.bury();
    }

    /// Both sides come to be the same.
    async fn peace(&self) -> Result<(), String> {
        let begun = self.world.elapsed();
        loop {
            sleep(Duration::from_secs(2)).await;
            self.law()?;
            let Some(why) = peace::broken(&self.world.locked()) else {
                self.note("peace");
                return Ok(());
            };
            if self.world.elapsed().saturating_sub(begun) > PATIENCE {
                return Err(format!("no peace: {why}"));
            }
        }
    }

    /// Nothing is written any more, and what is known is what there is.
    async fn quiet(&self) -> Result<(), String> {
        // A retry that was due still comes.
        sleep(SCAN + SCAN).await;
        let before = self.world.locked().law.writes();
        self.note("quiet");
        sleep(SCAN + SCAN).await;
        self.law()?;
        let inner = self.world.locked();
        if inner.law.writes() != before {
            return Err("something is written in peace".to_owned());
        }
        peace::broken(&inner).map_or(Ok(()), |why| Err(format!("peace ends: {why}")))?;
        let objects = inner.host.objects().count()
            + inner
                .clusters
                .iter()
                .map(|cluster| cluster.store.objects().count())
                .sum::<usize>();
        drop(inner);
        for process in &self.processes {
            let depth = process.engine.work.total();
            if depth.queued + depth.in_flight + depth.retrying > 0 {
                return Err(format!("the queue is not at rest: {depth:?}"));
            }
            for tenant in process.engine.all() {
                let known = tenant.state().all_keys().count();
                if known > objects {
                    return Err(format!("{known} keys are known of {objects} objects"));
                }
            }
        }
        Ok(())
    }
}

/// The host's controllers, for ever.
#[expect(clippy::infinite_loop, reason = "it is aborted with the run")]
async fn nature(world: Arc<World>, seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    loop {
        sleep(hosts::TICK).await;
        world.act(Target::Host, |store, now| {
            hosts::tick(store, now, &mut chance);
        });
    }
}

#[cfg(test)]
mod tests;
