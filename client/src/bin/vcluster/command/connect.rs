//! `vcluster connect`: a kubeconfig context for a virtual cluster, or one command in it.
//!
//! Nothing runs on afterwards: kubectl talks to the gateway itself, and asks `vcluster credential`
//! for a token when it needs one.

mod command;

use std::{path::PathBuf, time::Duration};

use base64::Engine as _;
use clap::Args;
use vcluster_client::{
    Issued, VirtualAddress,
    kubeconfig::{
        connection::{self, Connection, Record},
        document::Document,
        file,
        sources::{Source, Sources},
    },
    proto::control::v1::VirtualCluster,
    tls::Trust,
};

use crate::{
    cli::{self, Target},
    command::credential,
    exit::Exit,
    failure::{Failure, Result},
    locate::{self, Guess},
    readiness::{self, Until},
    session::{Connected, Session},
};

/// Options of `connect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster connect demo                              and use it: kubectl get ns
  vcluster connect demo -- kubectl get pods -A       only for this command
  vcluster connect demo --kube-config demo.yaml      into a file of its own
  vcluster connect demo --print | kubectl --kubeconfig /dev/stdin get ns")]
pub(crate) struct Connect {
    #[command(flatten)]
    target: Target,
    /// Add a context to the kubeconfig and switch to it (the default)
    #[arg(long, conflicts_with_all = ["kube_config", "print", "command"])]
    update_current: bool,
    /// Write the context into this file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["print", "command"])]
    kube_config: Option<PathBuf>,
    /// Print a kubeconfig instead
    #[arg(long, conflicts_with = "command")]
    print: bool,
    /// Name of the context [default: vcluster_NAME_HOST-NAMESPACE_HOST-CONTEXT]
    #[arg(long, value_name = "NAME")]
    context_name: Option<String>,
    /// Longest time to wait until the virtual cluster is ready
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = cli::duration)]
    timeout: Duration,
    /// Do not wait until it is ready
    #[arg(long)]
    no_wait: bool,
    /// A command to run with a kubeconfig of its own
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

/// Carries it out.
pub(crate) async fn run(args: Connect, session: &Session) -> Result {
    let connected = session.connect().await?;
    let terminal = &session.terminal;
    let mut cluster = locate::locate(
        &connected.client,
        &args.target,
        Guess::Allowed,
        locate::FLAG,
    )
    .await?;
    let until = Until::Reachable;
    if !args.no_wait && !readiness::is(&cluster, until) {
        let progress = terminal.progress("waiting for the virtual cluster");
        let (client, timeout) = (&connected.client, args.timeout);
        cluster = readiness::wait(client, &cluster, until, timeout, &progress).await?;
    }
    if let Some(lack) = readiness::lack(&cluster) {
        terminal.hint(&format!(
            "virtual cluster {:?} is not ready: {lack}",
            cluster.name
        ));
    }
    let connection = prepare(&connected, &cluster, args.context_name, session).await?;
    if !args.command.is_empty() {
        session.delegate_interrupts();
        return command::run(&args.command, &alone(&connection)?).await;
    }
    if args.print {
        terminal.data(&alone(&connection)?)?;
        return Ok(());
    }
    match args.kube_config {
        Some(file) => {
            write(&[std::path::absolute(&file)?], &connection).await?;
            terminal.success(&format!(
                "{} leads to virtual cluster {:?}",
                file.display(),
                cluster.name
            ));
            terminal.hint(&format!(
                "kubectl --kubeconfig {} get namespaces",
                file.display()
            ));
        }
        None => switch(&connection, &cluster, session).await?,
    }
    Ok(())
}

/// What `create --connect` does after creating.
pub(crate) async fn update_current(
    connected: &Connected,
    cluster: &VirtualCluster,
    session: &Session,
) -> Result {
    let connection = prepare(connected, cluster, None, session).await?;
    switch(&connection, cluster, session).await
}

async fn switch(connection: &Connection, cluster: &VirtualCluster, session: &Session) -> Result {
    write(&session.kubeconfig_files()?, connection).await?;
    let terminal = &session.terminal;
    terminal.success(&format!(
        "kubectl now talks to virtual cluster {:?} (context {:?})",
        cluster.name, connection.context
    ));
    terminal.hint("`vcluster disconnect` switches back");
    Ok(())
}

async fn write(files: &[PathBuf], connection: &Connection) -> Result {
    file::edit(files, |sources| {
        connection::connect(sources, connection).map_err(Failure::from)
    })
    .await
}

/// Asks for a first credential, so that a user who may not connect learns it here and not from
/// kubectl, and kubectl's first call finds it in the cache.
async fn prepare(
    connected: &Connected,
    cluster: &VirtualCluster,
    context: Option<String>,
    session: &Session,
) -> Result<Connection> {
    let (namespace, name) = (cluster.host_namespace.as_str(), cluster.name.as_str());
    let issued = connected
        .client
        .issue_credential(namespace, name, None)
        .await
        .map_err(|error| {
            let denied = error.code() == tonic::Code::PermissionDenied;
            let failure = Failure::from(error);
            if denied {
                failure.context(format!(
                    "you may not connect to virtual cluster {name:?} in host namespace {namespace:?}"
                ))
            } else {
                failure
            }
        })?;
    let connection = describe(connected, cluster, &issued, context, session)?;
    if let Some(cache) = credential::cache(session) {
        let key = credential::key(&connection.record.gateway, namespace, name, &connected.host)?;
        cache.store(&key, &issued, session.now());
    }
    Ok(connection)
}

fn describe(
    connected: &Connected,
    cluster: &VirtualCluster,
    issued: &Issued,
    context: Option<String>,
    session: &Session,
) -> Result<Connection> {
    let (namespace, name) = (&cluster.host_namespace, &cluster.name);
    let gateway = &connected.gateway;
    let host_context = connected.host.context.name.clone();
    let host_kubeconfig = connected.host.kubeconfig()?;
    let server = VirtualAddress::new(&gateway.address, &issued.path)?;
    let certificate_authority = match &gateway.trust {
        Trust::Roots(pem) => Some(pem.clone()),
        Trust::System | Trust::Anyone => None,
    };
    let mut args: Vec<String> = Vec::new();
    let mut option = |key: &str, value: &str| args.push(format!("{key}={value}"));
    option("--namespace", namespace);
    option("--gateway", &gateway.address.to_string());
    if let Some(pem) = &certificate_authority {
        option(
            "--gateway-ca-data",
            &base64::engine::general_purpose::STANDARD.encode(pem),
        );
    }
    option("--host-context", &host_context);
    option("--host-kubeconfig", &host_kubeconfig);
    args.splice(0..0, ["credential".to_owned(), name.clone()]);
    Ok(Connection {
        context: context
            .unwrap_or_else(|| connection::default_name(name, namespace, &host_context)),
        server: server.as_str().to_owned(),
        certificate_authority,
        command: this_program(session)?,
        args,
        record: Record {
            gateway: gateway.address.to_string(),
            host_namespace: namespace.clone(),
            name: name.clone(),
            host_context,
            host_kubeconfig,
            previous_context: None,
        },
    })
}

/// The bare name if that leads here, which survives an upgrade to another place; else the path.
fn this_program(session: &Session) -> Result<String> {
    let program = std::env::current_exe()?;
    if session.environment.finds("vcluster", &program) {
        return Ok("vcluster".to_owned());
    }
    program.into_os_string().into_string().map_err(|path| {
        let sentence = format!(
            "the path of this program is not valid UTF-8: {}",
            path.display()
        );
        Failure::new(Exit::Unexpected, sentence)
    })
}

/// A kubeconfig with nothing but the connection.
fn alone(connection: &Connection) -> Result<String> {
    let mut sources = Sources::new(vec![Source {
        path: PathBuf::from("/"),
        document: Document::default(),
        exists: false,
    }]);
    connection::connect(&mut sources, connection)?;
    let document = sources.files().first().map(|file| &file.document);
    document
        .map_or_else(|| Ok(String::new()), Document::to_yaml)
        .map_err(|error| Failure::of(Exit::Unexpected, error))
}
