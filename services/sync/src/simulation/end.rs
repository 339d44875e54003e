//! The end of a run: nothing disturbs it any more, and everything must come to rest.

use std::time::Duration;

use tokio::time::sleep;

use super::peace;
use super::run::Run;
use super::weather::Weather;
use super::world::Target;

/// How long it may take until both sides are the same.
const PATIENCE: Duration = Duration::from_mins(8);
/// How long it may take until everybody who was let go is taken up again.
const BEGUN: Duration = Duration::from_secs(40);
/// Longer than the longest pause before a retry, and than the time between two scans.
const RETRIED: Duration = Duration::from_secs(70);
/// Who held a tenant is waited for, and then it is listed, which takes long where answers are late.
const SLOWLY: Duration = Duration::from_mins(2);
/// How long a watch that broke may take to go on.
const RESUMED: Duration = Duration::from_secs(15);

impl Run {
    /// Nothing disturbs sync from now on, and whoever has to decide has decided.
    pub(super) fn calm(&mut self) {
        self.note("calm");
        self.world.unstick();
        for target in self.targets() {
            if let Target::Virtual(number) = target
                && self.world.locked().clusters[number].lost.is_some()
            {
                self.lose_store(number);
            }
            for process in 0..self.started {
                self.world.set_weather(process, target, Weather::Clear);
            }
        }
        self.world.crash_after(usize::MAX, u64::MAX, false);
        self.bury();
    }

    /// Both sides come to be the same.
    pub(super) async fn peace(&self) -> Result<(), String> {
        let begun = self.world.elapsed();
        loop {
            sleep(Duration::from_secs(2)).await;
            self.law()?;
            if self.world.accept_stores() {
                self.note("a person says that a store that went back and forth is right");
            }
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
    pub(super) async fn quiet(&self) -> Result<(), String> {
        // A retry that was due still comes.
        sleep(BEGUN + RETRIED).await;
        let before = self.world.locked().law.writes();
        self.note("quiet");
        sleep(RETRIED).await;
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

    /// A process that begins with everything in place writes nothing, in whatever order it learns of it, and however old
    /// the virtual API server's caches are.
    pub(super) async fn again(&mut self) -> Result<(), String> {
        let before = self.world.locked().law.writes_to_objects();
        self.note("everybody crashes, another one begins");
        self.processes.clear();
        self.start();
        let number = self.started - 1;
        for (weather, lasts) in [(Weather::Slow, SLOWLY), (Weather::Clear, RETRIED)] {
            for target in self.targets() {
                self.world.set_weather(number, target, weather);
            }
            sleep(lasts).await;
            self.law()?;
        }
        if self.world.locked().law.writes_to_objects() != before {
            return Err("something is written because a process begins".to_owned());
        }
        peace::broken(&self.world.locked()).map_or(Ok(()), |why| Err(format!("peace ends: {why}")))
    }

    /// Watches that break go on where they were: nothing is listed again, and nothing written. Of what an API server has
    /// forgotten the past, that kind alone is listed again.
    pub(super) async fn resume(&self) -> Result<(), String> {
        const PODS: &str = "/api/v1/pods";
        // That a kind is being listed is said of the virtual cluster, and that it is listed.
        let before = self.world.locked().law.writes_to_objects();
        for forgets in [false, true] {
            self.note(if forgets {
                "the past of pods is forgotten, watches are cut"
            } else {
                "watches are cut"
            });
            self.world.locked().law.begin_lists();
            for target in self.targets() {
                if forgets {
                    self.world.act(target, |store, _| store.forget(PODS));
                }
                for process in 0..self.started {
                    self.world.cut(process, target);
                }
            }
            sleep(RESUMED).await;
            let inner = self.world.locked();
            let mut lists = inner.law.lists().iter();
            if let Some(list) = lists.find(|list| !forgets || list.1 != PODS) {
                return Err(format!(
                    "listed again though its watch could go on: {list:?}"
                ));
            }
        }
        if self.world.locked().law.writes_to_objects() != before {
            return Err("something is written because watches broke".to_owned());
        }
        self.law()
    }
}
