//! Taking a virtual cluster up: what is read, listed and followed before its objects are worked for.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use vcluster_chassis::chance;
use vcluster_resources::VirtualCluster;
use vcluster_resources::condition::{Observation, Reason, Status, Type};
use vcluster_translate::HostAccess;

use super::follow::Calls;
use super::stay::{self, Stay};
use super::{Error, OLDER, Supervisor, context};
use crate::apply::Failure;
use crate::custom::{self, Resolved};
use crate::guard::{self, Guard};
use crate::metrics::State;
use crate::object::{Kind, Side};
use crate::queue::Lane;
use crate::tenant::ingest::VirtualSink;
use crate::tenant::{Clients, HostClient, Parts, Tenant, follow};
use crate::tenant_token::TenantToken;
use crate::tenants::credentials::Credentials;
use crate::tenants::stage::{Endpoint, Stage, stage};
use crate::tenants::status::{Reporter, observe};
use crate::tenants::{finalizer, host_access};
use crate::{aggregation, capacities, mapping, own_classes, provision, scan};

/// Tenants that are found at once, as at a restart, begin within this time.
const JITTER: Duration = Duration::from_millis(500);
/// When it is told that the host's own objects are not known yet, and how often from then on.
const HOST: Duration = Duration::from_secs(30);
/// The longest that a tenant keeps its right to list while others wait: one that cannot be listed must not
/// keep them out.
const LISTING: Duration = Duration::from_mins(1);
/// How long a first list counts among those that may be under way at once.
const PROMPT: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Serves until the object calls for something else.
    pub(super) async fn serve(
        &mut self,
        cluster: &VirtualCluster,
        endpoint: Endpoint,
    ) -> Result<(), Error> {
        self.settle().await;
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
        self.tenant = Some(Arc::clone(&tenant));
        let stay = Stay::begin(&self.engine, tenant);
        self.coming.arrived();
        let mut reporter = self.reporter(cluster);
        let listed = tokio::select! {
            biased;
            () = self.called_off(&endpoint) => None,
            listed = self.begin(&stay.tenant, &mut reporter, cluster, &endpoint) => Some(listed),
        };
        let Some(listed) = listed else {
            // What comes next, a removal for one, must not meet a write of this stay.
            drop(stay);
            self.settle().await;
            return Ok(());
        };
        listed.map_err(|error| Error::of(&stay.tenant, error))?;
        self.spawn_custom(&stay.tenant, &resolved);
        let calls = Calls { endpoint, resolved };
        self.follow(&stay.tenant, &mut reporter, &calls, &mut credentials)
            .await;
        let (is_broken, has_wavered) =
            (stay.tenant.token.is_cancelled(), stay.tenant.has_wavered());
        drop(stay);
        self.settle().await;
        if has_wavered {
            return Err(Error::Wavered);
        }
        if is_broken {
            return Err(Error::Broken);
        }
        Ok(())
    }

    /// Ends when the object calls for something else than to be served there.
    fn called_off(&self, endpoint: &Endpoint) -> impl Future<Output = ()> + use<> {
        let (mut cluster, endpoint) = (self.cluster.clone(), endpoint.clone());
        async move {
            let serves = |cluster: &Arc<VirtualCluster>| {
                stage(cluster, true) == Stage::Serve(endpoint.clone())
            };
            // Nobody tells of it any more: then it is gone.
            drop(
                cluster
                    .wait_for(|cluster| !cluster.as_ref().is_some_and(serves))
                    .await,
            );
        }
    }

    /// Begins to follow both sides, and waits until what there is is known.
    async fn begin(
        &self,
        tenant: &Arc<Tenant>,
        reporter: &mut Reporter,
        cluster: &VirtualCluster,
        endpoint: &Endpoint,
    ) -> Result<(), Failure> {
        self.await_host(reporter, cluster).await;
        self.spawn_provision(tenant, endpoint);
        self.spawn_mapping(tenant);
        self.list(tenant, reporter, cluster).await?;
        self.spawn_scan(tenant);
        Ok(())
    }

    /// Waits for what is followed on the host for all tenants. Nothing can be decided without, so that it is waited for
    /// however long it takes, and told if that is long.
    async fn await_host(&self, reporter: &mut Reporter, cluster: &VirtualCluster) {
        let mut followed = std::pin::pin!(self.engine.followed());
        while tokio::time::timeout(HOST, &mut followed).await.is_err() {
            let missing = self.engine.unfollowed();
            let missing: Vec<_> = missing.into_iter().map(Kind::plural).collect();
            let message = format!(
                "sync waits for the host's {}, which it cannot list",
                missing.join(", ")
            );
            tracing::warn!(tenant = %self.id, message, "tenant cannot be served yet");
            self.say(State::Starting, &message);
            let waits = Observation {
                type_: Type::SyncReady,
                status: Status::False,
                reason: Reason::Waiting,
                message,
            };
            reporter.report(&[waits], cluster.metadata.generation).await;
        }
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
            limits: self.engine.config.limits_of(&self.id.namespace),
            creation: cluster.creation_trace(),
            bill: Arc::clone(&self.bill),
            work: Arc::clone(&self.engine.work),
            room: self.engine.room.clone(),
            gate: Arc::clone(&self.engine.gate),
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
    ) -> Result<(), Failure> {
        let jitter = JITTER.mul_f64(chance::draw());
        tokio::time::sleep(jitter).await;
        // Closed never: the semaphore lives as long as the engine.
        let permit = self.engine.lists.acquire().await.ok();
        if !reporter.says_ready() {
            reporter
                .report(&[observe(tenant)], cluster.metadata.generation)
                .await;
        }
        // What all tenants share may have been listed since it came.
        let is_unlisted = |kind: &Kind| !tenant.state().is_listed(Side::Host, *kind);
        let translated = Kind::all().filter(|kind| kind.is_translated());
        for kind in translated.filter(is_unlisted) {
            scan::list_host(&self.engine, tenant, kind, scan::Purpose::First).await?;
        }
        for kind in Kind::all() {
            if kind.description().defined {
                let (engine, defined) = (Arc::clone(&self.engine), Arc::clone(tenant));
                let task = custom::defined::kind(engine, defined, kind);
                self.spawn(tenant, format!("{kind} of {}", self.id), task);
            } else {
                self.spawn_watch(tenant, kind);
            }
        }
        self.spawn(
            tenant,
            format!("link {}", self.id),
            link(Arc::clone(tenant)),
        );
        let listed = async {
            while !tenant.is_ready() {
                tenant.changed().await;
            }
        };
        let listed = tenant.token.run_until_cancelled(listed);
        let mut listed = std::pin::pin!(listed);
        if tokio::time::timeout(PROMPT, &mut listed).await.is_err() {
            // It is its API server that takes so long: others' lists do not wait for that.
            drop(permit);
            drop(tokio::time::timeout(LISTING, listed).await);
        }
        Ok(())
    }

    /// Spawns a task of the tenant's, whose time is on its bill. Contained: its trouble is not the others', but with a
    /// panic the tenant's stay ends. What counts as served must be followed.
    fn spawn(
        &self,
        tenant: &Tenant,
        name: String,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = stay::vital(tenant.token.clone(), self.bill.meter(task));
        self.shutdown.spawn_contained(name, task);
    }

    /// Compares both sides now and then.
    fn spawn_scan(&self, tenant: &Arc<Tenant>) {
        let task = scan::keep(Arc::clone(&self.engine), Arc::clone(tenant));
        self.spawn(tenant, format!("scan of {}", self.id), task);
    }

    /// Keeps inside what belongs there, from now on and at each scan.
    fn spawn_provision(&self, tenant: &Arc<Tenant>, endpoint: &Endpoint) {
        let wanted = provision::wanted(&tenant.context, &endpoint.service_cidrs);
        let again = self.engine.config.scan_interval;
        let task = provision::keep(Arc::clone(tenant), wanted, again);
        self.spawn(tenant, format!("provision {}", self.id), task);
        let task = aggregation::keep(Arc::clone(&self.engine), Arc::clone(tenant));
        self.spawn(tenant, format!("aggregation {}", self.id), task);
    }

    /// Follows custom kinds, each by itself.
    fn spawn_custom(&self, tenant: &Arc<Tenant>, resolved: &Resolved) {
        for (custom, learnt) in &resolved.learnt {
            let kind = Kind::Custom(*custom);
            let (engine, shutdown) = (&self.engine, &self.shutdown);
            let following = engine.watches.follow(*custom, engine, shutdown, &self.term);
            let (engine, followed) = (Arc::clone(engine), Arc::clone(tenant));
            let task = custom::follow::kind(engine, followed, kind, learnt.clone(), following);
            self.spawn(tenant, format!("{kind} of {}", self.id), task);
        }
    }

    /// Keeps what the policy maps one by one, the tenant's own classes, and the room of the host's storage.
    fn spawn_mapping(&self, tenant: &Arc<Tenant>) {
        let task = mapping::keep(Arc::clone(tenant));
        self.spawn(tenant, format!("mappings of {}", self.id), task);
        let task = own_classes::keep(Arc::clone(&self.engine), Arc::clone(tenant));
        self.spawn(tenant, format!("classes of {}", self.id), task);
        let task = capacities::keep(Arc::clone(&self.engine), Arc::clone(tenant));
        self.spawn(
            tenant,
            format!("capacities of storage of {}", self.id),
            task,
        );
    }

    fn spawn_watch(&self, tenant: &Arc<Tenant>, kind: Kind) {
        let mut sink = VirtualSink::new(Arc::clone(tenant), kind);
        let followed = Arc::clone(tenant);
        let task =
            async move { follow::inside(&followed, kind, move |change| sink.take(change)).await };
        self.spawn(tenant, format!("watch {kind} of {}", self.id), task);
    }
}

/// Watches over the link to a virtual API server.
async fn link(tenant: Arc<Tenant>) {
    let client = tenant.clients.virtual_.request.clone();
    let confirm = || -> BoxFuture<'static, bool> {
        let tenant = Arc::clone(&tenant);
        // A store that was lost is reached: it is for the next stay to say so.
        Box::pin(async move { tenant.confirm_store().await.is_ok() || tenant.has_lost_its_store() })
    };
    let thawed = || {
        tenant.reopen();
        tenant.notify();
        tenant.add_all(Lane::List);
    };
    let token = tenant.token.clone();
    tenant.link.watch(client, token, confirm, thawed).await;
}
