//! The links between sync's processes and servers, and the weather on each.

use std::time::Duration;

use rand::Rng;

use super::{Inner, Target, World};
use crate::simulation::store::Call;
use crate::simulation::weather::{Fate, Weather};

/// The link between a process and a server.
#[derive(Debug, Default)]
pub(super) struct Link {
    weather: Weather,
    /// Since when it is so.
    since: Duration,
    /// It stays so until everything is calm.
    is_stuck: bool,
    /// Nothing of Leases passes until everything is calm.
    is_unled: bool,
    /// Rises when every watch over it is cut.
    epoch: u64,
    /// Rises when every watch over it is to say again what it said.
    echoes: u64,
}

impl World {
    /// Sets the weather on a link.
    pub(in crate::simulation) fn set_weather(
        &self,
        process: usize,
        target: Target,
        weather: Weather,
    ) {
        let at = self.elapsed();
        let mut inner = self.locked();
        let link = inner.link(process, target);
        if link.weather != weather && !link.is_stuck {
            (link.weather, link.since) = (weather, at);
        }
        inner.tell(target, None);
    }

    /// Has nobody answer at a link until everything is calm.
    pub(in crate::simulation) fn kill_link(&self, process: usize, target: Target) {
        self.set_weather(process, target, Weather::Refused);
        self.locked().link(process, target).is_stuck = true;
    }

    /// Has a process neither renew its Lease nor hear of those of others until everything is calm. Whatever else it asks
    /// the host passes.
    pub(in crate::simulation) fn unlead(&self, process: usize) {
        self.locked().link(process, Target::Host).is_unled = true;
        self.cut(process, Target::Host);
    }

    /// Nothing stays as it is.
    pub(in crate::simulation) fn unstick(&self) {
        for link in self.locked().links.values_mut() {
            (link.is_stuck, link.is_unled) = (false, false);
        }
    }

    /// Cuts every watch over a link.
    pub(in crate::simulation) fn cut(&self, process: usize, target: Target) {
        let mut inner = self.locked();
        inner.link(process, target).epoch += 1;
        inner.tell(target, None);
    }

    pub(in crate::simulation) fn epoch(&self, process: usize, target: Target) -> u64 {
        self.locked().link(process, target).epoch
    }

    /// Has every watch over a link say again what it said.
    pub(in crate::simulation) fn echo(&self, process: usize, target: Target) {
        let mut inner = self.locked();
        inner.link(process, target).echoes += 1;
        inner.tell(target, None);
    }

    pub(in crate::simulation) fn echoes(&self, process: usize, target: Target) -> u64 {
        self.locked().link(process, target).echoes
    }

    /// How much later a watch hears of something; nothing if it hears nothing for now.
    pub(in crate::simulation) fn hearing(
        &self,
        process: usize,
        target: Target,
    ) -> Option<Duration> {
        let mut inner = self.locked();
        let weather = inner.link(process, target).weather;
        weather.hearing(&mut inner.chance)
    }

    /// Which of what was said before is said again, if any.
    pub(in crate::simulation) fn again(
        &self,
        process: usize,
        target: Target,
        said: usize,
    ) -> Option<usize> {
        let mut inner = self.locked();
        let is_stormy = inner.link(process, target).weather == Weather::Storm;
        (said > 0 && is_stormy && inner.chance.random_bool(0.2))
            .then(|| inner.chance.random_range(0..said))
    }

    /// What becomes of a request.
    pub(in crate::simulation) fn fate(&self, process: usize, target: Target, call: &Call) -> Fate {
        let mut inner = self.locked();
        let link = inner.link(process, target);
        let weather = match link.weather {
            // A watch that does not begin is a failed request like others; while it runs, the weather is heard.
            Weather::Slow if call.is_watch() => Weather::Clear,
            // What is read late is old news, which nobody waits for.
            Weather::Tardy if call.method == http::Method::GET => Weather::Clear,
            Weather::Clear
            | Weather::Slow
            | Weather::Far
            | Weather::Tardy
            | Weather::Storm
            | Weather::Refused
            | Weather::Silent => link.weather,
        };
        let is_of_leases = call.path.contains("/leases");
        let weather = if link.is_unled && is_of_leases {
            Weather::Refused
        } else {
            weather
        };
        weather.fate(&mut inner.chance)
    }
}

impl Inner {
    /// Since when nobody answers at a link, if that is so.
    pub(in crate::simulation) fn refused_since(
        &mut self,
        process: usize,
        target: Target,
    ) -> Option<Duration> {
        let link = self.link(process, target);
        (link.weather == Weather::Refused).then_some(link.since)
    }

    pub(in crate::simulation) fn weather(&mut self, process: usize, target: Target) -> Weather {
        self.link(process, target).weather
    }

    pub(super) fn link(&mut self, process: usize, target: Target) -> &mut Link {
        self.links.entry((process, target)).or_default()
    }
}
