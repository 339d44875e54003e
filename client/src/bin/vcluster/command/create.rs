//! `vcluster create`: makes a virtual cluster, and by default waits until it is usable.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tonic::Code;
use vcluster_client::{
    CreateOptions,
    gateway::Address,
    proto::control::v1::{
        self as wire, SqliteStore, Store, VirtualCluster, VirtualClusterSpec, store::Kind,
    },
};

use crate::{
    cli,
    command::connect,
    exit::Exit,
    failure::{Failure, Result},
    locate,
    readiness::{self, Until},
    session::{Connected, Session},
    ui::{Terminal, format},
};

/// Options of `create`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster create demo                              in host namespace vcluster-demo
  vcluster create demo -n team-a --connect          and point kubectl at it
  vcluster create demo --version 1.37.2 --store-size 5Gi
  vcluster create demo --no-wait -o json")]
pub(crate) struct Create {
    /// Name: lower-case letters, digits and '-', at most 40 characters, without a part "x"
    name: String,
    /// Namespace of the host cluster, made if missing and you may [default: vcluster-NAME]
    #[arg(short = 'n', long = "namespace", value_name = "HOST-NAMESPACE")]
    namespace: Option<String>,
    /// Kubernetes version, MAJOR.MINOR.PATCH [default: the service's]
    #[arg(long = "version", value_name = "VERSION")]
    kubernetes_version: Option<String>,
    /// Size of the volume for its objects [default: 1Gi]
    #[arg(long, value_name = "QUANTITY")]
    store_size: Option<String>,
    /// Storage class of that volume [default: the host cluster's]
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<String>,
    /// What happens to that volume when the virtual cluster is deleted [default: delete]
    #[arg(long, value_name = "POLICY")]
    reclaim_policy: Option<Reclaim>,
    /// Label of the VirtualCluster object; can be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Wait until it is usable (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return at once
    #[arg(long, overrides_with = "wait", conflicts_with = "connect")]
    no_wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = cli::duration)]
    timeout: Duration,
    /// Point kubectl at it once it is usable
    #[arg(long)]
    connect: bool,
    /// A UUID that makes this command repeatable: the same id finds what the first run made
    #[arg(long, value_name = "UUID")]
    request_id: Option<uuid::Uuid>,
    /// Check everything, create nothing
    #[arg(long, conflicts_with_all = ["wait", "connect"])]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reclaim {
    /// It is deleted too
    Delete,
    /// It stays
    Retain,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// Carries it out.
pub(crate) async fn run(args: Create, session: &Session) -> Result {
    let connected = session.connect().await?;
    let terminal = &session.terminal;
    let gateway = &connected.gateway.address;
    let cluster = Box::pin(create(&args, &connected, terminal)).await?;
    let place = format!(
        "virtual cluster {:?} in host namespace {:?}",
        cluster.name, cluster.host_namespace
    );
    if args.dry_run {
        terminal.success(&format!("{place} could be created"));
        return print(cluster, gateway, session);
    }
    terminal.success(&format!("{place} is created"));
    if args.no_wait {
        terminal.hint(&format!(
            "`vcluster connect {} -n {}` waits until it is ready",
            cluster.name, cluster.host_namespace
        ));
        return print(cluster, gateway, session);
    }
    let cluster = {
        let progress = terminal.progress("waiting for the control service");
        let (client, timeout) = (&connected.client, args.timeout);
        readiness::wait(client, &cluster, Until::Ready, timeout, &progress).await?
    };
    terminal.success(&format!("virtual cluster {:?} is ready", cluster.name));
    if args.connect {
        connect::update_current(&connected, &cluster, session).await?;
    } else {
        terminal.hint(&format!(
            "`vcluster connect {} -n {}` points kubectl at it",
            cluster.name, cluster.host_namespace
        ));
    }
    print(cluster, gateway, session)
}

/// Data comes only if it was asked for: what happened has been told on standard error.
fn print(cluster: VirtualCluster, gateway: &Address, session: &Session) -> Result {
    if let Some(format) = session.global.output {
        let text = format::one(cluster, format, gateway, session.now())?;
        session.terminal.data(&text)?;
    }
    Ok(())
}

async fn create(
    args: &Create,
    connected: &Connected,
    terminal: &Terminal,
) -> Result<VirtualCluster> {
    let wanted = wanted(args);
    let options = CreateOptions {
        request_id: Some(
            args.request_id
                .unwrap_or_else(uuid::Uuid::new_v4)
                .to_string(),
        ),
        validate_only: args.dry_run,
    };
    let place = format!(
        "{:?} in host namespace {:?}",
        wanted.name, wanted.host_namespace
    );
    let (name, namespace) = (wanted.name.clone(), wanted.host_namespace.clone());
    Box::pin(order(args, connected, wanted, options, terminal))
        .await
        .map_err(|unordered| {
            let error = match unordered {
                Unordered::Rejected(error) => error,
                Unordered::Interrupted => {
                    return Failure::new(Exit::Interrupted, "interrupted")
                        .hint(format!("virtual cluster {place} was not created"));
                }
            };
            let exists = error.code() == Code::AlreadyExists;
            let failure =
                Failure::from(error).context(format!("virtual cluster {place} was not created"));
            if exists {
                failure.hint(format!(
                    "`vcluster connect {name} -n {namespace}` uses the one that is there; \
                 `vcluster delete {name} -n {namespace}` removes it"
                ))
            } else {
                failure
            }
        })
}

/// Asks for it; right after a `delete` the host namespace may still be on its way out, so that is
/// waited for as long as the command may wait at all.
async fn order(
    args: &Create,
    connected: &Connected,
    wanted: VirtualCluster,
    options: CreateOptions,
    terminal: &Terminal,
) -> std::result::Result<VirtualCluster, Unordered> {
    let until = tokio::time::Instant::now() + args.timeout;
    let mut progress = None;
    loop {
        let answer = connected
            .client
            .create(wanted.clone(), options.clone())
            .await;
        let leaving = matches!(
            &answer,
            Err(vcluster_client::Error::Rejected(rejection))
                if rejection.reason.as_deref() == Some("HOST_NAMESPACE_TERMINATING")
        );
        if !leaving || args.no_wait || tokio::time::Instant::now() >= until {
            return answer.map_err(Unordered::Rejected);
        }
        progress.get_or_insert_with(|| {
            terminal.progress(&format!(
                "waiting for the host namespace {:?} of an earlier cluster to be gone",
                wanted.host_namespace
            ))
        });
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = tokio::signal::ctrl_c() => return Err(Unordered::Interrupted),
        }
    }
}

/// Why nothing was ordered.
enum Unordered {
    /// The gateway or the service said no.
    Rejected(vcluster_client::Error),
    /// By the user, before anything was asked for that was granted.
    Interrupted,
}

fn wanted(args: &Create) -> VirtualCluster {
    let policy = match args.reclaim_policy {
        None => wire::ReclaimPolicy::Unspecified,
        Some(Reclaim::Delete) => wire::ReclaimPolicy::Delete,
        Some(Reclaim::Retain) => wire::ReclaimPolicy::Retain,
    };
    let sqlite = SqliteStore {
        size: args.store_size.clone().unwrap_or_default(),
        storage_class_name: args.storage_class.clone().unwrap_or_default(),
        reclaim_policy: policy.into(),
    };
    // Unset rather than empty, so that the service's defaults stay the service's.
    let store = (sqlite != SqliteStore::default()).then_some(Store {
        kind: Some(Kind::Sqlite(sqlite)),
    });
    VirtualCluster {
        name: args.name.clone(),
        host_namespace: args
            .namespace
            .clone()
            .unwrap_or_else(|| locate::default_namespace(&args.name)),
        labels: args.labels.iter().cloned().collect(),
        spec: Some(VirtualClusterSpec {
            version: args.kubernetes_version.clone().unwrap_or_default(),
            store,
            ..VirtualClusterSpec::default()
        }),
        ..VirtualCluster::default()
    }
}
