//! One tenant among others that are greedy or dead: it is served as if it were alone.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::law::PODS;
use super::process::{BURST, WORKERS};
use super::run::Run;
use super::store::Id;
use super::users::{self, Habits};
use super::weather::Weather;
use super::world::Target;

/// How often a run is about this.
const OFTEN: f64 = 0.06;
/// Until everybody is taken up.
const TAKEN_UP: Duration = Duration::from_secs(10);
/// How long the others are a burden.
const BURDEN: u32 = 10;
/// How long a pod may take to the host, whatever the others do.
const PROMPT: Duration = Duration::from_secs(2);
/// Pods that a greedy one makes at once.
const FLOOD: u32 = 250;

/// What the others are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowd {
    /// One makes hundreds of pods at once.
    Greedy,
    /// The same, with an allowance for all of it, on a host that is far away: turns are what is left.
    Far,
    /// The API servers of the others do not answer, or after seconds.
    Dead(Weather),
}

impl Crowd {
    /// How many tenants there are.
    pub(super) const TENANTS: usize = 3;

    /// Chooses; mostly there is none.
    pub(super) fn by(chance: &mut StdRng) -> Option<Self> {
        let all = [
            Self::Greedy,
            Self::Dead(Weather::Slow),
            Self::Dead(Weather::Silent),
        ];
        let chosen = all[chance.random_range(0..all.len())];
        chance.random_bool(OFTEN).then_some(chosen)
    }

    /// How many writes a tenant may save up.
    pub(super) fn burst(self) -> u32 {
        match self {
            Self::Far => 10 * BURST,
            Self::Greedy | Self::Dead(_) => BURST,
        }
    }

    /// How many keys of a tenant may be in work at once. Who has as many as it may leaves the others their turn: where
    /// that never happens, turns are what is left.
    pub(super) fn in_flight(self) -> usize {
        match self {
            Self::Greedy => WORKERS,
            Self::Far => 16 * WORKERS,
            Self::Dead(_) => 1,
        }
    }
}

impl Crowd {
    fn is_greedy(self) -> bool {
        matches!(self, Self::Greedy | Self::Far)
    }
}

impl Run {
    /// The others are a burden, the first one makes a pod every second: each is on the host soon.
    pub(super) async fn crowd(&mut self, crowd: Crowd) -> Result<(), String> {
        self.note(&format!("the others: {crowd:?}"));
        self.busy_others();
        sleep(TAKEN_UP).await;
        if let Crowd::Dead(weather) = crowd {
            for other in 1..Crowd::TENANTS {
                self.world.set_weather(0, Target::Virtual(other), weather);
            }
        }
        if crowd == Crowd::Far {
            self.world.set_weather(0, Target::Host, Weather::Far);
        }
        for second in 0..BURDEN {
            if crowd.is_greedy() && second == 2 {
                self.world.act(Target::Virtual(1), |store, now| {
                    users::flood(store, FLOOD, now);
                });
            }
            self.busy_others();
            let id = Id::new(PODS, "shop", &format!("regular{second}"));
            self.world.act(Target::Virtual(0), |store, now| {
                users::make_pod(store, &id, now);
            });
            self.note("a pod is made that must be served soon");
            sleep(PROMPT).await;
            self.law()?;
            if !self.world.locked().is_on_host(0, &id) {
                return Err(format!("{id:?} is not on the host after {PROMPT:?}"));
            }
        }
        Ok(())
    }

    /// Something happens in each other virtual cluster, and to what it has on the host.
    fn busy_others(&mut self) {
        for other in 1..Crowd::TENANTS {
            for _ in 0..4 {
                let chance = &mut self.chance;
                self.world.act(Target::Virtual(other), |store, now| {
                    users::act(store, now, Habits::default(), chance)
                });
            }
        }
    }
}
