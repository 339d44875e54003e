//! One virtual cluster from the moment it is known until it is gone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::retry::Policy;
use vcluster_resources::VirtualCluster;
use vcluster_resources::condition::{Observation, Reason, Status, Type};

use super::remove;
use super::stage::{Stage, stage};
use super::status::Reporter;
use crate::apply::with_causes;
use crate::bill::Bill;
use crate::custom;
use crate::engine::{Coming, Engine};
use crate::guard::{self, Guard};
use crate::metrics::State;
use crate::tenant::{Id, Tenant};

mod context;
mod error;
mod follow;
mod stay;
mod take_up;

pub use context::context;
use error::Error;

/// Delays after a start that failed.
const RETRY: Policy = Policy {
    base: Duration::from_millis(500),
    factor: 2.0,
    cap: Duration::from_secs(15),
};
/// How long a newer version of an object is waited for that is known to be there.
const OLDER: Duration = Duration::from_secs(1);
/// How long work in hand may take when a tenant goes to another replica. Shorter than the Lease of this one holds.
const REST: Duration = Duration::from_secs(5);

/// The task of one virtual cluster.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) engine: Arc<Engine>,
    pub(super) shutdown: Shutdown,
    pub(super) token: CancellationToken,
    /// The term of this process, which outlives the tenant.
    pub(super) term: CancellationToken,
    pub(super) id: Id,
    /// What it costs, however often it is taken up anew.
    pub(super) bill: Arc<Bill>,
    pub(super) cluster: watch::Receiver<Option<Arc<VirtualCluster>>>,
    /// What lists for all tenants at once waits for this one, until it has come or there is something to say of it.
    pub(super) coming: Coming,
    /// Whether this replica holds the tenant's Lease.
    pub(super) is_held: bool,
    /// The tenant of the last stay, which may still have keys in work.
    pub(super) tenant: Option<Arc<Tenant>>,
}

impl Supervisor {
    /// Does what the object calls for until it is gone.
    pub(super) async fn run(mut self) {
        let token = self.token.clone();
        let begun = async {
            while AssertUnwindSafe(self.supervise())
                .catch_unwind()
                .await
                .is_err()
            {
                tracing::error!(tenant = %self.id, "the tenant's task panicked: it begins again");
                tokio::time::sleep(RETRY.cap).await;
            }
        };
        token.run_until_cancelled(Box::pin(begun)).await;
        self.let_go().await;
        self.engine.standing().forget(&self.id);
    }

    /// Serves the tenant whenever it is this replica's, until it is gone.
    async fn supervise(&mut self) {
        let engine = Arc::clone(&self.engine);
        let (replicas, uid) = (&engine.replicas, self.id.uid.clone());
        // Of a stay that ended by a panic.
        self.let_go().await;
        loop {
            self.settle().await;
            let mut cluster = self.cluster.clone();
            let told = |who: &str| self.say(State::Starting, &format!("is served by {who}"));
            tokio::select! {
                biased;
                // It may have been taken at this very moment.
                () = async { drop(cluster.wait_for(Option::is_none).await) } => return replicas.forget(&uid).await,
                () = replicas.take(&uid, told) => {}
            }
            self.is_held = true;
            self.bill.reset();
            tokio::select! {
                biased;
                () = replicas.lost(&uid) => tracing::info!(tenant = %self.id, "goes to another replica"),
                () = self.work() => {
                    self.rest().await;
                    self.is_held = false;
                    return replicas.forget(&uid).await;
                }
            }
            self.let_go().await;
        }
    }

    /// Waits until nothing is done for the tenant any more; false if that takes too long.
    async fn rest(&mut self) -> bool {
        if let Some(tenant) = &self.tenant
            && tokio::time::timeout(REST, tenant.at_rest()).await.is_err()
        {
            return false;
        }
        self.tenant = None;
        true
    }

    /// Waits until nothing is done for the tenant any more, however long that takes: it is never served by two stays.
    async fn settle(&mut self) {
        while !self.rest().await {
            tracing::warn!(tenant = %self.id, "work of the last stay has not ended");
            self.say(State::Starting, "work of the last stay has not ended yet");
        }
    }

    /// Lets another replica have the tenant, once nothing is done for it here.
    async fn let_go(&mut self) {
        let is_at_rest = !guard::stands(Guard::RestFirst) || self.rest().await;
        if !std::mem::take(&mut self.is_held) {
            return;
        }
        if is_at_rest {
            self.engine.replicas.release(&self.id.uid).await;
        } else {
            tracing::warn!(tenant = %self.id, "is left to the other replicas when this one's time is over");
        }
    }

    fn say(&self, state: State, message: &str) {
        self.coming.arrived();
        self.engine.standing().say(&self.id, state, message);
    }

    /// Does what the object calls for until it is gone.
    async fn work(&mut self) {
        let (mut failures, mut said) = (0, String::new());
        loop {
            let cluster = self.cluster.borrow_and_update().clone();
            let Some(cluster) = cluster else {
                return;
            };
            let stage = stage(&cluster, false);
            match stage {
                Stage::Wait | Stage::Gone => {
                    if stage == Stage::Wait {
                        self.say(State::Starting, "its control plane is not up yet");
                    } else {
                        self.say(State::Draining, "nothing of it is left on the host");
                    }
                    if self.cluster.changed().await.is_err() {
                        return;
                    }
                }
                Stage::Incomplete(missing) => {
                    self.report_failure(&cluster, Reason::Waiting, missing.to_owned())
                        .await;
                    if self.cluster.changed().await.is_err() {
                        return;
                    }
                }
                Stage::Serve(endpoint) => match self.serve(&cluster, endpoint).await {
                    Ok(()) => (failures, said) = (0, String::new()),
                    Err(error) => {
                        let reason = error.reason();
                        let error = with_causes(&error);
                        if error != said {
                            tracing::warn!(tenant = %self.id, error, "tenant cannot be served yet");
                            said.clone_from(&error);
                        }
                        self.report_failure(&cluster, reason, error).await;
                        tokio::time::sleep(RETRY.delay(failures).max(RETRY.base)).await;
                        failures += 1;
                    }
                },
                Stage::Remove => {
                    self.say(State::Draining, "its objects are removed from the host");
                    let custom = custom::writable(&self.engine).await;
                    remove::everything(&self.engine, &self.id, &custom).await;
                }
            }
        }
    }

    async fn report_failure(&self, cluster: &VirtualCluster, reason: Reason, message: String) {
        let state = if matches!(reason, Reason::StoreReplaced | Reason::StoreRolledBack) {
            State::Frozen
        } else {
            State::Starting
        };
        self.say(state, &message);
        let observation = Observation {
            type_: Type::SyncReady,
            status: Status::False,
            reason,
            message,
        };
        self.reporter(cluster)
            .report(&[observation], cluster.metadata.generation)
            .await;
    }

    fn reporter(&self, cluster: &VirtualCluster) -> Reporter {
        let client = self.engine.host.own.request.clone();
        Reporter::new(
            client,
            self.id.clone(),
            Arc::clone(&self.engine.clock),
            cluster,
        )
    }
}
