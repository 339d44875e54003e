//! The sync service, as it is shipped: one process with its flags.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use vcluster_resources::layout::SYNC_SERVICE;

use crate::host::{Host, SYSTEM};
use crate::metrics::Counts;
use crate::process::{self, Process};
use crate::servers::{self, Ground};

/// How long it may take to say that it is ready.
const STARTING: Duration = Duration::from_mins(1);

/// The running service.
pub(crate) struct Sync {
    pub(crate) process: Process,
    admin: u16,
}

impl Sync {
    /// Writes its kubeconfig with a token of its own ServiceAccount.
    pub(crate) async fn prepare(ground: &Ground, host: &Host) -> Result<()> {
        let token = host.token(SYSTEM, SYNC_SERVICE).await?;
        let kubeconfig = host.kubeconfig(ground, &json!({"token": token}));
        Ok(fs::write(
            ground.folder.join("sync.kubeconfig"),
            kubeconfig,
        )?)
    }

    /// Starts it.
    pub(crate) fn start(ground: &Ground, name: &str, flags: &[&str]) -> Result<Self> {
        let admin = servers::free_port()?;
        let mut args = vec![
            "--unopposed".to_owned(),
            format!("--namespace={SYSTEM}"),
            format!("--kubeconfig={}", ground.file("sync.kubeconfig")),
            format!("--admin-listen=127.0.0.1:{admin}"),
            format!("--tls-cert-file={}", ground.file("server.crt")),
            format!("--tls-key-file={}", ground.file("server.key")),
            format!("--tls-client-ca-file={}", ground.file("ca.crt")),
            format!("--tenant-ca-file={}", ground.file("ca.crt")),
        ];
        for port in ["", "kubelet-", "webhook-", "resource-metrics-"] {
            args.push(format!("--{port}listen=127.0.0.1:0"));
        }
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let process = Process::start(name, &ground.programs.sync, args, &ground.folder)?;
        Ok(Self { process, admin })
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + STARTING;
        loop {
            self.process.check()?;
            if let Ok((200, _)) = self.ask("/readyz").await {
                return Ok(());
            }
            ensure!(Instant::now() < until, "sync does not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Bytes of its memory.
    pub(crate) fn memory(&self) -> u64 {
        process::memory_of(self.process.id())
    }

    /// Its metrics.
    pub(crate) async fn metrics(&self) -> Result<Counts> {
        Ok(Counts::parse(&self.ask("/metrics").await?.1))
    }

    async fn ask(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split_whitespace()
            .nth(1)
            .and_then(|code| code.parse().ok());
        Ok((status.context("no HTTP status")?, answer))
    }
}

/// The metrics of several, summed.
pub(crate) async fn metrics(syncs: &[Sync]) -> Result<Counts> {
    let mut all = Counts::default();
    for sync in syncs {
        all.add(sync.metrics().await?);
    }
    Ok(all)
}
