//! For tests: a host and a virtual API server in memory, and one tenant between them.
//!
//! The servers keep objects, count versions, check UIDs and answer as a real one does, as far as the engine can
//! tell; and they remember every request, so that a test can say exactly which were made.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vcluster_chassis::testing::ManualClock;
use vcluster_translate::{Annotations, Context, HostAccess};

use crate::config;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::object::{Key, Kind, Side};
use crate::queue;
use crate::server::{Host, Server};
use crate::sync;
use crate::tenant::{About, Clients, HostClient, Id, Parts, Tenant, lists};

mod store;

pub(crate) use store::{Copy, Store, status};

/// UID of the VirtualCluster.
pub(crate) const CLUSTER_UID: &str = "cluster-uid";

/// One tenant between two API servers.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) virtual_: Store,
    pub(crate) host: Store,
    pub(crate) clock: ManualClock,
    pub(crate) registry: Arc<Registry>,
}

impl World {
    /// Both sides empty, completely listed, with the variables of containers made, also of namespace `shop`.
    pub(crate) async fn new() -> Self {
        let world = Self::unlisted();
        for (side, kind) in lists() {
            let list = world.tenant.state().begin_list(side, kind);
            world.tenant.end_list(side, kind, list);
        }
        for kind in Kind::all().filter(|kind| kind.is_mirrored()) {
            world.engine.set_listed(kind, true);
        }
        world.engine.set_api_servers(BTreeSet::new());
        world.tenant.ensure_variables(&pod("any")).await.unwrap();
        world.tenant.note(About::Provision, None);
        world.apply(Kind::Namespace, json!({"metadata": {"name": "shop"}}));
        world.calls();
        world
    }

    /// Both sides empty and not listed.
    pub(crate) fn unlisted() -> Self {
        vcluster_chassis::crypto::install();
        let (virtual_, host) = (Store::new("v"), Store::new("h"));
        let clock = ManualClock::default();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let mut config = kube::Config::new(Uri::from_static("https://127.0.0.1:1"));
        config.root_cert = Some(Vec::new());
        let mut own = Host::new(&config).unwrap();
        own.own = Server {
            watch: host.client(),
            request: host.client(),
        };
        let engine = Engine::new(
            engine_config(),
            own,
            Arc::new(clock.clone()),
            metrics.clone(),
            context().kubelet_host,
        );
        let engine = Arc::new(engine);
        let request = virtual_.client();
        let tenant = Arc::new(Tenant::new(Parts {
            id: Id {
                uid: CLUSTER_UID.to_owned(),
                namespace: "team-a".to_owned(),
                name: "demo".to_owned(),
            },
            context: context(),
            clients: Clients {
                virtual_: Server {
                    watch: request.clone(),
                    request,
                },
                host: HostClient(host.client()),
            },
            limits: engine_config().tenant,
            creation: None,
            bill: Arc::default(),
            work: Arc::clone(&engine.work),
            room: engine.room.clone(),
            gate: Arc::clone(&engine.gate),
            metrics,
            token: CancellationToken::new(),
        }));
        engine.enter(&tenant);
        engine.standing().set_complete(true);
        Self {
            engine,
            tenant,
            virtual_,
            host,
            clock,
            registry: Arc::new(registry),
        }
    }

    /// The same, acting on the host by another client.
    pub(crate) fn with_host(self, client: HostClient) -> Self {
        let clients = Clients {
            host: client,
            ..self.tenant.clients.clone()
        };
        self.again(context(), clients)
    }

    /// The same, with what this policy says. What is there must be seen again.
    pub(crate) async fn with_policy(self, policy: Value) -> Self {
        let policy = serde_json::from_value(policy).unwrap();
        self.with_context(Context {
            policy,
            ..context()
        })
        .await
    }

    /// The same, with another context. What is there must be seen again.
    pub(crate) async fn with_context(self, context: Context) -> Self {
        let clients = self.tenant.clients.clone();
        let world = self.again(context, clients);
        world.tenant.ensure_variables(&pod("any")).await.unwrap();
        world.calls();
        world
    }

    /// Another tenant of the same host namespace, about which nothing is known.
    pub(crate) fn beside(&self, name: &str) -> Arc<Tenant> {
        self.another(name, self.tenant.clients.clone())
    }

    /// Another tenant of the same host namespace, with an API server of its own, completely listed.
    pub(crate) fn beside_with(&self, name: &str, request: kube::Client) -> Arc<Tenant> {
        let clients = Clients {
            virtual_: Server {
                watch: request.clone(),
                request,
            },
            ..self.tenant.clients.clone()
        };
        let tenant = self.another(name, clients);
        list_all(&tenant);
        tenant
    }

    fn another(&self, name: &str, clients: Clients) -> Arc<Tenant> {
        let tenant = Arc::new(Tenant::new(Parts {
            id: Id {
                uid: format!("{name}-uid"),
                name: name.to_owned(),
                ..self.tenant.id.clone()
            },
            context: context(),
            clients,
            limits: engine_config().tenant,
            creation: None,
            bill: Arc::default(),
            work: Arc::clone(&self.engine.work),
            room: self.engine.room.clone(),
            gate: Arc::clone(&self.engine.gate),
            metrics: self.engine.metrics.clone(),
            token: CancellationToken::new(),
        }));
        self.engine.enter(&tenant);
        tenant
    }

    /// The same servers, with a tenant that is taken up anew.
    fn again(mut self, context: Context, clients: Clients) -> Self {
        let tenant = &self.tenant;
        self.engine.leave(tenant);
        self.tenant = Arc::new(Tenant::new(Parts {
            id: tenant.id.clone(),
            context,
            clients,
            limits: engine_config().tenant,
            creation: None,
            bill: Arc::default(),
            work: Arc::clone(&self.engine.work),
            room: self.engine.room.clone(),
            gate: Arc::clone(&self.engine.gate),
            metrics: self.engine.metrics.clone(),
            token: CancellationToken::new(),
        }));
        list_all(&self.tenant);
        self.engine.enter(&self.tenant);
        self
    }

    /// The same after a restart: the tenant is taken up anew, and knows nothing.
    pub(crate) fn anew(self) -> Self {
        let context = self.tenant.context.clone();
        let clients = self.tenant.clients.clone();
        self.again(context, clients)
    }

    /// The same, with custom kinds, which are not listed.
    pub(crate) fn with_custom(self, custom: vcluster_translate::custom::Kinds) -> Self {
        let clients = self.tenant.clients.clone();
        let context = Context {
            custom,
            ..context()
        };
        self.again(context, clients)
    }

    /// Works on a key as a worker does.
    pub(crate) async fn work(&self, key: &Key) -> sync::Next {
        sync::key(&self.engine, &self.tenant, key).await.0
    }

    /// Puts an object into the virtual cluster and tells the tenant.
    pub(crate) fn apply(&self, kind: Kind, object: Value) -> Key {
        let stored = self.virtual_.put(kind, object);
        let key = Key {
            kind,
            name: stored.name(),
        };
        self.tenant.see_virtual(kind, &stored, queue::Lane::Live);
        key
    }

    /// Changes an object on the host and tells the tenant.
    pub(crate) fn change_host(&self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let changed = self.host.change(kind, "team-a", name, change);
        assert!(
            self.tenant.see_host(kind, &changed, queue::Lane::Live),
            "not ours"
        );
    }

    /// Every request since the last look, as `virtual METHOD PATH` or `host METHOD PATH`, reads included.
    pub(crate) fn calls(&self) -> Vec<String> {
        let mark = |side: &str, calls: Vec<String>| {
            calls
                .into_iter()
                .map(move |call| format!("{side} {call}"))
                .collect::<Vec<_>>()
        };
        let mut calls = mark("virtual", self.virtual_.take_calls());
        calls.extend(mark("host", self.host.take_calls()));
        calls
    }

    /// As [`Self::calls`], without reads.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| !call.contains(" GET "));
        calls
    }

    /// The metrics that begin so, as they are scraped: a line each.
    pub(crate) fn scraped(&self, prefix: &str) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let wanted = |line: &&str| line.starts_with(prefix);
        text.lines().filter(wanted).map(str::to_owned).collect()
    }

    /// Moves both clocks.
    pub(crate) async fn pass(&self, time: std::time::Duration) {
        self.clock.advance(time);
        tokio::time::advance(time).await;
    }

    /// What the state knows of an object on one side.
    pub(crate) fn knows(&self, side: Side, key: &Key) -> bool {
        self.tenant.state().entry(key).slot(side).seen.is_some()
    }
}

/// Has everything of a tenant listed, and nothing found.
fn list_all(tenant: &Tenant) {
    for (side, kind) in lists() {
        let list = tenant.state().begin_list(side, kind);
        tenant.end_list(side, kind, list);
    }
    tenant.note(About::Provision, None);
}

/// A pod of namespace `shop`.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"containers": [{"name": "main", "image": "nginx"}]},
    })
}

/// A pod whose container reads a configmap.
pub(crate) fn pod_with_config(name: &str, config_map: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": config_map}}]);
    pod
}

/// A pod that mounts a token.
pub(crate) fn pod_with_token(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["serviceAccountName"] = "default".into();
    pod["spec"]["volumes"] = json!([{"name": "token", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
    ]}}]);
    pod
}

pub(crate) fn context() -> Context {
    Context {
        cluster: "demo".parse().unwrap(),
        cluster_uid: CLUSTER_UID.to_owned(),
        host_namespace: "team-a".parse().unwrap(),
        api: "10.96.0.17".parse().unwrap(),
        dns: "10.96.0.53".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        hosts_image: None,
        kubelet_host: "vcluster-sync.vcluster-system.svc".to_owned(),
        host_access: HostAccess::Refused,
        annotations: Annotations::default(),
        classes: vcluster_translate::own_class::Allowed::default(),
        destinations: vcluster_translate::Destinations::default(),
        policy: vcluster_resources::SyncPolicy::default(),
        custom: vcluster_translate::custom::Kinds::default(),
    }
}

/// Limits that no test comes near.
pub(crate) fn engine_config() -> config::Engine {
    config::Engine {
        workers: 64,
        max_concurrent_lists: 1,
        scan_interval: std::time::Duration::from_mins(5),
        hosts_image: None,
        annotations: Annotations::default(),
        classes: vcluster_translate::own_class::Allowed::default(),
        storage_capacities: false,
        pod_cidrs: Vec::new(),
        denied_endpoint_cidrs: Vec::new(),
        custom_resources: crate::custom::Allowed::default(),
        selector: None,
        fresh_objects: 16,
        host_requests: 64,
        weights: std::collections::BTreeMap::new(),
        tenant: config::Limits {
            queue: queue::Limits {
                weight: 1,
                in_flight: 4,
            },
            writes_per_second: 1000,
            writes_burst: 2000,
            events_per_second: 100,
            object_bytes: 1 << 20,
        },
    }
}

/// When tokens of the double end.
pub(crate) fn in_an_hour(clock: &ManualClock) -> Timestamp {
    use vcluster_chassis::clock::Clock;
    clock.now() + std::time::Duration::from_hours(1)
}

/// Lets every list of the store be empty, the first watch fail, and the second end the token.
pub(crate) fn fail_first_watch(store: &Store, token: &CancellationToken) -> Arc<AtomicUsize> {
    let lists = Arc::new(AtomicUsize::new(0));
    let (seen, token, watches) = (Arc::clone(&lists), token.clone(), AtomicUsize::new(0));
    store.script(move |call| {
        if !call.query.contains("watch=true") {
            seen.fetch_add(1, Ordering::Relaxed);
            let empty = json!({"metadata": {"resourceVersion": "1"}, "items": []});
            return Some(vcluster_chassis::testing::json(200, empty));
        }
        if watches.fetch_add(1, Ordering::Relaxed) == 0 {
            return Some(status(503, "ServiceUnavailable"));
        }
        token.cancel();
        Some(http::Response::new(String::new()))
    });
    lists
}
