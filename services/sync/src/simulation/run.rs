//! A run under way: its processes, and the stages that it goes through.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::crowd::Crowd;
use super::happen::Mix;
use super::process::Process;
use super::trace::Trace;
use super::world::{Target, World};
use super::{Outcome, ground, hosts};

/// A run under way.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) chance: StdRng,
    pub(super) mix: Mix,
    /// Who harms whom, if this is about that.
    crowd: Option<Crowd>,
    pub(super) processes: Vec<Process>,
    pub(super) started: usize,
    /// Time between two scans.
    pub(super) scan: Duration,
    settled: Duration,
}

impl Run {
    pub(super) fn new(seed: u64, all: bool) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let start = jiff::Timestamp::from_second(1_790_000_000).unwrap_or_default();
        let crowd = Crowd::by(&mut chance);
        let count = if crowd.is_some() {
            Crowd::TENANTS
        } else {
            chance.random_range(1..=2)
        };
        let (host, clusters) = ground::lay(count, start);
        let world = Arc::new(World::new(seed, host, clusters, Trace::new(all)));
        let mix = Mix::by(&mut chance);
        // A mark of where a store stands is made at a scan: where stores go back, scans are often.
        let scan = Duration::from_secs(if mix.rolls_back() { 15 } else { 60 });
        Self {
            world,
            chance,
            mix,
            crowd,
            processes: Vec::new(),
            started: 0,
            scan,
            settled: Duration::ZERO,
        }
    }

    /// Runs all of it.
    pub(super) async fn whole(mut self) -> Outcome {
        self.start();
        if self.crowd.is_none() && self.chance.random_bool(0.5) {
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
        match self.crowd {
            Some(crowd) => self.crowd(crowd).await?,
            None => self.trouble().await?,
        }
        self.calm();
        let begun = self.world.elapsed();
        self.peace().await?;
        self.settled = self.world.elapsed().saturating_sub(begun);
        self.quiet().await?;
        self.resume().await
    }

    async fn trouble(&mut self) -> Result<(), String> {
        let trouble = Duration::from_secs(self.chance.random_range(20..90));
        while self.world.elapsed() < trouble {
            sleep(Duration::from_millis(self.chance.random_range(10..1500))).await;
            self.happen();
            self.law()?;
        }
        Ok(())
    }

    /// Whether the law was kept so far.
    pub(super) fn law(&self) -> Result<(), String> {
        let inner = self.world.locked();
        inner
            .law
            .broken()
            .first()
            .map_or(Ok(()), |broken| Err(format!("the law is broken: {broken}")))
    }

    /// Writes a line into the log.
    pub(super) fn note(&self, line: &str) {
        let at = self.world.elapsed();
        self.world.locked().trace.note(at, format_args!("* {line}"));
    }

    /// Starts a process.
    pub(super) fn start(&mut self) {
        self.note(&format!("process {} starts", self.started));
        let in_flight = self.crowd.map_or(2, Crowd::in_flight);
        self.processes.push(Process::start(
            &self.world,
            self.started,
            self.scan,
            in_flight,
        ));
        self.started += 1;
    }

    /// Who died is replaced.
    pub(super) fn bury(&mut self) {
        let world = Arc::clone(&self.world);
        self.processes
            .retain(|process| !world.is_dead(process.number));
        if !self.processes.iter().any(Process::stays) {
            self.start();
        }
    }

    /// Every API server.
    pub(super) fn targets(&self) -> Vec<Target> {
        let clusters = self.world.locked().clusters.len();
        [Target::Host]
            .into_iter()
            .chain((0..clusters).map(Target::Virtual))
            .collect()
    }
}

/// The host's controllers, for ever.
async fn nature(world: Arc<World>, seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    for round in 1_u64.. {
        sleep(hosts::TICK).await;
        world.act(Target::Host, |store, now| {
            hosts::tick(store, now, &mut chance);
            if round.is_multiple_of(hosts::GARBAGE) {
                hosts::collect_garbage(store, now);
            }
        });
    }
}
