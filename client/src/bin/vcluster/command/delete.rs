//! `vcluster delete`: removes a virtual cluster, what was made for it, and the contexts that
//! `connect` made.

use std::time::Duration;

use clap::Args;
use tonic::Code;
use vcluster_client::{
    DeleteOptions,
    kubeconfig::{connection, file},
    proto::control::v1::VirtualCluster,
};

use crate::{
    cli::{self, Target},
    exit::Exit,
    failure::{Failure, Result},
    locate::{self, Guess},
    readiness,
    session::{Connected, Session},
};

/// Options of `delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster delete demo
  vcluster delete demo -n team-a --no-wait
  vcluster delete demo --ignore-not-found")]
pub(crate) struct Delete {
    #[command(flatten)]
    target: Target,
    /// Wait until it is gone (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as its removal has begun
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = cli::duration)]
    timeout: Duration,
    /// Succeed if there is none
    #[arg(long)]
    ignore_not_found: bool,
}

/// Carries it out.
pub(crate) async fn run(args: &Delete, session: &Session) -> Result {
    let connected = session.connect().await?;
    let terminal = &session.terminal;
    let cluster = match locate::locate(
        &connected.client,
        &args.target,
        Guess::Forbidden,
        locate::FLAG,
    )
    .await
    {
        Ok(cluster) => cluster,
        Err(failure) if args.ignore_not_found && failure.is(Exit::NotFound) => {
            terminal.note(&format!(
                "there is no virtual cluster {:?}",
                args.target.name
            ));
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    let place = format!(
        "virtual cluster {:?} in host namespace {:?}",
        cluster.name, cluster.host_namespace
    );
    let options = DeleteOptions {
        etag: None,
        allow_missing: true,
    };
    let deleted = connected
        .client
        .delete(&cluster.host_namespace, &cluster.name, options)
        .await
        .map_err(|error| {
            let denied = error.code() == Code::PermissionDenied;
            let failure = Failure::from(error);
            if denied {
                failure.context(format!("you may not delete {place}"))
            } else {
                failure
            }
        })?;
    forget(&connected, &cluster, session).await;
    if args.no_wait {
        terminal.success(&format!("{place} is being deleted"));
        return Ok(());
    }
    if let Some(last) = deleted {
        let progress = terminal.progress("waiting for the control service");
        readiness::gone(&connected.client, &last, args.timeout, &progress).await?;
    }
    terminal.success(&format!("{place} is deleted"));
    Ok(())
}

/// Takes the cluster's contexts out of the kubeconfig. That this fails is no reason to stop: the
/// cluster's removal has begun.
async fn forget(connected: &Connected, cluster: &VirtualCluster, session: &Session) {
    let edit = async {
        let files = session.kubeconfig_files()?;
        let gateway = connected.gateway.address.to_string();
        file::edit(&files, |sources| {
            let was = sources.current_context().map(str::to_owned);
            let gone = connection::forget_cluster(
                sources,
                &gateway,
                &cluster.host_namespace,
                &cluster.name,
            );
            let is = sources.current_context().map(str::to_owned);
            Ok::<_, Failure>((gone, (was != is).then_some(is).flatten()))
        })
        .await
    };
    match edit.await {
        Ok((gone, current)) => {
            for context in gone {
                session
                    .terminal
                    .note(&format!("context {context:?} is removed"));
            }
            if let Some(current) = current {
                session
                    .terminal
                    .note(&format!("the current context is now {current:?}"));
            }
        }
        Err(failure) => {
            session
                .terminal
                .note("its contexts were not removed from the kubeconfig:");
            session.terminal.failure(&failure.render());
        }
    }
}
