//! A run under way: its processes, and the stages that it goes through.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::crowd::Crowd;
use super::happen::Mix;
use super::process::{BURST, Process, Settings};
use super::theme::Theme;
use super::trace::Trace;
use super::users::Habits;
use super::world::{Target, World};
use super::{Outcome, ground, hosts};

/// Keys of a tenant in work at once, where nobody is a burden.
const IN_FLIGHT: usize = 2;

/// A run under way.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) chance: StdRng,
    pub(super) mix: Mix,
    /// What it is about, if it is about one thing.
    theme: Option<Theme>,
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
        let theme = Theme::of(seed);
        let crowd = Crowd::by(&mut chance);
        let crowd = theme.map_or(crowd, Theme::crowd);
        let count = if crowd.is_some() {
            Crowd::TENANTS
        } else if theme.is_some() {
            1
        } else {
            chance.random_range(1..=2)
        };
        let (host, clusters) = ground::lay(count, start);
        let world = Arc::new(World::new(seed, host, clusters, Trace::new(all)));
        if let Some(crowd) = crowd {
            world.locked().law.may_save(crowd.burst());
        }
        let mix = Mix::by(&mut chance, theme);
        // A mark of where a store stands is made at a scan: where stores go back, scans are often.
        let scan = Duration::from_secs(if mix.rolls_back() { 15 } else { 60 });
        Self {
            world,
            chance,
            mix,
            theme,
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
        let has_two = match self.theme {
            None => self.crowd.is_none() && self.chance.random_bool(0.5),
            Some(theme) => theme.has_two(),
        };
        if has_two {
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
        match self.theme {
            None => self.resume().await,
            Some(Theme::Restarts) => self.again().await,
            Some(_) => Ok(()),
        }
    }

    async fn trouble(&mut self) -> Result<(), String> {
        let longer = self.theme.map(Theme::longer).unwrap_or_default();
        let trouble = Duration::from_secs(self.chance.random_range(20..90)) + longer;
        while self.world.elapsed() < trouble {
            sleep(Duration::from_millis(self.chance.random_range(10..1500))).await;
            self.happen();
            self.law()?;
        }
        Ok(())
    }

    /// What tenants like to do.
    pub(super) fn habits(&self) -> Habits {
        self.theme.map(Theme::habits).unwrap_or_default()
    }

    /// Whether the law was kept so far.
    pub(super) fn law(&self) -> Result<(), String> {
        self.bounds()?;
        let inner = self.world.locked();
        inner
            .law
            .broken()
            .first()
            .map_or(Ok(()), |broken| Err(format!("the law is broken: {broken}")))
    }

    /// Whether of no tenant more keys are in work than may be.
    fn bounds(&self) -> Result<(), String> {
        let most = self.crowd.map_or(IN_FLIGHT, Crowd::in_flight);
        for process in &self.processes {
            for tenant in process.engine.all() {
                let depth = process.engine.work.depth(tenant.ticket);
                if depth.in_flight > most {
                    return Err(format!("more than {most} keys are in work: {depth:?}"));
                }
            }
        }
        Ok(())
    }

    /// Writes a line into the log.
    pub(super) fn note(&self, line: &str) {
        let at = self.world.elapsed();
        self.world.locked().trace.note(at, format_args!("* {line}"));
    }

    /// Starts a process.
    pub(super) fn start(&mut self) {
        self.note(&format!("process {} starts", self.started));
        let settings = Settings {
            scan: self.scan,
            in_flight: self.crowd.map_or(IN_FLIGHT, Crowd::in_flight),
            burst: self.crowd.map_or(BURST, Crowd::burst),
        };
        let process = Process::start(&self.world, self.started, settings);
        self.processes.push(process);
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
