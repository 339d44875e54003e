//! Brings one virtual cluster to rest: look, plan, do, and again until there is nothing to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::{Api, Client};
use tracing::Instrument as _;
use vcluster_chassis::clock::Clock;
use vcluster_chassis::telemetry::propagation;
use vcluster_resources::VirtualCluster;

use crate::apply::{Error as ApplyError, Executor, Outcome};
use crate::events::Teller;
use crate::manifest::{Installation, Wish};
use crate::metrics::{Metrics, Outcome as Recorded};
use crate::observe::Observer;
use crate::observed::{Contents, Observed};
use crate::plan::{self, Again, Input, Notice, Plan, Step, plan};
use crate::subject::{self, Subject};

pub mod controller;

/// Looks in one go; a cluster needs six to be built and as many to be removed.
const ROUNDS: usize = 16;
/// The longest that one go may take.
const DEADLINE: Duration = Duration::from_secs(90);

/// Why a go ended early; it is tried again after a while.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The virtual cluster cannot be read.
    #[error("the virtual cluster cannot be read")]
    Read(#[source] Box<kube::Error>),
    /// It is not one; the schema should have refused it.
    #[error(transparent)]
    Subject(#[from] subject::Error),
    /// A step failed and may work later.
    #[error("step {step} failed")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: ApplyError,
    },
    /// A step was refused; people have been told.
    #[error("step {step} was refused: {text}")]
    Refused {
        /// Which.
        step: &'static str,
        /// Why.
        text: String,
    },
    /// What is needed could not be seen; people are told if that lasts.
    #[error("what is around the virtual cluster cannot be seen: {0}")]
    Doubt(String),
    /// It did not come to rest.
    #[error("the virtual cluster does not come to rest")]
    Restless,
    /// It took too long.
    #[error("the deadline passed")]
    Deadline,
}

/// Brings virtual clusters to rest.
pub struct Reconciler {
    client: Client,
    observer: Observer,
    installation: Installation,
    teller: Teller,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler").finish_non_exhaustive()
    }
}

/// What a cluster's last goes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failing {
    /// Failures in a row.
    pub attempt: u32,
    /// Time since the first of them.
    pub lasts: Duration,
}

/// What one go knows from its earlier rounds.
#[derive(Debug, Default)]
struct Memory {
    contents: Option<Contents>,
    refused: Option<Refusal>,
}

/// The steps of a plan, the one that was refused, and why.
type Refusal = (Vec<Step>, &'static str, String);

impl Reconciler {
    /// A reconciler.
    pub fn new(
        client: Client,
        observer: Observer,
        installation: Installation,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        instance: String,
    ) -> Self {
        let teller = Teller::new(client.clone(), instance);
        Self {
            client,
            observer,
            installation,
            teller,
            metrics,
            clock,
        }
    }

    /// Brings one virtual cluster to rest, and tells when to look again.
    pub async fn reconcile(
        &self,
        namespace: &str,
        name: &str,
        seen: &VirtualCluster,
        failing: Failing,
    ) -> Result<Duration, Error> {
        let span = tracing::info_span!(
            "reconcile",
            otel.name = "reconcile VirtualCluster",
            vcluster.namespace = namespace,
            vcluster.name = name,
        );
        let creation = seen.creation_trace();
        let creation = creation
            .as_ref()
            .and_then(|trace| trace.at(self.clock.now()));
        if let Some(parent) = creation
            && let Ok(parent) = http::HeaderValue::from_str(parent)
        {
            let mut headers = http::HeaderMap::new();
            headers.insert("traceparent", parent);
            propagation::set_parent(&span, &headers);
        }
        let timer = self.metrics.reconcile();
        let go = tokio::time::timeout(DEADLINE, self.go(namespace, name, failing));
        let result = go.instrument(span).await.unwrap_or(Err(Error::Deadline));
        timer.finish(match &result {
            Ok(_) => Recorded::Settled,
            Err(Error::Refused { .. } | Error::Subject(_)) => Recorded::Refused,
            Err(
                Error::Read(_)
                | Error::Step { .. }
                | Error::Doubt(_)
                | Error::Restless
                | Error::Deadline,
            ) => Recorded::Failed,
        });
        result
    }

    async fn go(&self, namespace: &str, name: &str, failing: Failing) -> Result<Duration, Error> {
        let clusters: Api<VirtualCluster> = Api::namespaced(self.client.clone(), namespace);
        let mut memory = Memory::default();
        for _ in 0..ROUNDS {
            let cluster = clusters
                .get_opt(name)
                .await
                .map_err(|e| Error::Read(Box::new(e)))?;
            let Some(cluster) = cluster else {
                return Ok(plan::RESYNC);
            };
            if let Some(again) = self.round(&cluster, failing, &mut memory).await? {
                return Ok(again);
            }
        }
        Err(Error::Restless)
    }

    /// One look and what follows from it; gives the time of the next look once there is nothing to
    /// do.
    async fn round(
        &self,
        cluster: &VirtualCluster,
        failing: Failing,
        memory: &mut Memory,
    ) -> Result<Option<Duration>, Error> {
        let subject = Subject::of(cluster)?;
        let now = self.clock.now();
        let mut sight = self.observer.look(cluster, &subject, now).await;
        let shared = Arc::clone(&sight.shared);
        let wish = Wish {
            subject: &subject,
            spec: &cluster.spec,
            installation: &self.installation,
            sync_roots: &shared.sync,
        };
        memory.add_to(&mut sight.observed);
        let plan_of = |observed: &Observed| {
            plan(Input {
                cluster,
                wish,
                observed,
                failing_for: failing.lasts,
                now,
            })
        };
        let plan = plan_of(&sight.observed);
        let executor = Executor {
            client: &self.client,
            cluster,
            wish,
            sight: &sight,
            now,
            attempt: failing.attempt,
        };
        let stuck = memory
            .refused
            .as_ref()
            .filter(|(steps, _, _)| *steps == plan.steps);
        if stuck.is_some() || plan.steps.is_empty() {
            self.tell(&executor, cluster, &plan).await?;
            return at_rest(stuck, &plan, &sight.observed).map(Some);
        }
        let steps = plan.steps.iter().map(|step| self.step(&executor, step));
        let outcomes = join_all(steps).await;
        let let_go = was_let_go(&plan.steps, &outcomes);
        let failure = remember(memory, &plan, outcomes);
        // What is said in passing would be out of date at once; the last words and what went wrong
        // are not.
        if let_go {
            self.say(cluster, &plan.notices).await;
            self.say(cluster, plan.last_words.as_slice()).await;
        } else if failure.is_err() {
            let mut observed = sight.observed.clone();
            memory.add_to(&mut observed);
            self.tell(&executor, cluster, &plan_of(&observed)).await?;
        }
        failure.map(|()| None)
    }

    async fn step(&self, executor: &Executor<'_>, step: &Step) -> Result<Outcome, ApplyError> {
        let name = step.name();
        let span = tracing::info_span!("step", otel.name = name, step = name);
        let outcome = executor.carry_out(step).instrument(span).await;
        match &outcome {
            Ok(outcome) => tracing::info!(step = name, what = what(step), ?outcome, "step"),
            Err(error) => tracing::warn!(step = name, what = what(step), %error, "step failed"),
        }
        self.metrics.step(name, outcome.is_ok());
        outcome
    }

    /// Writes the status, if it says something new, and the events that go with it.
    async fn tell(
        &self,
        executor: &Executor<'_>,
        cluster: &VirtualCluster,
        plan: &Plan,
    ) -> Result<(), Error> {
        if !plan::differs(cluster, &plan.status) {
            return Ok(());
        }
        let failed = |source| Error::Step {
            step: "write_status",
            source,
        };
        let outcome = executor.write_status(&plan.status).await.map_err(failed)?;
        if let Outcome::Stale = outcome {
            // Whoever writes it next tells.
            return Ok(());
        }
        self.say(cluster, &plan.notices).await;
        Ok(())
    }

    async fn say(&self, cluster: &VirtualCluster, notices: &[Notice]) {
        for notice in notices {
            self.teller.tell(cluster, notice).await;
        }
    }
}

/// When to look again where nothing can be done for now.
fn at_rest(stuck: Option<&Refusal>, plan: &Plan, seen: &Observed) -> Result<Duration, Error> {
    match (stuck, plan.again) {
        (Some((_, step, text)), _) => Err(Error::Refused {
            step,
            text: text.clone(),
        }),
        (None, Again::After(again)) => Ok(again),
        (None, Again::BackOff) => Err(Error::Doubt(seen.doubts())),
    }
}

impl Memory {
    fn add_to(&self, observed: &mut Observed) {
        observed.contents.clone_from(&self.contents);
        observed.refused = self.refused.as_ref().map(|(_, _, text)| text.clone());
    }
}

/// Whether the virtual cluster is gone by this.
fn was_let_go(steps: &[Step], outcomes: &[Result<Outcome, ApplyError>]) -> bool {
    steps.iter().zip(outcomes).any(|(step, outcome)| {
        *step == Step::RemoveFinalizer && matches!(outcome, Ok(Outcome::Done))
    })
}

/// What the next round must know of this one; fails if a step did and may work later.
fn remember(
    memory: &mut Memory,
    plan: &Plan,
    outcomes: Vec<Result<Outcome, ApplyError>>,
) -> Result<(), Error> {
    // What was refused before counts for one look: what is still wanted has been tried again.
    memory.refused = None;
    let mut failure = None;
    for (step, outcome) in plan.steps.iter().zip(outcomes) {
        let step = step.name();
        match outcome {
            Ok(Outcome::Done | Outcome::Stale) => {}
            Ok(Outcome::Surveyed(contents)) => memory.contents = Some(contents),
            Err(ApplyError::Refused(text)) => {
                memory.refused = Some((plan.steps.clone(), step, text));
            }
            Err(source @ (ApplyError::Unreachable(_) | ApplyError::Keys(_))) => {
                failure.get_or_insert(Error::Step { step, source });
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What a step is about, for logs. Bodies are left out: some hold keys.
fn what(step: &Step) -> String {
    match step {
        Step::Apply { slot, .. } | Step::Delete { slot, .. } => format!("{slot:?}"),
        Step::Mint { credential, .. } => format!("{credential:?}"),
        Step::DeletePod { name, .. } => name.clone(),
        Step::AddFinalizer
        | Step::RemoveFinalizer
        | Step::ClaimNamespace { .. }
        | Step::MintRoots
        | Step::DeleteRoots { .. }
        | Step::AllocateAddress
        | Step::Survey
        | Step::DeleteNamespace { .. } => String::new(),
    }
}

#[cfg(test)]
mod tests;
