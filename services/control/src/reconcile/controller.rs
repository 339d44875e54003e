//! Which virtual cluster is reconciled when: watches in, requeues with jitter and back-off out.
//!
//! Runs only while this process leads. Being deposed drops what is under way between two requests,
//! which is as harmless as a crash: every state is one to start from.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use rand::Rng as _;
use vcluster_chassis::lease::Leadership;
use vcluster_chassis::retry::Policy;
use vcluster_resources::label::{self, Part};
use vcluster_resources::{VirtualCluster, layout};

use super::{Error, Reconciler};
use crate::metrics::Population;

/// Virtual clusters that are reconciled at once.
const CONCURRENCY: u16 = 16;
/// Back-off of one virtual cluster.
const BACKOFF: Policy = Policy {
    base: Duration::from_millis(250),
    factor: 2.0,
    cap: Duration::from_mins(2),
};

/// What the loop shares between virtual clusters.
struct Context {
    reconciler: Arc<Reconciler>,
    failures: Mutex<HashMap<ObjectRef<VirtualCluster>, u32>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Reconciles while this process leads, until it is told to stop by dropping.
pub async fn run(
    client: Client,
    reconciler: Arc<Reconciler>,
    mut leadership: Leadership,
    population: Population,
) {
    loop {
        leadership.elected().await;
        tracing::info!("reconciling");
        tokio::select! {
            () = lead(client.clone(), Arc::clone(&reconciler), &population) => {
                tracing::warn!("the watches ended");
            }
            () = leadership.deposed() => tracing::info!("no longer reconciling"),
        }
        population.forget();
    }
}

async fn lead(client: Client, reconciler: Arc<Reconciler>, population: &Population) {
    let ours = format!("{}={}", label::PART, Part::ControlPlane.as_str());
    let parts = watcher::Config::default().labels(&ours);
    // By name: no other Deployment or NetworkPolicy may be read.
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let (dns, policies) = (
        named(layout::DNS),
        Api::<NetworkPolicy>::all(client.clone()),
    );
    let (outward, inward) = (
        named(layout::CONTROL_PLANE_POLICY),
        named(layout::DNS_POLICY),
    );
    let enabled = format!("{}={}", label::HOST, label::HOST_VALUE);
    let controller = Controller::new(
        Api::<VirtualCluster>::all(client.clone()),
        watcher::Config::default(),
    )
    .with_config(Config::default().concurrency(CONCURRENCY));
    let store = controller.store();
    population.follow(store.clone());
    let context = Context {
        reconciler,
        failures: Mutex::default(),
    };
    controller
        .owns(Api::<StatefulSet>::all(client.clone()), parts.clone())
        .owns(Api::<Service>::all(client.clone()), parts)
        .owns(Api::<Deployment>::all(client.clone()), dns)
        .owns(policies.clone(), outward)
        .owns(policies, inward)
        .watches(
            Api::<Namespace>::all(client),
            watcher::Config::default().labels(&enabled),
            move |namespace| inhabitants(&store, &namespace),
        )
        .run(reconcile, on_error, Arc::new(context))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconciliation ended with an error");
            }
        })
        .await;
}

/// The virtual clusters of a namespace that got its label, or lost it.
fn inhabitants(
    store: &Store<VirtualCluster>,
    namespace: &Namespace,
) -> Vec<ObjectRef<VirtualCluster>> {
    let name = namespace.name_any();
    store
        .state()
        .iter()
        .filter(|cluster| cluster.namespace().as_deref() == Some(&name))
        .map(|cluster| ObjectRef::from_obj(cluster.as_ref()))
        .collect()
}

async fn reconcile(cluster: Arc<VirtualCluster>, context: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let attempt = context.failures().get(&key).copied().unwrap_or(0);
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let again = context
        .reconciler
        .reconcile(&namespace, &name, &cluster, attempt)
        .await?;
    context.failures().remove(&key);
    Ok(Action::requeue(jitter(again)))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn on_error(cluster: Arc<VirtualCluster>, error: &Error, context: Arc<Context>) -> Action {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let mut failures = context.failures();
    let failure = failures.entry(key).or_default();
    let delay = BACKOFF.bound(*failure).max(BACKOFF.delay(*failure));
    *failure = failure.saturating_add(1);
    tracing::warn!(
        vcluster.namespace = cluster.namespace(),
        vcluster.name = cluster.name_any(),
        error = format!("{error:#}"),
        cause = std::error::Error::source(error).map(ToString::to_string),
        ?delay,
        "reconciliation failed"
    );
    Action::requeue(jitter(delay))
}

/// Between four and six fifths, so that those that came together do not come together again.
fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(rand::rng().random_range(0.8..=1.2))
}

impl Context {
    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<VirtualCluster>, u32>> {
        // Inserts and removals cannot be left half done.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
