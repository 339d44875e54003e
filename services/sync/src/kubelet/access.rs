//! What it takes to act for a tenant that asks: that it exists, and clients of both its sides.
//!
//! Made from the VirtualCluster itself rather than from the engine, because every replica answers for every tenant,
//! whoever translates it. Looked up anew every few minutes: that is also how long a deleted virtual cluster's
//! certificate may still be believed, whose pods and rights are gone by then.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use kube::{Api, Client};
use tokio::time::Instant;
use vcluster_chassis::access::Authorizer;
use vcluster_chassis::tls::{PeerCertificates, Roots};
use vcluster_resources::{TenantUri, VirtualCluster};

use crate::apply::with_causes;
use crate::engine::Engine;
use crate::peer::FrontProxies;
use crate::reply::{Kind, Refusal};
use crate::server::Server;
use crate::tenant_token::TenantToken;
use crate::tenants::{Credentials, Stage, stage};

/// How long an access is used without being looked up again.
const FRESH: Duration = Duration::from_mins(2);
/// How long a failure is: whoever waited for the answer meanwhile does not ask once more.
const BAD: Duration = Duration::from_secs(1);
/// How long looking it up may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A tenant that is there.
pub(crate) struct Access {
    pub(crate) tenant: TenantUri,
    /// Its API server, as sync.
    pub(crate) virtual_: Client,
    /// The host, as its ServiceAccount.
    pub(crate) host: Client,
    /// The same, for answers that stay.
    pub(crate) streams: Client,
    /// Its ServiceAccount's.
    pub(crate) token: Arc<TenantToken>,
    /// What its users may do inside.
    pub(crate) authorizer: Authorizer,
    /// The authority of its API server towards aggregated API servers, if control has said it.
    front_proxy: Option<Roots>,
    until: Instant,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// The tenants that have asked lately.
#[derive(Debug)]
pub(crate) struct Accesses {
    engine: Arc<Engine>,
    known: Mutex<HashMap<TenantUri, Slot>>,
}

/// What is known of one tenant. Locked while it is looked up, which has a deadline: the others want the same answer.
type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

#[derive(Debug)]
enum Known {
    Access(Arc<Access>),
    Refused(Refusal, Instant),
}

impl Known {
    /// The answer to whoever asks now, unless it is too old.
    fn answer(&self, now: Instant) -> Option<Result<Arc<Access>, Refusal>> {
        match self {
            Self::Access(access) => (now < access.until).then(|| Ok(Arc::clone(access))),
            Self::Refused(refusal, until) => (now < *until).then(|| Err(refusal.clone())),
        }
    }

    /// Whether anything of it is of use yet.
    fn is_of_use(&self, now: Instant) -> bool {
        match self {
            Self::Access(access) => now < access.until + FRESH,
            Self::Refused(_, until) => now < *until,
        }
    }
}

impl Accesses {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            known: Mutex::default(),
        }
    }

    /// The access of a tenant, looked up if need be: once for all who ask meanwhile.
    pub(crate) async fn get(&self, tenant: &TenantUri) -> Result<Arc<Access>, Refusal> {
        let slot = self.slot(tenant);
        let mut known = slot.lock().await;
        let answer = known
            .as_ref()
            .and_then(|known| known.answer(Instant::now()));
        if let Some(answer) = answer {
            return answer;
        }
        let before = match &*known {
            Some(Known::Access(access)) => Some(Arc::clone(access)),
            Some(Known::Refused(..)) | None => None,
        };
        let open = tokio::time::timeout(DEADLINE, self.open(tenant, before)).await;
        let opened = open.unwrap_or_else(|_elapsed| {
            Err(Refusal::new(
                Kind::Timeout,
                "the host's API server does not answer in time",
            ))
        });
        let opened = opened.map(Arc::new);
        *known = Some(match &opened {
            Ok(access) => Known::Access(Arc::clone(access)),
            Err(refusal) => Known::Refused(refusal.clone(), Instant::now() + BAD),
        });
        opened
    }

    /// Where the tenant is known. Those that are not asked for any more go with time.
    fn slot(&self, tenant: &TenantUri) -> Slot {
        let mut all = self.known();
        let now = Instant::now();
        all.retain(|_, slot| {
            // One that is locked is looked up.
            let is_of_use = |known: Option<&Known>| known.is_some_and(|known| known.is_of_use(now));
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_ok_and(|known| is_of_use(known.as_ref()))
        });
        Arc::clone(all.entry(tenant.clone()).or_default())
    }

    /// Has the access looked up anew: something that it stands on has changed.
    pub(crate) fn forget(&self, tenant: &TenantUri) {
        self.known().remove(tenant);
    }

    async fn open(
        &self,
        tenant: &TenantUri,
        known: Option<Arc<Access>>,
    ) -> Result<Access, Refusal> {
        let own = self.engine.host.own.request.clone();
        let namespace = tenant.namespace.as_str();
        let api: Api<VirtualCluster> = Api::namespaced(own.clone(), namespace);
        let cluster = api.get_opt(tenant.name.as_str()).await.map_err(|error| {
            tracing::warn!(%tenant, error = with_causes(&error), "virtual cluster cannot be read");
            unavailable("the host's API server cannot be asked for the virtual cluster")
        })?;
        let Some(cluster) =
            cluster.filter(|cluster| cluster.metadata.uid.as_ref() == Some(&tenant.uid))
        else {
            return Err(Refusal::new(
                Kind::Forbidden,
                "the virtual cluster of the client certificate exists no more",
            ));
        };
        let Stage::Serve(endpoint) = stage(&cluster, true) else {
            return Err(unavailable(
                "the virtual cluster is not served at the moment",
            ));
        };
        let credentials = Credentials::read(own.clone(), namespace)
            .await
            .map_err(|error| {
                tracing::warn!(%tenant, error = with_causes(&error), "credential cannot be read");
                unavailable("sync has no credential for the virtual cluster")
            })?;
        let (roots, identity) = credentials.live();
        let front_proxy = credentials.front_proxy().cloned();
        let server = Server::virtual_cluster(&endpoint.url, roots, identity, &Arc::default()).map_err(|error| {
            tracing::warn!(%tenant, error = with_causes(&error), "virtual cluster cannot be reached");
            unavailable("the virtual cluster's address cannot be used")
        })?;
        let token = known.map_or_else(
            || {
                let clock = Arc::clone(&self.engine.clock);
                Arc::new(TenantToken::new(namespace, own, clock))
            },
            |known| Arc::clone(&known.token),
        );
        Ok(Access {
            tenant: tenant.clone(),
            authorizer: Authorizer::new(server.request.clone()),
            front_proxy,
            virtual_: server.request,
            host: self.engine.host.tenant(Arc::clone(&token), &Arc::default()),
            streams: self.engine.host.tenant_streams(Arc::clone(&token)),
            token,
            until: Instant::now() + FRESH,
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TenantUri, Slot>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FrontProxies for Accesses {
    fn vouch(
        self: Arc<Self>,
        tenant: TenantUri,
        certificates: PeerCertificates,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        Box::pin(async move {
            let access = self.get(&tenant).await?;
            let now = self.engine.clock.now();
            let verified = access
                .front_proxy
                .as_ref()
                .is_some_and(|roots| roots.verify_client(certificates.chain(), now).is_ok());
            if verified {
                return Ok(());
            }
            if access.front_proxy.is_none() {
                // Control may have said it since.
                self.forget(&tenant);
            }
            let message = "the certificate is not signed by the front-proxy authority of the virtual cluster that it names";
            Err(Refusal::new(Kind::Forbidden, message))
        })
    }
}

fn unavailable(what: &str) -> Refusal {
    Refusal::new(Kind::Unavailable, format!("{what}: try again in a moment"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[tokio::test(start_paused = true)]
    async fn requests_at_the_same_time_look_a_tenant_up_once() {
        let world = World::unlisted();
        let accesses = Accesses::new(Arc::clone(&world.engine));
        let tenant: TenantUri = "vcluster://team-a/demo/c1".parse().unwrap();
        let path = "GET /apis/vcluster.dev/v1alpha1/namespaces/team-a/virtualclusters/demo";
        for _ in 0..2 {
            let all = (0..5).map(|_| accesses.get(&tenant));
            for refused in futures::future::join_all(all).await {
                assert_eq!(refused.unwrap_err().kind, Kind::Forbidden);
            }
            assert_eq!(world.host.take_calls(), [path]);
            tokio::time::advance(BAD).await;
        }
        let other = "vcluster://team-a/other/c2".parse().unwrap();
        drop(accesses.slot(&other));
        assert_eq!(accesses.known().len(), 1, "the first one is of no use");
    }
}
