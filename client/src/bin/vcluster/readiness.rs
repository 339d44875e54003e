//! Waiting until a virtual cluster is usable, or gone, and telling what is awaited meanwhile.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;
use tonic::Code;
use vcluster_client::{
    Client, Event, Scope,
    proto::control::v1::{Phase, VirtualCluster},
};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
    ui::progress::Progress,
};

/// How often to look if the user may get but not watch.
const POLL: Duration = Duration::from_secs(2);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Every condition holds.
    Ready,
    /// One can work in it: a cluster that was ready, and whose API server answers, is enough. What
    /// else it lacks is often what one wants to look at.
    Reachable,
}

/// What a state means for somebody who waits.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Usable,
    Awaited(String),
    Hopeless(String),
}

/// Waits for `cluster`, at most until `timeout` has passed.
pub(crate) async fn wait(
    client: &Client,
    cluster: &VirtualCluster,
    until: Until,
    timeout: Duration,
    progress: &Progress<'_>,
) -> Result<VirtualCluster> {
    let mut seen = Seen::default();
    let mut states = States::new(client, cluster);
    let mut last = cluster.clone();
    let end = Instant::now() + timeout;
    loop {
        for fact in seen.news(&last) {
            progress.done(&fact);
        }
        match standing(&last, until) {
            Standing::Usable => return Ok(last),
            Standing::Awaited(message) => progress.update(&message),
            Standing::Hopeless(message) => {
                return Err(Failure::new(Exit::Precondition, message).context(format!(
                    "virtual cluster {:?} cannot become ready",
                    last.name
                )));
            }
        }
        let next = tokio::select! {
            next = tokio::time::timeout_at(end, states.next()) => next,
            _ = tokio::signal::ctrl_c() => return Err(interrupted(&last)),
        };
        last = match next {
            Ok(Ok(Some(state))) => state,
            Ok(Ok(None)) => {
                let sentence = format!("virtual cluster {:?} was deleted meanwhile", last.name);
                return Err(Failure::new(Exit::Precondition, sentence));
            }
            Ok(Err(failure)) => return Err(failure),
            Err(_elapsed) => return Err(late(&last, timeout)),
        };
    }
}

/// Waits until `cluster` is gone, at most until `timeout` has passed.
pub(crate) async fn gone(
    client: &Client,
    cluster: &VirtualCluster,
    timeout: Duration,
    progress: &Progress<'_>,
) -> Result {
    let mut states = States::new(client, cluster);
    let mut last = cluster.clone();
    let end = Instant::now() + timeout;
    loop {
        progress.update(&leftover(&last));
        let next = tokio::select! {
            next = tokio::time::timeout_at(end, states.next()) => next,
            _ = tokio::signal::ctrl_c() => return Err(interrupted(&last)),
        };
        match next {
            Ok(Ok(Some(state))) => last = state,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(failure)) => return Err(failure),
            Err(_elapsed) => {
                let sentence = format!(
                    "virtual cluster {:?} is not gone after {} s: {}",
                    last.name,
                    timeout.as_secs(),
                    leftover(&last)
                );
                return Err(Failure::new(Exit::Deadline, sentence)
                    .hint("its removal goes on; wait longer with --timeout"));
            }
        }
    }
}

fn late(last: &VirtualCluster, timeout: Duration) -> Failure {
    let sentence = format!(
        "virtual cluster {:?} is not ready after {} s: {}",
        last.name,
        timeout.as_secs(),
        message(last)
    );
    Failure::new(Exit::Deadline, sentence).hint(format!(
        "it may still become ready: `vcluster get {} -n {}` tells what it waits for",
        last.name, last.host_namespace
    ))
}

fn interrupted(last: &VirtualCluster) -> Failure {
    Failure::new(Exit::Interrupted, "interrupted").hint(format!(
        "the work on virtual cluster {:?} goes on; `vcluster get {} -n {}` shows how far it is",
        last.name, last.name, last.host_namespace
    ))
}

fn standing(cluster: &VirtualCluster, until: Until) -> Standing {
    let status = cluster.status.clone().unwrap_or_default();
    match status.phase() {
        Phase::Failed => Standing::Hopeless(message(cluster)),
        Phase::Deleting => Standing::Hopeless("it is being deleted".to_owned()),
        Phase::Unspecified | Phase::Pending | Phase::Ready | Phase::Degraded => {
            let holds = |kind: &str| {
                let mut conditions = status.conditions.iter();
                conditions.any(|c| c.r#type == kind && c.status == "True")
            };
            let usable = match until {
                Until::Ready => holds("Ready"),
                Until::Reachable => {
                    holds("Ready")
                        || (status.phase() == Phase::Degraded && holds("ControlPlaneReady"))
                }
            };
            if usable {
                Standing::Usable
            } else {
                Standing::Awaited(message(cluster))
            }
        }
    }
}

/// Whether that is so now.
pub(crate) fn is(cluster: &VirtualCluster, until: Until) -> bool {
    standing(cluster, until) == Standing::Usable
}

/// What a cluster that can be used lacks, if anything.
pub(crate) fn lack(cluster: &VirtualCluster) -> Option<String> {
    (!is(cluster, Until::Ready)).then(|| message(cluster))
}

fn message(cluster: &VirtualCluster) -> String {
    let message = cluster
        .status
        .as_ref()
        .map(|s| s.message.as_str())
        .unwrap_or_default();
    if message.is_empty() {
        "waiting for the control service".to_owned()
    } else {
        message.to_owned()
    }
}

/// What a removal waits for. Before it begins, the message still tells of the living cluster.
fn leftover(cluster: &VirtualCluster) -> String {
    let deleting = cluster
        .status
        .as_ref()
        .is_some_and(|s| s.phase() == Phase::Deleting);
    if deleting {
        message(cluster)
    } else {
        "waiting until it is gone".to_owned()
    }
}

/// Facts that have been told.
#[derive(Debug, Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    /// Conditions that are true and were not told yet; `Ready` only sums up the others.
    fn news(&mut self, cluster: &VirtualCluster) -> Vec<String> {
        let conditions = cluster
            .status
            .as_ref()
            .map(|s| &s.conditions[..])
            .unwrap_or_default();
        conditions
            .iter()
            .filter(|c| c.status == "True" && c.r#type != "Ready")
            .filter(|c| self.0.insert(c.r#type.clone()))
            .map(|c| match c.message.as_str() {
                "" => c.r#type.clone(),
                message => format!("{}: {message}", c.r#type),
            })
            .collect()
    }
}

/// The states of one cluster as they come, by watch, or by asking if watching is not allowed.
struct States<'a> {
    client: &'a Client,
    host_namespace: String,
    name: String,
    uid: String,
    /// `None` once watching was denied.
    watch: Option<vcluster_client::Watch>,
    /// Told since the watch (re)started; a cluster that is not among what exists is gone.
    told: bool,
}

impl<'a> States<'a> {
    fn new(client: &'a Client, cluster: &VirtualCluster) -> Self {
        let scope = Scope {
            host_namespace: Some(cluster.host_namespace.clone()),
            name: Some(cluster.name.clone()),
        };
        Self {
            client,
            host_namespace: cluster.host_namespace.clone(),
            name: cluster.name.clone(),
            uid: cluster.uid.clone(),
            watch: Some(client.watch(scope)),
            told: false,
        }
    }

    /// The next state; `None` once it is gone.
    async fn next(&mut self) -> Result<Option<VirtualCluster>> {
        while let Some(watch) = &mut self.watch {
            match watch.next().await {
                Ok(Event::Added(cluster) | Event::Modified(cluster)) if self.is_ours(&cluster) => {
                    self.told = true;
                    return Ok(Some(cluster));
                }
                Ok(Event::Deleted(cluster)) if self.is_ours(&cluster) => return Ok(None),
                // It is not among what exists, or another one of its name is. A watch may be
                // served from a cache that lags behind, so this alone is no proof.
                Ok(Event::Added(_) | Event::Modified(_)) => return self.ask().await,
                Ok(Event::Synced) if !self.told => return self.ask().await,
                Ok(Event::Synced | Event::Deleted(_)) => {}
                Ok(Event::Restarted) => self.told = false,
                Err(error) if error.code() == Code::PermissionDenied => self.watch = None,
                // Services restart; how long to wait for that is what the caller's limit says.
                Err(error) if error.code() == Code::Unavailable => tokio::time::sleep(POLL).await,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(POLL).await;
        self.ask().await
    }

    async fn ask(&mut self) -> Result<Option<VirtualCluster>> {
        match self.client.get(&self.host_namespace, &self.name).await {
            Ok(cluster) if self.is_ours(&cluster) => Ok(Some(cluster)),
            Ok(_) => Ok(None),
            Err(error) if error.code() == Code::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_ours(&self, cluster: &VirtualCluster) -> bool {
        self.uid.is_empty() || cluster.uid == self.uid
    }
}

#[cfg(test)]
mod tests {
    use vcluster_client::proto::control::v1::{Condition, VirtualClusterStatus};

    use super::*;

    fn cluster(phase: Phase, conditions: &[(&str, &str)]) -> VirtualCluster {
        VirtualCluster {
            status: Some(VirtualClusterStatus {
                phase: phase.into(),
                conditions: conditions
                    .iter()
                    .map(|(kind, status)| Condition {
                        r#type: (*kind).to_owned(),
                        status: (*status).to_owned(),
                        ..Condition::default()
                    })
                    .collect(),
                ..VirtualClusterStatus::default()
            }),
            ..VirtualCluster::default()
        }
    }

    #[test]
    fn a_new_cluster_is_awaited_whole_and_one_that_was_ready_can_be_looked_at() {
        let answering = vec![("ControlPlaneReady", "True"), ("DNSReady", "False")];
        let cases = [
            (Phase::Ready, vec![("Ready", "True")], true, true),
            (Phase::Ready, vec![("Ready", "Unknown")], false, false),
            (Phase::Pending, answering.clone(), false, false),
            (Phase::Degraded, answering, false, true),
            (Phase::Degraded, vec![("DNSReady", "True")], false, false),
            (Phase::Deleting, vec![("Ready", "True")], false, false),
            (Phase::Failed, vec![], false, false),
        ];
        for (phase, conditions, ready, reachable) in cases {
            let cluster = cluster(phase, &conditions);
            assert_eq!(is(&cluster, Until::Ready), ready, "{phase:?}");
            assert_eq!(is(&cluster, Until::Reachable), reachable, "{phase:?}");
        }
    }

    #[test]
    fn each_fact_is_told_once() {
        let mut seen = Seen::default();
        let one = cluster(
            Phase::Pending,
            &[("CertificatesReady", "True"), ("SyncReady", "False")],
        );
        assert_eq!(seen.news(&one), ["CertificatesReady"]);
        let two = cluster(
            Phase::Ready,
            &[
                ("CertificatesReady", "True"),
                ("SyncReady", "True"),
                ("Ready", "True"),
            ],
        );
        assert_eq!(seen.news(&two), ["SyncReady"]);
    }
}
