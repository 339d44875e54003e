//! The composition root: from flags to a running service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use vcluster_chassis::access::{self, Authorizer, CacheConfig, TokenReviewer};
use vcluster_chassis::admin::AdminServer;
use vcluster_chassis::clock::{Clock, SystemClock};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::grpc::{self, CallerLayer};
use vcluster_chassis::health::Health;
use vcluster_chassis::kube_client;
use vcluster_chassis::lease::{Candidate, Leadership, Timing};
use vcluster_chassis::metrics::Registry;
use vcluster_chassis::tls::{self, AcceptOptions, ClientAuth};
use vcluster_resources::layout::CONNECT_COMMON_NAME;

use crate::api::Service;
use crate::args::{CheckUninstall, Serve};
use crate::config::Config;
use crate::metrics::{self, Metrics, Population};
use crate::observe::Observer;
use crate::platform::{Platform, follow};
use crate::reconcile::{Reconciler, controller};
use crate::uninstall;

const NAME: &str = "vcluster-control";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Which nameservers a pod of the host is told, as the pods of control planes are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Name of the Lease of the one replica that reconciles.
const LEASE: &str = "vcluster-control";

/// A replica that dies is followed by another one within ten seconds. The durations are shorter than
/// client-go's, at the price of a small write every one and a half seconds.
const TIMING: Timing = Timing {
    lease_duration: Duration::from_secs(8),
    renew_deadline: Duration::from_secs(6),
    retry_period: Duration::from_millis(1500),
};

/// Fails if there are virtual clusters.
pub async fn check_uninstall(args: &CheckUninstall) -> anyhow::Result<()> {
    let client = kube_client::connect(&args.kube, &agent()).await?;
    uninstall::check(client).await
}

/// Serves until told to stop, then drains.
pub async fn serve(args: &Serve) -> anyhow::Result<()> {
    // Without one there are no nameservers to reach.
    let resolv_conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let config = Config::new(args, &resolv_conf)?;
    let shutdown = Shutdown::on_signals()?;
    let mut registry = Registry::new(NAME, VERSION);
    let health = Health::new(&shutdown);
    let admin = AdminServer::bind(&args.admin).await?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let client = kube_client::connect(&args.kube, &agent()).await?;
    let service = Parts::register(&mut registry);
    let keys = health.gate("keys");
    admin.serve(Arc::new(registry), health.clone(), &shutdown);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let platform = Platform::new(
        client.clone(),
        config.installation.namespace.clone(),
        config.gateway.clone(),
        Arc::clone(&clock),
    );
    let begun = follow::begin(&platform, |error| {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "this service has no keys yet");
        keys.close(error.to_string());
    });
    if let Some(following) = shutdown.token().run_until_cancelled(begun).await {
        keys.open();
        let start = Start {
            leader_elect: args.leader_elect,
            config,
            client,
            clock,
            health,
            shutdown: shutdown.clone(),
            listener,
            platform,
            following,
        };
        service.start(start)?;
        shutdown.token().cancelled().await;
    }
    shutdown.drained(args.drain.drain_timeout).await?;
    anyhow::ensure!(!shutdown.has_failed(), "a vital task panicked");
    Ok(())
}

/// What must be registered before the admin port serves.
struct Parts {
    reconcile: Metrics,
    population: Population,
    access: access::Metrics,
    grpc: grpc::Metrics,
    tls: tls::Metrics,
}

/// What the service is started with.
struct Start {
    leader_elect: bool,
    config: Config,
    client: kube::Client,
    clock: Arc<dyn Clock>,
    health: Health,
    shutdown: Shutdown,
    listener: TcpListener,
    platform: Platform,
    following: follow::Following,
}

impl Parts {
    fn register(registry: &mut Registry) -> Self {
        let ours = registry.sub_registry(metrics::PREFIX);
        let (reconcile, population) = (Metrics::register(ours), Population::register(ours));
        Self {
            reconcile,
            population,
            access: access::Metrics::register(registry),
            grpc: grpc::Metrics::register(registry),
            tls: tls::Metrics::register(registry),
        }
    }

    fn start(self, start: Start) -> anyhow::Result<()> {
        let Start {
            config,
            client,
            clock,
            shutdown,
            platform,
            following,
            ..
        } = start;
        let leadership = if start.leader_elect {
            campaign(&client, &config, Arc::clone(&clock), &shutdown)
        } else {
            Leadership::unopposed()
        };
        let shared = following.shared.clone();
        let roots = ClientAuth::Optional(following.roots.clone());
        let tls = tls::server_config(following.identity.clone(), roots, &[tls::ALPN_H2]);
        let options = AcceptOptions::default();
        let incoming = tls::accept(start.listener, tls, options, &self.tls, &shutdown);
        self.grpc(&client, &config, &start.health, &shutdown)
            .serve(incoming, &shutdown)?;
        spawn(
            &shutdown,
            "keys",
            following.run(platform, leadership.clone()),
        );
        let namespace = config.installation.namespace.clone();
        let reconciler = Arc::new(Reconciler::new(
            client.clone(),
            Observer::new(client.clone(), namespace, config.ranges, shared),
            config.installation,
            self.reconcile,
            clock,
            config.instance,
        ));
        let run = controller::run(client, reconciler, leadership, self.population);
        spawn(&shutdown, "reconcile", run);
        Ok(())
    }

    fn grpc(
        &self,
        client: &kube::Client,
        config: &Config,
        health: &Health,
        shutdown: &Shutdown,
    ) -> grpc::Server {
        let reviewer = TokenReviewer::new(client.clone(), Vec::new(), CacheConfig::TOKENS);
        let reviewer = reviewer.metrics(&self.access);
        let authorizer = Authorizer::new(client.clone()).metrics(&self.access);
        let service = Service::new(
            client.clone(),
            authorizer,
            config.installation.namespace.clone(),
            shutdown.clone(),
        );
        grpc::Server::new(grpc::Options::default(), &self.grpc, health)
            .callers(CallerLayer::new([CONNECT_COMMON_NAME], reviewer))
            .add(service.server(), vcluster_proto::FILE_DESCRIPTOR_SET)
    }
}

fn campaign(
    client: &kube::Client,
    config: &Config,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Leadership {
    let candidate = Candidate {
        namespace: config.installation.namespace.clone(),
        name: LEASE.to_owned(),
        holder: config.instance.clone(),
        pod_uid: config.pod_uid.clone(),
        timing: TIMING,
    };
    Leadership::campaign(client.clone(), candidate, clock, shutdown)
}

/// Runs a task that ends with the service.
fn spawn(shutdown: &Shutdown, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let token = shutdown.token();
    shutdown.spawn(name, async move {
        token.run_until_cancelled(task).await;
    });
}

fn agent() -> String {
    format!("{NAME}/{VERSION}")
}
