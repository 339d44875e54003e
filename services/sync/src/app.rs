//! The composition root: builds every part once, in the order in which they need each other, and runs them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::access::{Authorizer, CacheConfig, TokenReviewer};
use vcluster_chassis::admin::AdminServer;
use vcluster_chassis::clock::{Clock, SystemClock};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::grpc::{self, CallerLayer};
use vcluster_chassis::health::Health;
use vcluster_chassis::kube_client;
use vcluster_chassis::lease::{Candidate, Leadership, Timing};
use vcluster_chassis::metrics::Registry;
use vcluster_chassis::tls::{self, AcceptOptions, ClientAuth, Reloader};
use vcluster_proto::FILE_DESCRIPTOR_SET;
use vcluster_proto::sync::v1::sync_service_server::SyncServiceServer;
use vcluster_resources::layout::{CONNECT_COMMON_NAME, SYNC_SERVICE};
use vcluster_translate::kind::Outside;

use crate::api::{Elsewhere, Service};
use crate::args::Args;
use crate::config::Config;
use crate::directory::Directory;
use crate::engine::Engine;
use crate::guard::{self, Guard};
use crate::kubelet::Kubelet;
use crate::kubelet::access::Accesses;
use crate::metrics::{Metrics, Port};
use crate::object::Kind;
use crate::peer::{self, FrontProxies};
use crate::replicas::{self, Replicas};
use crate::resource_metrics::ResourceMetrics;
use crate::resource_metrics::reading::Readings;
use crate::server::{Host, Server};
use crate::tenants::Tenants;
use crate::webhook::Webhook;
use crate::{capacities, gauges, host_history, host_watch};

/// Name in metrics and traces.
pub const SERVICE: &str = "vcluster-sync";
/// Version in metrics and traces.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs until told to stop, and drains.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::try_from(&args)?;
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let mut registry = Registry::new(SERVICE, VERSION);
    let health = Health::new(&shutdown);
    let admin = AdminServer::bind(&args.admin).await?;
    let listener = bind(config.listen).await?;
    let kubelet = bind(config.kubelet_listen).await?;
    let webhook = bind(config.webhook_listen).await?;
    let resource_metrics = bind(config.resource_metrics_listen).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let host = Host::new(&kube_client::config(&args.kube).await?)?;
    let metrics = Metrics::register(registry.sub_registry("sync"));
    let client = host.own.request.clone();
    let leadership = leadership(&config, client, Arc::clone(&clock), &shutdown);
    let replicas = replicas(&config, &host.own, &leadership);
    let name = format!("{SYNC_SERVICE}.{}.svc", config.namespace);
    let engine = Engine::new(config.engine.clone(), host, clock, metrics, name);
    let engine = Arc::new(engine.among(replicas));
    let peers = serve(&args, listener, &engine, &mut registry, &health, &shutdown).await?;
    let readings = Arc::new(Readings::new());
    let kubelet_api = Kubelet::new(Arc::clone(&engine), Arc::clone(&readings), &shutdown);
    peers.serve(Port::Kubelet, kubelet, Arc::new(kubelet_api));
    let accesses = Arc::new(Accesses::new(Arc::clone(&engine)));
    peers.serve_front_proxies(
        Port::ResourceMetrics,
        resource_metrics,
        Arc::clone(&accesses) as Arc<dyn FrontProxies>,
        Arc::new(ResourceMetrics::new(
            Arc::clone(&engine),
            accesses,
            readings,
        )),
    );
    let directory = Arc::new(Directory::new(Arc::clone(&engine)));
    peers.serve(Port::Webhook, webhook, Arc::new(Webhook::new(directory)));
    admin.serve(Arc::new(registry), health.clone(), &shutdown);
    shutdown.spawn(
        "gauges",
        gauges::show(Arc::clone(&engine), shutdown.token()),
    );
    tracing::info!(address = %config.listen, "serving");
    lead(
        &engine,
        leadership,
        &health,
        &shutdown,
        config.drain_timeout,
    )
    .await;
    // What did not end in time was logged, and is cut off by the end of the process.
    drop(shutdown.drained(config.drain_timeout).await);
    anyhow::ensure!(!shutdown.has_failed(), "a vital task panicked");
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// Serves the gRPC API; returns what serves virtual API servers with the same identity.
async fn serve(
    args: &Args,
    listener: TcpListener,
    engine: &Arc<Engine>,
    registry: &mut Registry,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<peer::Server> {
    let tls_metrics = tls::Metrics::register(registry);
    let reloader = Reloader::new(shutdown, &tls_metrics);
    let identity = reloader
        .identity(&args.tls.tls_cert_file, &args.tls.tls_key_file)
        .await?;
    let roots = reloader.roots(&args.tls.tls_client_ca_file).await?;
    let elsewhere = Elsewhere::new(&engine.kubelet_host, roots.clone(), identity.clone())?;
    let peers = peer::Server {
        identity: identity.clone(),
        authority: args.tls.tenant_ca_file.clone(),
        reloader,
        tls: tls_metrics.clone(),
        metrics: engine.metrics.clone(),
        shutdown: shutdown.clone(),
    };
    let server = tls::server_config(identity, ClientAuth::Optional(roots), &[tls::ALPN_H2]);
    let incoming = tls::accept(
        listener,
        server,
        AcceptOptions::default(),
        &tls_metrics,
        shutdown,
    );
    let client = engine.host.own.request.clone();
    let reviewer = TokenReviewer::new(client.clone(), Vec::new(), CacheConfig::TOKENS);
    let service = Service::new(Arc::clone(engine), Authorizer::new(client), elsewhere);
    grpc::Server::new(
        grpc::Options::default(),
        &grpc::Metrics::register(registry),
        health,
    )
    .callers(CallerLayer::new(
        [CONNECT_COMMON_NAME, SYNC_SERVICE],
        reviewer,
    ))
    .add(
        SyncServiceServer::new(service)
            .max_decoding_message_size(grpc::MAX_MESSAGE)
            .max_encoding_message_size(grpc::MAX_MESSAGE),
        FILE_DESCRIPTOR_SET,
    )
    .serve(incoming, shutdown)?;
    Ok(peers)
}

/// The Lease of this replica: while it is held, others know that it is there.
fn leadership(
    config: &Config,
    client: Client,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Leadership {
    if config.unopposed {
        return Leadership::unopposed();
    }
    let candidate = Candidate {
        namespace: config.namespace.clone(),
        name: replicas::lease(&config.pod),
        holder: replicas::holder(&config.pod, config.address),
        pod_uid: config.pod_uid.clone(),
        timing: Timing::default(),
    };
    Leadership::campaign(client, candidate, clock, shutdown)
}

fn replicas(config: &Config, host: &Server, leadership: &Leadership) -> Replicas {
    if config.unopposed {
        return Replicas::alone();
    }
    let duration = Timing::default().lease_duration;
    Replicas::new(host, &config.namespace, leadership.holder(), duration)
}

/// Works while this process holds its own Lease, until the shutdown begins: which tenants are its own, the Leases of
/// all replicas say. When the shutdown begins the Lease is freed at once, and each tenant's when nothing is done for it
/// any more.
pub(crate) async fn lead(
    engine: &Arc<Engine>,
    mut leadership: Leadership,
    health: &Health,
    shutdown: &Shutdown,
    patience: Duration,
) {
    let end = shutdown.token();
    let gate = health.gate("leadership");
    // A follower serves its API and is ready to take over.
    gate.open();
    while end
        .run_until_cancelled(leadership.elected())
        .await
        .is_some()
    {
        tracing::info!("the lease is held: tenants are taken up");
        let term = end.child_token();
        begin(engine, health, shutdown, &term);
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            () = leadership.deposed(), if guard::stands(Guard::Deposed) => {
                tracing::warn!("the lease is lost: tenants are let go");
            }
        }
        term.cancel();
        engine.standing().set_complete(false);
        if end.is_cancelled() {
            // The drain waits for every task, within its own time.
            return;
        }
        if tokio::time::timeout(patience, engine.emptied())
            .await
            .is_err()
        {
            // Another term beside what is left of this one would serve a tenant twice: better a new process.
            tracing::error!("tenants were not let go in time: the process ends");
            shutdown.begin("tenants were not let go in time");
        }
    }
}

/// Begins everything that a replica does while it holds its Lease, until the term ends.
fn begin(engine: &Arc<Engine>, health: &Health, shutdown: &Shutdown, term: &CancellationToken) {
    engine.reset();
    shutdown.spawn("work", Arc::clone(engine).work(term.clone()));
    let settling = Arc::clone(engine).settle_bodies(term.clone());
    shutdown.spawn("bodies", settling);
    let (following, until) = (Arc::clone(engine), term.clone());
    shutdown.spawn("replicas", async move {
        let is_gone = |uid: &str| following.is_gone(uid);
        following.replicas.follow(&until, is_gone).await;
    });
    for kind in Kind::all() {
        let (engine, term) = (Arc::clone(engine), term.clone());
        let name = format!("host {}", kind.plural());
        if kind.is_translated() {
            let events = host_watch::events(Arc::clone(&engine), kind, term.clone());
            shutdown.spawn(format!("host events about {}", kind.plural()), events);
        }
        match kind.description().outside {
            Outside::Translated => {
                let gate = health.gate(kind.plural());
                let watch = host_watch::translated(engine, kind, gate, term);
                shutdown.spawn(name, watch);
            }
            Outside::Everything { prune } => {
                let gate = health.gate(kind.plural());
                let watch = host_watch::mirrored(engine, kind, prune, Some(gate), term);
                shutdown.spawn(name, watch);
            }
            Outside::Scanned | Outside::Shown | Outside::Nothing => {}
        }
    }
    if engine.config.storage_capacities {
        let watch = capacities::watch(Arc::clone(engine), term.clone());
        shutdown.spawn("host capacities of storage", watch);
    }
    let api_servers = host_watch::api_servers(Arc::clone(engine), term.clone());
    shutdown.spawn("host API servers", api_servers);
    let history = host_history::watch(Arc::clone(engine), shutdown.clone(), term.clone());
    shutdown.spawn("host history", history);
    let tenants = Tenants::new(Arc::clone(engine), shutdown.clone(), term.clone());
    shutdown.spawn(
        "virtual clusters",
        tenants.run(health.gate("virtual-clusters")),
    );
}
