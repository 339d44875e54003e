//! Which virtual clusters there are, and one supervisor for each.
//!
//! A VirtualCluster is a tenant by its UID: the same name made again is another one. Each has a task that is told
//! the newest version of its object and does what [`stage`] calls for: wait, serve, remove. The task ends when
//! the object is gone, and with it everything that belongs to the tenant.

use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::health::Gate;
use vcluster_chassis::retry::Policy;
use vcluster_resources::VirtualCluster;

use crate::bill::Bill;
use crate::engine::Engine;
use crate::hash::HashMap;
use crate::metrics::{State, Watched};
use crate::tenant::Id;

mod credentials;
mod finalizer;
mod host_access;
mod remove;
mod serve;
mod stage;
pub mod status;

pub(crate) use credentials::{Credentials, platform_authority};
pub use serve::context;
pub use stage::{Endpoint, Stage, stage};

/// The newest version of a VirtualCluster; nothing once it is gone.
type Newest = watch::Sender<Option<Arc<VirtualCluster>>>;

/// Follows VirtualClusters until the token is cancelled.
#[derive(Debug)]
pub struct Tenants {
    engine: Arc<Engine>,
    shutdown: Shutdown,
    token: CancellationToken,
    known: HashMap<Id, Newest>,
    listed: Vec<Id>,
}

impl Tenants {
    /// Makes it; tenants end with the token.
    pub fn new(engine: Arc<Engine>, shutdown: Shutdown, token: CancellationToken) -> Self {
        Self {
            engine,
            shutdown,
            token,
            known: HashMap::default(),
            listed: Vec::new(),
        }
    }

    /// Follows until the token is cancelled. The gate opens with the first complete list, and stays open: a
    /// watch that fails resumes where it was, without a list that would open it again.
    pub async fn run(mut self, gate: Gate) {
        let api: Api<VirtualCluster> = Api::all(self.engine.host.own.watch.clone());
        let mut config = watcher::Config::default();
        config
            .label_selector
            .clone_from(&self.engine.config.selector);
        let mut events = watcher(api, config).boxed();
        let retry = Policy {
            cap: std::time::Duration::from_secs(5),
            ..Policy::default()
        };
        let (mut failures, mut known) = (0, false);
        let token = self.token.clone();
        while let Some(Some(event)) = token.run_until_cancelled(events.next()).await {
            match event {
                Ok(event) => {
                    if matches!(event, Event::InitDone) {
                        known = true;
                        gate.open();
                    }
                    // Every list begins with an event that says nothing about the server's health.
                    if !matches!(event, Event::Init) {
                        failures = 0;
                    }
                    self.take(event);
                }
                Err(error) => {
                    tracing::warn!(%error, "virtual clusters cannot be followed");
                    self.engine.metrics.watch_failed(Watched::VirtualClusters);
                    if !known {
                        gate.close(format!("virtual clusters cannot be followed: {error}"));
                    }
                    let pause = tokio::time::sleep(retry.delay(failures));
                    failures += 1;
                    token.run_until_cancelled(pause).await;
                }
            }
        }
    }

    fn take(&mut self, event: Event<VirtualCluster>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(cluster) => {
                if let Some(id) = id(&cluster) {
                    self.listed.push(id);
                }
                self.set(cluster);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone = self.known.extract_if(|id, _| !listed.contains(id));
                for (_, newest) in gone {
                    newest.send_replace(None);
                }
                self.engine.standing().set_complete(true);
                self.engine.arrivals().complete();
            }
            Event::Apply(cluster) => self.set(cluster),
            Event::Delete(cluster) => {
                if let Some(newest) = id(&cluster).and_then(|id| self.known.remove(&id)) {
                    newest.send_replace(None);
                }
            }
        }
    }

    fn set(&mut self, cluster: VirtualCluster) {
        let Some(id) = id(&cluster) else {
            return;
        };
        let cluster = Some(Arc::new(cluster));
        if let Some(newest) = self.known.get(&id) {
            newest.send_replace(cluster);
            return;
        }
        let (newest, seen) = watch::channel(cluster);
        let waits = "sync has not looked at it yet";
        self.engine.standing().say(&id, State::Starting, waits);
        let bill = Arc::new(Bill::default());
        let supervisor = serve::Supervisor {
            engine: Arc::clone(&self.engine),
            shutdown: self.shutdown.clone(),
            token: self.token.child_token(),
            term: self.token.clone(),
            id: id.clone(),
            bill: Arc::clone(&bill),
            cluster: seen,
            coming: self.engine.arrivals().expect(),
            is_held: false,
            tenant: None,
        };
        let supervised = self.engine.supervise();
        let task = async move {
            supervisor.run().await;
            drop(supervised);
        };
        // Contained: one tenant's trouble is not the others'.
        self.shutdown
            .spawn_contained(format!("tenant {id}"), bill.meter(task));
        self.known.insert(id, newest);
    }
}

fn id(cluster: &VirtualCluster) -> Option<Id> {
    Some(Id {
        uid: cluster.uid()?,
        namespace: cluster.namespace()?,
        name: cluster.name_any(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use vcluster_chassis::health::Health;

    use super::*;
    use crate::testing::{World, fail_first_watch};

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_and_resumes_without_a_list_leaves_sync_ready() {
        let world = World::unlisted();
        let shutdown = Shutdown::new();
        let health = Health::new(&shutdown);
        let token = CancellationToken::new();
        let lists = fail_first_watch(&world.host, &token);
        Tenants::new(Arc::clone(&world.engine), shutdown, token)
            .run(health.gate("virtual-clusters"))
            .await;
        assert_eq!(lists.load(Ordering::Relaxed), 1, "it was not listed again");
        assert!(health.is_ready());
    }
}
