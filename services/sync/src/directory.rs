//! The virtual cluster that a caller speaks for: whether it exists, and the means to act for it.
//!
//! Asked anew for every request, so that what was deleted has no power a moment later. It knows every virtual
//! cluster, whichever replica works for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;
use vcluster_resources::{TenantUri, VirtualCluster};
use vcluster_translate::{Context, HostAccess};

use crate::engine::Engine;
use crate::tenant::{HostClient, Id};
use crate::tenant_token::TenantToken;
use crate::tenants::{Stage, context, stage};

/// How long asking for a virtual cluster may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long the means to act for a tenant are kept after their last use.
const KEPT: Duration = Duration::from_hours(1);

/// Why nothing is done for a caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such virtual cluster (any more).
    #[error(
        "there is no virtual cluster {namespace}/{name} with the UID of the client certificate"
    )]
    Unknown {
        /// Host namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// It is being deleted.
    #[error("the virtual cluster {namespace}/{name} is being deleted")]
    Deleting {
        /// Host namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Its name, or its namespace's, cannot be used.
    #[error("the virtual cluster's name cannot be used")]
    Name(#[from] vcluster_resources::name::Error),
    /// It is not known enough of it yet.
    #[error("the virtual cluster is not ready yet: {0}")]
    NotReady(String),
    /// The host cannot be asked.
    #[error("the host cluster cannot be asked for the virtual cluster")]
    Unavailable(#[source] Option<Box<kube::Error>>),
}

/// A virtual cluster that exists.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which one.
    pub id: Id,
    /// What translations need to know of it.
    pub context: Context,
    /// The host, as its own ServiceAccount.
    pub host: HostClient,
}

/// Finds virtual clusters by their certificates.
pub struct Directory {
    engine: Arc<Engine>,
    clients: Mutex<HashMap<Id, (Client, Instant)>>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

impl Directory {
    /// Makes it over the host's API server.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            clients: Mutex::default(),
        }
    }

    /// What it works with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The virtual cluster of a certificate.
    pub async fn find(&self, uri: &TenantUri) -> Result<Known, Error> {
        let (namespace, name) = (uri.namespace.to_string(), uri.name.to_string());
        let own = self.engine.host.own.request.clone();
        let api: Api<VirtualCluster> = Api::namespaced(own, &namespace);
        let found = tokio::time::timeout(DEADLINE, api.get_opt(&name)).await;
        let found = found
            .map_err(|_elapsed| Error::Unavailable(None))?
            .map_err(|error| Error::Unavailable(Some(Box::new(error))))?;
        let Some(cluster) = found.filter(|found| found.uid().as_deref() == Some(&uri.uid)) else {
            return Err(Error::Unknown { namespace, name });
        };
        let id = Id {
            uid: uri.uid.clone(),
            namespace,
            name,
        };
        let Id {
            namespace, name, ..
        } = id.clone();
        match stage(&cluster, true) {
            Stage::Serve(endpoint) => {
                // Services know nothing of pods.
                let policy = cluster.spec.sync.clone();
                let context = context(&self.engine, &id, &endpoint, HostAccess::Refused, policy)?;
                let host = self.client(&id);
                Ok(Known { id, context, host })
            }
            Stage::Wait => Err(Error::NotReady("its control plane is not up".to_owned())),
            Stage::Incomplete(missing) => Err(Error::NotReady(missing.to_owned())),
            Stage::Remove | Stage::Gone => Err(Error::Deleting { namespace, name }),
        }
    }

    /// Acts for a tenant by another client.
    #[cfg(test)]
    pub(crate) fn act_by(&self, id: &Id, client: Client) {
        self.clients().insert(id.clone(), (client, Instant::now()));
    }

    fn client(&self, id: &Id) -> HostClient {
        let now = Instant::now();
        let mut clients = self.clients();
        clients.retain(|_, (_, used)| now.duration_since(*used) < KEPT);
        let (client, used) = clients.entry(id.clone()).or_insert_with(|| {
            let own = self.engine.host.own.request.clone();
            let clock = Arc::clone(&self.engine.clock);
            let token = Arc::new(TenantToken::new(&id.namespace, own, clock));
            // Whoever works for the tenant has its bill, which may be another replica.
            (self.engine.host.tenant(token, &Arc::default()), now)
        });
        *used = now;
        HostClient(client.clone())
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Id, (Client, Instant)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
