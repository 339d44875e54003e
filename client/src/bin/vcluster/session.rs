//! What one run of the command works with: the terminal, the host identity, the gateway, the
//! client. Each part is found when a command first asks for it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::Engine as _;
use jiff::Timestamp;
use vcluster_client::{
    Client, Credentials, Gateway,
    host::{discovery, exec::Attendance, identity},
    kubeconfig::{
        connection, context,
        document::Section,
        file::{self, Presence},
        sources::{self, Sources},
    },
    tls::Trust,
    trace::Trace,
};

use crate::{
    cli::Global,
    config_file::Config,
    environment::Environment,
    exit::Exit,
    failure::{Failure, Result},
    ui::Terminal,
};

/// One run.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) global: Global,
    pub(crate) environment: Environment,
    pub(crate) terminal: Arc<Terminal>,
    /// A command of the user's runs, which interrupts are for.
    delegated: AtomicBool,
}

/// The one place that reads the clock.
fn clock() -> Timestamp {
    Timestamp::now()
}

/// The context of the host cluster that we act with.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) context: context::Context,
    /// The files that have it, absolute.
    pub(crate) files: Vec<PathBuf>,
}

/// A client, and what it was made from.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) gateway: Gateway,
    pub(crate) host: Host,
}

impl Host {
    /// The files as a value of `KUBECONFIG`.
    pub(crate) fn kubeconfig(&self) -> Result<String> {
        let joined =
            std::env::join_paths(&self.files).map_err(|error| Failure::of(Exit::Usage, error))?;
        joined
            .into_string()
            .map_err(|_path| Failure::new(Exit::Usage, "the kubeconfig's path is not valid UTF-8"))
    }
}

impl Session {
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        let terminal = Arc::new(Terminal::new(&global, &environment));
        Self {
            global,
            environment,
            terminal,
            delegated: AtomicBool::new(false),
        }
    }

    /// The time.
    #[expect(
        clippy::unused_self,
        reason = "whoever asks for the time holds the session"
    )]
    pub(crate) fn now(&self) -> Timestamp {
        clock()
    }

    /// Leaves interrupts to a command that we run from now on.
    pub(crate) fn delegate_interrupts(&self) {
        self.delegated.store(true, Ordering::Relaxed);
    }

    /// Ends when the user interrupts us.
    pub(crate) async fn interrupted(&self) {
        loop {
            if tokio::signal::ctrl_c().await.is_err() {
                // Without a handler the signal ends the process by itself.
                std::future::pending::<()>().await;
            }
            if !self.delegated.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// The kubeconfig files in effect, which `connect` and `disconnect` edit.
    pub(crate) fn kubeconfig_files(&self) -> Result<Vec<PathBuf>> {
        let files = match &self.global.kubeconfig {
            Some(file) => vec![file.clone()],
            None => self.environment.kubeconfig(),
        };
        if files.is_empty() {
            return Err(Failure::new(Exit::NotFound, "there is no kubeconfig")
                .hint("set $KUBECONFIG or $HOME, or name one with --kubeconfig"));
        }
        files
            .into_iter()
            .map(|file| std::path::absolute(file).map_err(Failure::from))
            .collect()
    }

    /// The kubeconfig files, read.
    pub(crate) fn kubeconfig(&self) -> Result<Sources> {
        let presence = match self.global.kubeconfig {
            Some(_) => Presence::Required,
            None => Presence::Optional,
        };
        Ok(file::load(&self.kubeconfig_files()?, presence)?)
    }

    /// The host context: the one that was named or is current. If that is a connection to a
    /// virtual cluster, the host context from which it was made.
    pub(crate) fn host(&self) -> Result<Host> {
        let sources = self.kubeconfig()?;
        let name = self
            .global
            .context
            .as_deref()
            .or_else(|| sources.current_context());
        match name.and_then(|name| connection::record(&sources, name)) {
            Some(made) => host_of(&made.host_kubeconfig, &made.host_context),
            None => Ok(Host {
                context: context::resolve(&sources, name)?,
                files: self.kubeconfig_files()?,
            }),
        }
    }

    /// Host namespaces that the kubeconfig names: that of the host context, and those of connections.
    pub(crate) fn likely_namespaces(&self, host: &Host) -> Result<BTreeSet<String>> {
        let own = file::load(&host.files, Presence::Optional)?;
        let context = own.find(Section::Contexts, &host.context.name);
        let of_context = context
            .and_then(|found| found.content.get("namespace")?.as_text())
            .map(str::to_owned);
        let sources = self.kubeconfig()?;
        let names = sources.names(Section::Contexts);
        let connected = names
            .into_iter()
            .filter_map(|name| connection::record(&sources, name))
            .map(|made| made.host_namespace);
        Ok(connected.chain(of_context).collect())
    }

    /// A client for the gateway of the current host context.
    pub(crate) async fn connect(&self) -> Result<Connected> {
        let host = self.host()?;
        let credentials = self.credentials(&host).await?;
        let gateway = match self.configured_gateway(&host.context.name, None)? {
            Some(gateway) => gateway,
            None => discovery::discover(&host.context, &credentials).await?,
        };
        let client = self.client(&gateway, credentials)?;
        Ok(Connected {
            client,
            gateway,
            host,
        })
    }

    /// Who we are.
    pub(crate) async fn credentials(&self, host: &Host) -> Result<Credentials> {
        let attendance = if std::io::stdin().is_terminal() {
            Attendance::Attended
        } else {
            Attendance::Unattended
        };
        self.terminal
            .detail(&format!("host context: {}", host.context.name));
        Ok(identity::credentials(&host.context, attendance, clock).await?)
    }

    /// A client of `gateway`.
    pub(crate) fn client(&self, gateway: &Gateway, credentials: Credentials) -> Result<Client> {
        let parent = self.environment.traceparent.as_deref();
        let trace = parent
            .and_then(|parent| parent.parse().ok())
            .unwrap_or_else(Trace::random);
        self.terminal
            .detail(&format!("gateway: {}", gateway.address));
        self.terminal.detail(&format!("trace id: {trace}"));
        let terminal = Arc::clone(&self.terminal);
        Ok(Client::builder(gateway.clone())
            .credentials(credentials)
            .deadline(self.global.request_timeout)
            .trace(trace)
            .on_retry(Arc::new(move |error, wait| {
                terminal.detail(&format!("{error}; trying again in {} ms", wait.as_millis()));
            }))
            .build()?)
    }

    /// The gateway that options, environment or config file name. `ca_data` is a bundle that goes
    /// with the option `--gateway`.
    pub(crate) fn configured_gateway(
        &self,
        context: &str,
        ca_data: Option<&str>,
    ) -> Result<Option<Gateway>> {
        if let Some(address) = &self.global.gateway {
            let trust = match (ca_data, &self.global.gateway_ca_file) {
                (Some(data), _) => Trust::Roots(decode(data)?),
                (None, Some(file)) => Trust::Roots(read_ca(file)?),
                (None, None) => Trust::System,
            };
            return gateway(address, trust).map(Some);
        }
        let Some((path, named)) = self.environment.config() else {
            return Ok(None);
        };
        let config = Config::load(&path, named)?;
        let Some(written) = config.gateway(context) else {
            return Ok(None);
        };
        let trust = match &written.ca_file {
            Some(file) => Trust::Roots(read_ca(file)?),
            None => Trust::System,
        };
        gateway(&written.address, trust).map(Some)
    }
}

/// A context of the files that a connection was made from.
pub(crate) fn host_of(kubeconfig: &str, name: &str) -> Result<Host> {
    let files = sources::split(OsStr::new(kubeconfig));
    let sources = file::load(&files, Presence::Optional)?;
    Ok(Host {
        context: context::resolve(&sources, Some(name))?,
        files,
    })
}

fn gateway(address: &str, trust: Trust) -> Result<Gateway> {
    let address = address
        .parse()
        .map_err(|error: vcluster_client::gateway::InvalidAddress| {
            Failure::of(Exit::Usage, error)
        })?;
    Ok(Gateway { address, trust })
}

fn read_ca(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        let sentence = format!("the gateway's CA file {} cannot be read", file.display());
        Failure::of(Exit::NotFound, error).context(sentence)
    })
}

fn decode(data: &str) -> Result<Vec<u8>> {
    base64::engine::general_purpose::STANDARD
        .decode(data)
        .map_err(|error| Failure::of(Exit::Usage, error).context("--gateway-ca-data is not base64"))
}
