//! Many virtual clusters whose API servers are simulated: the host, its API server and sync are real.

pub(crate) mod leaks;
pub(crate) mod restart;
pub(crate) mod scan;

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;

use crate::client::Client;
use crate::figures;
use crate::fleet::Fleet;
use crate::host::Host;
use crate::process::Process;
use crate::servers::{self, Ground};
use crate::sync::Sync;
use crate::tenant::Tenant;

/// How long a thousand pods may take.
const PATIENCE: Duration = Duration::from_mins(6);
/// How long sync's memory has to settle before it is read.
const SETTLING: Duration = Duration::from_secs(2);

/// The simulated ones.
pub(crate) struct Simulation {
    pub(crate) fleet: Fleet,
    ports: Vec<u16>,
    /// Number of the next tenant that is of no earlier workload: a host namespace is used once.
    first: usize,
}

impl Simulation {
    /// Starts the host and as many simulated API servers.
    pub(crate) async fn start(ground: Ground, nodes: usize, count: usize) -> Result<Self> {
        let host = Host::start(&ground, nodes).await?;
        let ports = ground.folder.join("ports");
        let args = [
            "stub".to_owned(),
            format!("--cert={}", ground.file("server.crt")),
            format!("--key={}", ground.file("server.key")),
            format!("--tenants={count}"),
            format!("--ports={}", ports.display()),
        ];
        let itself = std::env::current_exe()?;
        let mut stub = Process::start("stub", &itself, args, &ground.folder)?;
        let told = servers::appears(&ports, &mut stub).await?;
        let ports: Result<Vec<u16>, _> = told.lines().map(str::parse).collect();
        let fleet = Fleet::assemble(ground, host, nodes, Vec::new(), stub).await?;
        Ok(Self {
            fleet,
            ports: ports?,
            first: 0,
        })
    }

    /// Makes virtual clusters of these numbers, on the API servers in turn.
    pub(crate) async fn admit(&mut self, numbers: std::ops::Range<usize>) -> Result<()> {
        let mut tenants = Vec::new();
        for number in numbers {
            let port = *self
                .ports
                .get(number % self.ports.len())
                .context("no simulated API server")?;
            let client = Client::connect(port, &self.fleet.ground.admin_tls).await?;
            tenants.push(Tenant::new(self.first + number, port, client));
        }
        self.fleet.admit(tenants).await
    }
}

impl Simulation {
    /// Removes every virtual cluster that is left of an earlier workload.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        if self.fleet.tenants.is_empty() {
            return Ok(());
        }
        let sync = self.fleet.sync(&[]).await?;
        let removed = self
            .fleet
            .tenants
            .iter()
            .map(|tenant| tenant.remove(&self.fleet.host));
        try_join_all(removed).await?;
        for tenant in &self.fleet.tenants {
            tenant.client.get_bytes("/reset").await?;
        }
        self.fleet.tenants.clear();
        self.fleet.accounts.clear();
        self.fleet.board.clear();
        self.first += self.ports.len();
        sync.process.stop().await;
        Ok(())
    }
}

/// The memory of sync in MiB, once it has had time to settle.
async fn settled(sync: &Sync) -> f64 {
    tokio::time::sleep(SETTLING).await;
    figures::mib(sync.memory())
}
