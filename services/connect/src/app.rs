//! The composition root: builds every part once, in the order in which they need each other, and runs them.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use vcluster_chassis::access::{Authorizer, CacheConfig, TokenReviewer};
use vcluster_chassis::admin::AdminServer;
use vcluster_chassis::clock::{Clock, SystemClock};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::health::Health;
use vcluster_chassis::metrics::Registry;
use vcluster_chassis::tls::{Identity, Live, Reloader, Roots};
use vcluster_chassis::{grpc, kube_client, tls};
use vcluster_proto::FILE_DESCRIPTOR_SET;
use vcluster_proto::connect::v1::connect_service_server::ConnectServiceServer;

use crate::authenticate::Authenticator;
use crate::authorize::Access;
use crate::client_ca;
use crate::clusters::Clusters;
use crate::config::{Address, Config};
use crate::credential::{Credentials, Keys};
use crate::gateway::Gateway;
use crate::limits::Limits;
use crate::listener;
use crate::metrics::Metrics;
use crate::platform::issue::Issuer;
use crate::platform::{CONNECTIONS, Platform, Remote};
use crate::upstream::{Pool, Target, Upstreams};
use crate::vigil::Vigil;

/// How the gateway names itself to the host API server.
const USER_AGENT: &str = concat!("vcluster-connect/", env!("CARGO_PKG_VERSION"));
/// Name and version in metrics and traces.
pub const SERVICE: &str = "vcluster-connect";
/// See [`SERVICE`].
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the gateway until it is told to stop and has drained.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let mut registry = Registry::new(SERVICE, VERSION);
    let health = Health::new(&shutdown);
    let admin = AdminServer::bind(&config.args.admin).await?;
    let listener = TcpListener::bind(config.args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.args.listen))?;
    let (identity, gateway) = build(&config, &mut registry, &health, &shutdown).await?;
    admin.serve(Arc::new(registry), health, &shutdown);
    listener::serve(
        listener,
        listener::config(identity),
        config.listener,
        gateway,
        &shutdown,
    );
    tracing::info!(address = %config.args.listen, "serving");
    shutdown.token().cancelled().await;
    // What did not end in time was logged, and is cut off by the end of the process.
    drop(shutdown.drained(config.args.drain.drain_timeout).await);
    anyhow::ensure!(!shutdown.has_failed(), "a vital task panicked");
    Ok(())
}

async fn build(
    config: &Config,
    registry: &mut Registry,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<(Live<Identity>, Arc<Gateway>)> {
    let args = &config.args;
    let metrics = Metrics::register(registry);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = kube_client::connect(&args.kube, USER_AGENT).await?;
    let reloader = Reloader::new(shutdown, &tls::Metrics::register(registry));
    let identity = reloader
        .identity(&args.tls_cert_file, &args.tls_key_file)
        .await?;
    let roots = reloader.roots(&args.ca_file).await?;
    let keys = Keys::follow(args.signing_key_file.clone(), shutdown).await?;
    let credentials = Credentials::new(keys, Arc::clone(&clock));
    let access = Access::new(Authorizer::new(client.clone()));
    let authenticator = Authenticator::new(
        client_ca::follow(
            client.clone(),
            health.gate("client-ca"),
            metrics.clone(),
            shutdown,
        ),
        TokenReviewer::new(client.clone(), Vec::new(), CacheConfig::TOKENS),
        credentials.clone(),
        Arc::clone(&clock),
    );
    let clusters = Clusters::follow(client.clone(), health.gate("routes"), shutdown);
    let remote = |name, address: &Address| remote(name, address, &roots, &identity, &metrics);
    let own = grpc::Server::new(
        grpc::Options::default(),
        &grpc::Metrics::register(registry),
        health,
    )
    .add(
        ConnectServiceServer::new(Issuer::new(access.clone(), credentials))
            .max_decoding_message_size(grpc::MAX_MESSAGE)
            .max_encoding_message_size(grpc::MAX_MESSAGE),
        FILE_DESCRIPTOR_SET,
    )
    .into_stack(shutdown)?;
    let gateway = Gateway {
        domain: config.domain.clone(),
        authenticator: authenticator.clone(),
        access: access.clone(),
        clusters: clusters.clone(),
        upstreams: Upstreams::new(client, clusters, metrics.clone(), shutdown),
        platform: Platform {
            control: remote("control", &config.control)?,
            sync: remote("sync", &config.sync)?,
            own,
        },
        limits: Limits::new(config.per_user),
        vigil: Vigil::new(
            authenticator,
            access,
            clock,
            shutdown.token(),
            args.drain.drain_timeout,
        ),
        metrics: metrics.clone(),
        health: health.clone(),
        shutdown: shutdown.clone(),
    };
    Ok((identity.clone(), Arc::new(gateway)))
}

fn remote(
    name: &'static str,
    address: &Address,
    roots: &Live<Roots>,
    identity: &Live<Identity>,
    metrics: &Metrics,
) -> anyhow::Result<Remote> {
    let target = Target::new(&address.host, address.port, roots, identity)
        .with_context(|| format!("{:?} is not a host name", address.host))?;
    let target = Arc::new(target);
    let pool = Pool::new(Arc::clone(&target), CONNECTIONS, metrics.clone());
    Ok(Remote { name, target, pool })
}
