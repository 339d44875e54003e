//! One virtual cluster from the moment it is known until it is gone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::chance;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::lease::Leadership;
use vcluster_chassis::retry::Policy;
use vcluster_resources::condition::{Observation, Reason, Status, Type};
use vcluster_resources::label;
use vcluster_resources::{ClusterName, HostNamespace, SyncPolicy, VirtualCluster};
use vcluster_translate::custom::Kinds;
use vcluster_translate::kind::Inside;
use vcluster_translate::{Context, Destinations, HostAccess};

use super::credentials::Credentials;
use super::stage::{Endpoint, Stage, stage};
use super::status::{Reporter, loss_reason, observe, observe_custom};
use super::{finalizer, host_access, remove};
use crate::aggregation;
use crate::apply::{Failure, with_causes};
use crate::bill::Bill;
use crate::custom::{self, Resolved};
use crate::engine::Engine;
use crate::guard::{self, Guard};
use crate::mapping;
use crate::metrics::State;
use crate::object::{Kind, resource};
use crate::provision;
use crate::queue::Lane;
use crate::scan;
use crate::tenant::ingest::VirtualSink;
use crate::tenant::store;
use crate::tenant::{Clients, HostClient, Id, Parts, Tenant};
use crate::tenant_token::TenantToken;
use crate::watch::{Labels, Selection, follow};

/// DNS domain inside virtual clusters.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Delays after a start that failed.
const RETRY: Policy = Policy {
    base: Duration::from_millis(500),
    factor: 2.0,
    cap: Duration::from_secs(15),
};
/// Tenants that are found at once, as at a restart, begin within this time.
const JITTER: Duration = Duration::from_millis(500);
/// The longest that a tenant keeps its right to list while others wait: one that cannot be listed must not
/// keep them out.
const LISTING: Duration = Duration::from_mins(1);
/// How long a newer version of an object is waited for that is known to be there.
const OLDER: Duration = Duration::from_secs(1);
/// How often the condition is looked at without a reason.
const STATUS: Duration = Duration::from_secs(30);

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
    /// Held so that the lease is not given away while this still acts.
    pub(super) _leadership: Leadership,
}

/// What a tenant was taken up for. When its object calls for something else, it is taken up anew.
struct Calls {
    endpoint: Endpoint,
    resolved: Resolved,
}

/// It cannot be served at the moment.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Credentials(#[from] super::credentials::Error),
    #[error(transparent)]
    Server(#[from] crate::server::Error),
    #[error("its name cannot be used")]
    Name(#[from] vcluster_resources::name::Error),
    #[error("its finalizer cannot be set")]
    Finalizer(#[source] Box<kube::Error>),
    #[error("its host namespace cannot be read")]
    Namespace(#[source] Box<kube::Error>),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("its host namespace cannot be listed")]
    List(#[from] Failure),
    #[error("nothing is changed or deleted on the host: {0}")]
    Right(String),
}

impl Error {
    /// What a failure comes from: where a right is missing on the host, that.
    fn of(tenant: &Tenant, error: impl Into<Self>) -> Self {
        tenant
            .missing_right()
            .map_or_else(|| error.into(), Self::Right)
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Right(_) => Reason::Refused,
            Self::Store(store::Error::Lost(lost)) => loss_reason(&lost.loss),
            Self::Credentials(_)
            | Self::Server(_)
            | Self::Name(_)
            | Self::Finalizer(_)
            | Self::Namespace(_)
            | Self::Store(store::Error::Unknown(_))
            | Self::List(_) => Reason::Waiting,
        }
    }
}

/// What translations need to know of a virtual cluster.
pub fn context(
    engine: &Engine,
    id: &Id,
    endpoint: &Endpoint,
    host_access: HostAccess,
    policy: SyncPolicy,
) -> Result<Context, vcluster_resources::name::Error> {
    Ok(Context {
        cluster: id.name.parse::<ClusterName>()?,
        cluster_uid: id.uid.clone(),
        host_namespace: id.namespace.parse::<HostNamespace>()?,
        api: endpoint.ip,
        dns: endpoint.dns,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        hosts_image: engine.config.hosts_image.clone(),
        annotations: engine.config.annotations.clone(),
        host_access,
        policy,
        kubelet_host: engine.kubelet_host.clone(),
        destinations: destinations(&endpoint.service_cidrs),
        custom: Kinds::default(),
    })
}

/// What is known of the host's addresses from the start: its ranges of Services. One that cannot be read means that
/// every address may be a Service's.
fn destinations(service_cidrs: &[String]) -> Destinations {
    let everything = || [IpNet::from(Ipv4Net::default()), Ipv6Net::default().into()];
    let read: Result<Vec<IpNet>, _> = service_cidrs.iter().map(|cidr| cidr.parse()).collect();
    let mut known = Destinations::default();
    known.host.services = read.unwrap_or_else(|_error| everything().into());
    known
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
        token.run_until_cancelled(begun).await;
        self.engine.standing().forget(&self.id);
    }

    fn say(&self, state: State, message: &str) {
        self.engine.standing().say(&self.id, state, message);
    }

    async fn supervise(&mut self) {
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
                    let resolved = custom::resolve(&self.engine, &cluster).await;
                    remove::everything(&self.engine, &self.id, &resolved.kinds).await;
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

    /// Serves until the object calls for something else.
    async fn serve(&mut self, cluster: &VirtualCluster, endpoint: Endpoint) -> Result<(), Error> {
        let own = self.engine.host.own.request.clone();
        let mut credentials = Credentials::read(own.clone(), &self.id.namespace).await?;
        let access = host_access::read(own.clone(), &self.id.namespace).await;
        let access = access.map_err(|error| Error::Namespace(Box::new(error)))?;
        let resolved = custom::resolve(&self.engine, cluster).await;
        let tenant = self.tenant(cluster, &endpoint, &credentials, access, &resolved)?;
        // Before the first write, so that a deletion waits for what we are about to make.
        let is_held = !guard::stands(Guard::FinalizerFirst)
            || finalizer::add(&own, &self.id)
                .await
                .map_err(|error| Error::Finalizer(Box::new(error)))?;
        if !is_held {
            // It is gone, or going: what is known of it is older than that.
            let pause = tokio::time::sleep(OLDER);
            tokio::select! {
                biased;
                _newer = self.cluster.changed() => {}
                () = pause => {}
            }
            return Ok(());
        }
        let recognized = tenant.recognize_store().await;
        recognized.map_err(|error| Error::of(&tenant, error))?;
        self.engine.followed().await;
        let stay = Stay::begin(&self.engine, tenant);
        let mut reporter = self.reporter(cluster);
        self.spawn_provision(&stay.tenant, &endpoint);
        self.spawn_mapping(&stay.tenant);
        let listed = self.list(&stay.tenant, &mut reporter, cluster).await;
        listed.map_err(|error| Error::of(&stay.tenant, error))?;
        self.spawn_custom(&stay.tenant, &resolved);
        let calls = Calls { endpoint, resolved };
        self.follow(&stay.tenant, &mut reporter, &calls, &mut credentials)
            .await;
        stay.end().await;
        Ok(())
    }

    fn tenant(
        &self,
        cluster: &VirtualCluster,
        endpoint: &Endpoint,
        credentials: &Credentials,
        host_access: HostAccess,
        resolved: &Resolved,
    ) -> Result<Arc<Tenant>, Error> {
        let (roots, identity) = credentials.live();
        let host = &self.engine.host;
        let virtual_ = host.virtual_cluster(&endpoint.url, roots, identity, &self.bill.virtual_)?;
        let own = self.engine.host.own.request.clone();
        let clock = Arc::clone(&self.engine.clock);
        let token = Arc::new(TenantToken::new(&self.id.namespace, own, clock));
        let policy = cluster.spec.sync.clone();
        let mut context = context(&self.engine, &self.id, endpoint, host_access, policy)?;
        context.custom = resolved.kinds.clone();
        Ok(Arc::new(Tenant::new(Parts {
            id: self.id.clone(),
            context,
            clients: Clients {
                virtual_,
                host: HostClient(self.engine.host.tenant(token, &self.bill.host)),
            },
            limits: self.engine.config.tenant,
            creation: cluster.creation_trace(),
            bill: Arc::clone(&self.bill),
            work: Arc::clone(&self.engine.work),
            metrics: self.engine.metrics.clone(),
            token: self.token.child_token(),
        })))
    }

    /// Lists the host's side, begins to follow the virtual one, and waits for its lists.
    async fn list(
        &self,
        tenant: &Arc<Tenant>,
        reporter: &mut Reporter,
        cluster: &VirtualCluster,
    ) -> Result<(), Error> {
        let jitter = JITTER.mul_f64(chance::draw());
        tokio::time::sleep(jitter).await;
        // Closed never: the semaphore lives as long as the engine.
        let permit = self.engine.lists.acquire().await.ok();
        let _permit = permit.filter(|_| guard::stands(Guard::FewFirstLists));
        reporter
            .report(&[observe(tenant)], cluster.metadata.generation)
            .await;
        for kind in Kind::all().filter(|kind| kind.is_translated()) {
            scan::list_host(&self.engine, tenant, kind, scan::Purpose::First).await?;
        }
        for kind in Kind::all() {
            if kind.description().defined {
                let (engine, tenant) = (Arc::clone(&self.engine), Arc::clone(tenant));
                let task = custom::defined::kind(engine, tenant, kind);
                let name = format!("{kind} of {}", self.id);
                self.shutdown.spawn_contained(name, task);
            } else {
                self.spawn_watch(tenant, kind);
            }
        }
        let link = {
            let tenant = Arc::clone(tenant);
            async move {
                let client = tenant.clients.virtual_.request.clone();
                let confirm = || -> BoxFuture<'static, bool> {
                    let tenant = Arc::clone(&tenant);
                    // A store that was lost is reached: it is for the next stay to say so.
                    Box::pin(async move {
                        tenant.confirm_store().await.is_ok() || tenant.has_lost_its_store()
                    })
                };
                let thawed = || {
                    tenant.notify();
                    tenant.add_all(Lane::List);
                };
                let token = tenant.token.clone();
                tenant.link.watch(client, token, confirm, thawed).await;
            }
        };
        self.spawn(format!("link {}", self.id), link);
        let listed = async {
            while !tenant.is_ready() {
                tenant.changed().await;
            }
        };
        drop(tokio::time::timeout(LISTING, listed).await);
        Ok(())
    }

    /// Spawns a task of the tenant's, whose time is on its bill. Contained: its trouble is not the others'.
    fn spawn(&self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        self.shutdown.spawn_contained(name, self.bill.meter(task));
    }

    /// Keeps inside what belongs there, from now on and at each scan.
    fn spawn_provision(&self, tenant: &Arc<Tenant>, endpoint: &Endpoint) {
        let wanted = provision::wanted(&tenant.context, &endpoint.service_cidrs);
        let again = self.engine.config.scan_interval;
        let task = provision::keep(Arc::clone(tenant), wanted, again);
        self.spawn(format!("provision {}", self.id), task);
        let task = aggregation::keep(Arc::clone(&self.engine), Arc::clone(tenant));
        self.spawn(format!("aggregation {}", self.id), task);
    }

    /// Follows custom kinds, each by itself.
    fn spawn_custom(&self, tenant: &Arc<Tenant>, resolved: &Resolved) {
        for (custom, learnt) in &resolved.learnt {
            let kind = Kind::Custom(*custom);
            let (engine, shutdown) = (&self.engine, &self.shutdown);
            let following = engine.watches.follow(*custom, engine, shutdown, &self.term);
            let (engine, tenant) = (Arc::clone(engine), Arc::clone(tenant));
            let task = custom::follow::kind(engine, tenant, kind, learnt.clone(), following);
            self.spawn(format!("{kind} of {}", self.id), task);
        }
    }

    /// Keeps what the policy maps one by one.
    fn spawn_mapping(&self, tenant: &Arc<Tenant>) {
        let task = mapping::keep(Arc::clone(tenant));
        self.spawn(format!("mappings of {}", self.id), task);
    }

    fn spawn_watch(&self, tenant: &Arc<Tenant>, kind: Kind) {
        let labels = match kind.description().inside {
            // A tenant may have nodes of its own, for one, which are not ours to follow.
            Inside::Managed => Some(Labels::With(label::MANAGED, label::MANAGED_VALUE)),
            Inside::Without(key, value) => Some(Labels::Without(key, value)),
            Inside::Everything => None,
            Inside::Nothing => return,
        };
        let client = tenant.clients.virtual_.watch.clone();
        let api = kube::Api::all_with(client, &resource(kind));
        let selection = Selection {
            labels,
            fields: None,
        };
        let mut sink = VirtualSink::new(Arc::clone(tenant), kind);
        let token = tenant.token.clone();
        let task =
            async move { follow(api, selection, token, move |change| sink.take(change)).await };
        self.spawn(format!("watch {kind} of {}", self.id), task);
    }

    /// Keeps the condition, the credential and the scan up to date until the object calls for something else.
    async fn follow(
        &mut self,
        tenant: &Arc<Tenant>,
        reporter: &mut Reporter,
        calls: &Calls,
        credentials: &mut Credentials,
    ) {
        let mut shown = false;
        let mut reach = tenant.link.subscribe();
        let mut scan = tokio::time::interval_at(
            Instant::now() + self.engine.config.scan_interval,
            self.engine.config.scan_interval,
        );
        // The next stay tells why it cannot begin.
        while !tenant.has_lost_its_store() {
            shown = shown || show_when_ready(&self.engine, tenant);
            vouch(tenant).await;
            let generation = self.generation();
            let said = [
                Some(observe(tenant)),
                observe_custom(tenant, &calls.resolved),
            ];
            let said: Vec<_> = said.into_iter().flatten().collect();
            reporter.report(&said, generation).await;
            tokio::select! {
                biased;
                changed = self.cluster.changed() => {
                    if changed.is_err() || !self.still_serves(calls, tenant) {
                        return;
                    }
                }
                () = tenant.changed() => {}
                _ = reach.changed() => {}
                () = tokio::time::sleep(STATUS) => {
                    if self.custom_changed(calls, tenant).await {
                        return;
                    }
                    // Its keys may be at rest, and then nobody else asks.
                    if tenant.missing_right().is_some() {
                        tenant.ask_host().await;
                    }
                }
                _ = scan.tick() => {
                    if let Err(error) = credentials.refresh().await {
                        tracing::warn!(tenant = %self.id, %error, "credential cannot be read again");
                    }
                    if self.access_changed(tenant).await {
                        return;
                    }
                    scan::tenant(&self.engine, tenant).await;
                    mark(tenant).await;
                }
            }
        }
        self.remember_loss(tenant, reporter).await;
    }

    /// Has the host remember that the store went back, however it looks by the next stay: the stay ends then, or when
    /// the object is being deleted.
    async fn remember_loss(&mut self, tenant: &Tenant, reporter: &mut Reporter) {
        loop {
            let generation = self.generation();
            reporter.report(&[observe(tenant)], generation).await;
            let Err(failure) = tenant.remember_store().await else {
                return;
            };
            // Then nothing is done for it anyway, or the host knows another store already.
            if matches!(failure, Failure::Refused { .. }) || self.is_ending() {
                return;
            }
            tracing::warn!(tenant = %self.id, %failure, "the host is told later of the lost store");
            tokio::time::sleep(OLDER).await;
        }
    }

    fn is_ending(&self) -> bool {
        let cluster = self.cluster.borrow();
        let is_live = |cluster: &Arc<VirtualCluster>| cluster.metadata.deletion_timestamp.is_none();
        !cluster.as_ref().is_some_and(is_live)
    }

    /// Whether the rules for custom resources come to something else than when the tenant was taken up: the host has
    /// a definition now, or another one.
    async fn custom_changed(&self, calls: &Calls, tenant: &Tenant) -> bool {
        let cluster = self.cluster.borrow().clone();
        let has_rules = !tenant.context.policy.custom_resources.is_empty();
        let Some(cluster) = cluster.filter(|_| has_rules) else {
            return false;
        };
        let resolved = custom::resolve(&self.engine, &cluster).await;
        resolved.is_certain() && resolved != calls.resolved
    }

    /// Whether the host's administrator has granted or withdrawn access to the nodes: every refusal must be
    /// thought over, so the tenant is taken up anew.
    async fn access_changed(&self, tenant: &Tenant) -> bool {
        let own = self.engine.host.own.request.clone();
        match host_access::read(own, &self.id.namespace).await {
            Ok(access) => access != tenant.context.host_access,
            Err(error) => {
                tracing::warn!(tenant = %self.id, %error, "host namespace cannot be read");
                false
            }
        }
    }

    fn generation(&self) -> Option<i64> {
        self.cluster.borrow().as_ref()?.metadata.generation
    }

    /// Whether the object calls for what is done. With another policy every decision must be thought over, so the
    /// tenant is taken up anew.
    fn still_serves(&mut self, calls: &Calls, tenant: &Tenant) -> bool {
        let cluster = self.cluster.borrow_and_update();
        cluster.as_ref().is_some_and(|cluster| {
            stage(cluster, true) == Stage::Serve(calls.endpoint.clone())
                && cluster.spec.sync == tenant.context.policy
        })
    }
}

/// Vouches for a store that was trusted without being known, once its objects are worked for.
async fn vouch(tenant: &Tenant) {
    if !tenant.is_active() || tenant.is_vouched() {
        return;
    }
    let vouched = tenant.vouch_for_store().await;
    if let Err(failure) = &vouched {
        tracing::warn!(tenant = %tenant.id, %failure, "the store is remembered later");
    }
    tenant.set_conflict(match vouched {
        Err(Failure::Refused { code: 409, message }) => Some(message),
        Ok(()) | Err(_) => None,
    });
}

/// Marks where the store stands, once its objects are worked for.
async fn mark(tenant: &Tenant) {
    if tenant.is_active()
        && let Err(failure) = tenant.mark_store().await
    {
        tracing::warn!(tenant = %tenant.id, %failure, "the store is marked later");
    }
}

/// Has a tenant look at the host's own objects, once it is worked for; before that it takes no keys.
fn show_when_ready(engine: &Engine, tenant: &Tenant) -> bool {
    let ready = tenant.is_ready();
    if ready {
        engine.show_all(tenant, Lane::List);
    }
    ready
}

/// A tenant's stay in the engine; when it ends, however it ends, nothing finds the tenant any more.
struct Stay {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
}

impl Stay {
    fn begin(engine: &Arc<Engine>, tenant: Arc<Tenant>) -> Self {
        engine.enter(&tenant);
        tracing::info!(tenant = %tenant.id, "tenant is taken up");
        Self {
            engine: Arc::clone(engine),
            tenant,
        }
    }

    /// Ends it and waits until no worker has anything of it in hand.
    async fn end(self) {
        let tenant = Arc::clone(&self.tenant);
        drop(self);
        tenant.at_rest().await;
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.tenant.token.cancel();
        self.engine.leave(&self.tenant);
        tracing::info!(tenant = %self.tenant.id, "tenant is let go");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tenant::lists;
    use crate::testing::World;

    #[tokio::test]
    async fn a_tenant_that_is_listed_late_is_shown_the_host_s_classes_then() {
        let world = World::unlisted();
        let (engine, tenant) = (&world.engine, &world.tenant);
        let class = json!({"metadata": {"name": "fast"}});
        engine.set_mirrored(Kind::StorageClass, "fast", Some(class), Lane::Live);
        assert!(!show_when_ready(engine, tenant));
        assert_eq!(engine.work.depth(tenant.ticket).queued, 0);
        for (side, kind) in lists() {
            let list = tenant.state().begin_list(side, kind);
            tenant.end_list(side, kind, list);
        }
        assert!(show_when_ready(engine, tenant));
        assert_eq!(engine.work.depth(tenant.ticket).queued, 1);
    }
}
