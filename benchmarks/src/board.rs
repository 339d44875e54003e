//! When each pod of a run reached each stage, by one clock: the generator's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::figures;

/// What has happened to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The request that makes it was sent.
    Sent,
    /// That request was answered.
    Accepted,
    /// Its pod on the host was seen.
    OnHost,
    /// The host's node has said that it is ready.
    Running,
    /// Its user saw it ready.
    Ready,
}

const STAGES: usize = 5;

/// The pods of one run, by host namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pods: Mutex<HashMap<String, [Option<Instant>; STAGES]>>,
    changed: Notify,
}

impl Board {
    /// Forgets every pod.
    pub(crate) fn clear(&self) {
        self.pods().clear();
    }

    /// Takes a pod in.
    pub(crate) fn enter(&self, namespace: &str, name: &str) {
        self.pods().entry(key(namespace, name)).or_default()[0] = Some(Instant::now());
    }

    /// Takes note that a pod of the run has reached a stage; the first time counts.
    pub(crate) fn reach(&self, namespace: &str, name: &str, stage: Stage) {
        let mut pods = self.pods();
        let Some(stamps) = pods.get_mut(&key(namespace, name)) else {
            return;
        };
        let stamp = &mut stamps[stage as usize];
        if stamp.is_none() {
            *stamp = Some(Instant::now());
            drop(pods);
            if stage == Stage::Ready {
                self.changed.notify_waiters();
            }
        }
    }

    /// Waits until every pod that was taken in has reached a stage; tells in an error how many have not.
    pub(crate) async fn all(&self, stage: Stage, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let missing = self.missing(stage);
            if missing == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{missing} pods do not become {stage:?}");
            }
            let change = self.changed.notified();
            drop(tokio::time::timeout(Duration::from_millis(20), change).await);
        }
    }

    /// Waits until one pod is ready.
    pub(crate) async fn ready(
        &self,
        namespace: &str,
        name: &str,
        patience: Duration,
    ) -> Result<()> {
        let until = Instant::now() + patience;
        let key = key(namespace, name);
        loop {
            let change = self.changed.notified();
            let stamps = self.pods().get(&key).copied();
            if stamps.is_some_and(|stamps| stamps[Stage::Ready as usize].is_some()) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{key} does not become ready");
            }
            drop(tokio::time::timeout(Duration::from_millis(20), change).await);
        }
    }

    fn missing(&self, stage: Stage) -> usize {
        self.pods()
            .values()
            .filter(|stamps| stamps[stage as usize].is_none())
            .count()
    }

    /// Seconds from the first request to the last pod that was seen ready.
    pub(crate) fn total(&self) -> f64 {
        let pods = self.pods();
        let first = pods.values().filter_map(|stamps| stamps[0]).min();
        let last = pods
            .values()
            .filter_map(|stamps| stamps[Stage::Ready as usize])
            .max();
        match (first, last) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            (None, _) | (_, None) => f64::NAN,
        }
    }

    /// Milliseconds from one stage to another, of the pods whose namespace is wanted.
    pub(crate) fn between(
        &self,
        from: Stage,
        to: Stage,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<f64> {
        let pods = self.pods();
        let wanted = pods
            .iter()
            .filter(|(key, _)| wanted(key.split('/').next().unwrap_or_default()));
        let both =
            wanted.filter_map(|(_, stamps)| Some((stamps[from as usize]?, stamps[to as usize]?)));
        both.map(|(from, to)| to.saturating_duration_since(from).as_secs_f64() * 1e3)
            .collect()
    }

    /// Seconds from a moment until each pod reached a stage.
    pub(crate) fn since(&self, begun: Instant, stage: Stage) -> Vec<f64> {
        let pods = self.pods();
        let reached = pods.values().filter_map(|stamps| stamps[stage as usize]);
        reached
            .map(|at| at.saturating_duration_since(begun).as_secs_f64())
            .collect()
    }

    /// Mean milliseconds of each part of the way from request to Ready.
    pub(crate) fn stages(&self) -> Value {
        let mean = |from, to| figures::mean(&self.between(from, to, |_| true));
        json!({
            "create": mean(Stage::Sent, Stage::Accepted),
            "down": mean(Stage::Accepted, Stage::OnHost),
            "host": mean(Stage::OnHost, Stage::Running),
            "up": mean(Stage::Running, Stage::Ready),
            "all": mean(Stage::Sent, Stage::Ready),
        })
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, [Option<Instant>; STAGES]>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_time_that_a_pod_reaches_a_stage_counts() {
        let board = Board::default();
        board.enter("t-0", "a");
        board.reach("t-0", "stranger", Stage::Ready);
        tokio::time::advance(Duration::from_millis(30)).await;
        board.reach("t-0", "a", Stage::Ready);
        tokio::time::advance(Duration::from_millis(30)).await;
        board.reach("t-0", "a", Stage::Ready);
        board.all(Stage::Ready, Duration::ZERO).await.unwrap();
        let took = board.between(Stage::Sent, Stage::Ready, |namespace| namespace == "t-0");
        assert_eq!(took.len(), 1);
        assert!((took[0] - 30.0).abs() < 1e-6, "{took:?}");
        assert!(
            board
                .between(Stage::Sent, Stage::Ready, |namespace| namespace == "t")
                .is_empty()
        );
    }
}
