//! Everything that runs while real virtual API servers are measured: the host, its nodes, the virtual API servers on
//! one etcd of their own, and users who watch their pods.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_resources::layout::TENANT_SERVICE_ACCOUNT;

use crate::board::{Board, Stage};
use crate::client::Client;
use crate::host::Host;
use crate::nodes::Nodes;
use crate::pods::{self, Event};
use crate::process::{self, Process};
use crate::servers::{self, ApiServer, Ground};
use crate::sync::Sync;
use crate::tenant::{self, LOAD, NUMBER, Tenant};

/// Addresses of Services that only a virtual API server itself needs.
const SERVICES: &str = "10.200.0.0/24";
/// How long a burst of pods may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// The real ones.
pub(crate) struct Fleet {
    pub(crate) ground: Ground,
    pub(crate) host: Host,
    pub(crate) nodes: Nodes,
    pub(crate) board: Arc<Board>,
    pub(crate) tenants: Vec<Tenant>,
    /// Each tenant's own account on the host, for a writer that does what sync does.
    pub(crate) accounts: Vec<Client>,
    servers: Vec<ApiServer>,
    /// What keeps the tenants' objects: etcd, or the process that simulates their API servers.
    store: Process,
    token: CancellationToken,
}

/// Seconds of CPU by group of processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) generator: f64,
    pub(crate) tenant_api: f64,
    pub(crate) tenant_etcd: f64,
    pub(crate) host_api: f64,
    pub(crate) host_etcd: f64,
    pub(crate) sync: f64,
}

impl Cpu {
    /// What has been added since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            generator: self.generator - before.generator,
            tenant_api: self.tenant_api - before.tenant_api,
            tenant_etcd: self.tenant_etcd - before.tenant_etcd,
            host_api: self.host_api - before.host_api,
            host_etcd: self.host_etcd - before.host_etcd,
            sync: self.sync - before.sync,
        }
    }

    /// The sum of all groups.
    pub(crate) fn all(&self) -> f64 {
        self.generator
            + self.tenant_api
            + self.tenant_etcd
            + self.host_api
            + self.host_etcd
            + self.sync
    }

    /// For the report, in milliseconds for each of `count`.
    pub(crate) fn per(&self, count: usize) -> Value {
        let each = |seconds: f64| seconds * 1e3 / crate::figures::number(count);
        json!({
            "generator": each(self.generator), "tenantApi": each(self.tenant_api),
            "tenantEtcd": each(self.tenant_etcd), "hostApi": each(self.host_api),
            "hostEtcd": each(self.host_etcd), "sync": each(self.sync),
        })
    }
}

impl Fleet {
    /// Starts everything but sync: as many real virtual API servers as wanted.
    pub(crate) async fn start(ground: Ground, nodes: usize, count: usize) -> Result<Self> {
        let host = Host::start(&ground, nodes).await?;
        let (etcd, store) = servers::etcd(&ground, "tenant-etcd")?;
        let mut servers = Vec::new();
        for number in 0..count {
            servers.push(ApiServer::start(
                &ground,
                &format!("tenant-{number}"),
                store,
                SERVICES,
            )?);
        }
        let mut tenants = Vec::new();
        for (number, server) in servers.iter_mut().enumerate() {
            let client = server.ready(&ground).await?;
            tenants.push(Tenant::new(number, server.port, client));
        }
        let mut fleet = Self::assemble(ground, host, nodes, servers, etcd).await?;
        fleet.admit(tenants).await?;
        Ok(fleet)
    }

    /// Puts together what runs already, with no virtual cluster yet.
    pub(crate) async fn assemble(
        ground: Ground,
        host: Host,
        nodes: usize,
        servers: Vec<ApiServer>,
        store: Process,
    ) -> Result<Self> {
        Sync::prepare(&ground, &host).await?;
        let board = Arc::new(Board::default());
        let watch = Client::connect(host.api.port, &ground.admin_tls).await?;
        let client = Client::connect(host.api.port, &ground.admin_tls).await?;
        Ok(Self {
            nodes: Nodes::start(&watch, client, Arc::clone(&board), nodes),
            ground,
            host,
            board,
            tenants: Vec::new(),
            accounts: Vec::new(),
            servers,
            store,
            token: CancellationToken::new(),
        })
    }

    /// Makes virtual clusters, and users who watch their pods.
    pub(crate) async fn admit(&mut self, tenants: Vec<Tenant>) -> Result<()> {
        let anonymous = Client::connect(self.host.api.port, &self.ground.anonymous_tls).await?;
        let installed = tenants.iter().map(async |tenant| {
            tenant.furnish().await?;
            tenant.install(&self.ground, &self.host).await?;
            self.observe(tenant).await?;
            let token = self
                .host
                .token(&tenant.namespace, TENANT_SERVICE_ACCOUNT)
                .await?;
            anyhow::Ok(anonymous.bearing(&token))
        });
        let accounts = try_join_all(installed).await?;
        self.accounts.extend(accounts);
        self.tenants.extend(tenants);
        Ok(())
    }

    /// Watches a tenant's pods as its user would.
    async fn observe(&self, tenant: &Tenant) -> Result<()> {
        let client = Client::connect(tenant.port(), &self.ground.admin_tls).await;
        let client = client.with_context(|| tenant.namespace.clone())?;
        let (board, token) = (Arc::clone(&self.board), self.token.clone());
        let namespace = tenant.namespace.clone();
        let path = format!("/api/v1/namespaces/{LOAD}/pods");
        tokio::spawn(async move {
            while !token.is_cancelled() {
                let round = observe(&client, &path, &namespace, &board);
                drop(token.run_until_cancelled(round).await);
                let pause = tokio::time::sleep(Duration::from_millis(10));
                token.run_until_cancelled(pause).await;
            }
        });
        Ok(())
    }

    /// Starts sync and waits until it serves every tenant.
    pub(crate) async fn sync(&self, flags: &[&str]) -> Result<Sync> {
        let mut sync = Sync::start(&self.ground, "sync", flags)?;
        sync.ready().await?;
        tenant::served(&self.host, &self.tenants).await?;
        Ok(sync)
    }

    /// Starts a sync for each tenant alone, as designs do that have one per virtual cluster.
    pub(crate) async fn naive(&self) -> Result<Vec<Sync>> {
        let mut syncs = Vec::new();
        for tenant in &self.tenants {
            let selector = format!("--selector={NUMBER}={}", tenant.namespace);
            syncs.push(Sync::start(
                &self.ground,
                &format!("sync-{}", tenant.namespace),
                &[&selector],
            )?);
        }
        for sync in &mut syncs {
            sync.ready().await?;
        }
        tenant::served(&self.host, &self.tenants).await?;
        Ok(syncs)
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self, syncs: &[Sync]) -> Cpu {
        let of = |process: &Process| process::cpu_of(process.id());
        Cpu {
            generator: process::cpu_of(std::process::id()),
            tenant_api: self.servers.iter().map(|server| of(&server.process)).sum(),
            tenant_etcd: of(&self.store),
            host_api: of(&self.host.api.process),
            host_etcd: of(&self.host.etcd),
            sync: syncs.iter().map(|sync| of(&sync.process)).sum(),
        }
    }

    /// Makes pods in each of these tenants, one request after the other in each, all tenants at once.
    pub(crate) async fn burst(
        &self,
        tenants: &[usize],
        prefix: &str,
        count: usize,
        to: To,
    ) -> Result<()> {
        let mut creators = JoinSet::new();
        for number in tenants {
            let tenant = self.tenants.get(*number).context("no such tenant")?;
            let (client, base) = match to {
                To::Inside => (
                    tenant.client.clone(),
                    format!("/api/v1/namespaces/{LOAD}/pods"),
                ),
                To::Host => (
                    self.host.client.clone(),
                    format!("/api/v1/namespaces/{}/pods", tenant.namespace),
                ),
            };
            let (board, namespace) = (Arc::clone(&self.board), tenant.namespace.clone());
            let prefix = prefix.to_owned();
            creators.spawn(async move {
                for pod in 0..count {
                    let name = format!("{prefix}-{pod}");
                    let body = pods::manifest(&name, pods::Token::None);
                    board.enter(&namespace, &name);
                    client.create(&base, body).await?;
                    board.reach(&namespace, &name, Stage::Accepted);
                }
                anyhow::Ok(())
            });
        }
        finished(creators).await
    }

    /// Removes every pod on both sides, and waits until they are gone.
    pub(crate) async fn clear(&self) -> Result<()> {
        for tenant in &self.tenants {
            tenant
                .client
                .delete(&format!("/api/v1/namespaces/{LOAD}/pods"))
                .await?;
        }
        for tenant in &self.tenants {
            let path = format!("/api/v1/namespaces/{}/pods", tenant.namespace);
            self.host.client.delete(&path).await?;
        }
        self.host.emptied().await?;
        self.board.clear();
        Ok(())
    }

    /// The share of the machine that everything takes when nothing happens.
    pub(crate) async fn idle(&self, syncs: &[Sync], while_: Duration) -> Value {
        let (before, begun) = (self.cpu(syncs), Instant::now());
        tokio::time::sleep(while_).await;
        let cpu = self.cpu(syncs).since(&before);
        let seconds = begun.elapsed().as_secs_f64();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = |cpu: f64| cpu / seconds / crate::figures::number(cores);
        json!({
            "seconds": seconds, "tenants": self.tenants.len(),
            "tenantApi": share(cpu.tenant_api), "tenantEtcd": share(cpu.tenant_etcd),
            "hostApi": share(cpu.host_api), "hostEtcd": share(cpu.host_etcd),
            "sync": share(cpu.sync), "generator": share(cpu.generator),
        })
    }

    /// Every tenant's number.
    pub(crate) fn everyone(&self) -> Vec<usize> {
        (0..self.tenants.len()).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// Where pods are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Inside,
    Host,
}

/// Waits until all have ended. The first error ends the others.
pub(crate) async fn finished(mut all: JoinSet<Result<()>>) -> Result<()> {
    while let Some(one) = all.join_next().await {
        one??;
    }
    Ok(())
}

async fn observe(client: &Client, path: &str, namespace: &str, board: &Board) -> Result<()> {
    let mut lines = client.watch(path).await?;
    while let Some(line) = lines.next().await? {
        let event: Event<'_> = serde_json::from_slice(&line)?;
        if event.object.is_ready() {
            board.reach(namespace, &event.object.metadata.name, Stage::Ready);
        }
    }
    Ok(())
}
