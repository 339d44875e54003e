//! A running cluster, for those who use it.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{Layout, Name, node::Node, record::Record};
use crate::{addon::AddOn, cache::Cache, upstream::Binaries};

/// How to reach containerd.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Its client.
    pub ctr: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
}

/// A cluster that was brought up. It stays up when this value goes.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: Name,
    /// Where everything is.
    pub layout: Layout,
    /// For cluster-admin from this machine, standing alone.
    pub kubeconfig: PathBuf,
    /// The API server on 127.0.0.1.
    pub api_port: u16,
    /// NodePort 30443, where the gateway is expected, on 127.0.0.1.
    pub gateway_port: u16,
    /// The programs that it runs and that one uses it with.
    pub binaries: Binaries,
}

impl Cluster {
    /// The cluster that `up` brought up under this name.
    ///
    /// # Errors
    /// There is none.
    pub fn open(name: &Name) -> Result<Self> {
        let layout = Layout::new(name);
        let record = Record::read(&layout).filter(|record| record.ready);
        let (Some(record), Some(binaries)) = (record, Binaries::cached(&Cache::open()?)?) else {
            bail!("the cluster {name} is not up: cargo xtask cluster up --name {name}");
        };
        Ok(Self::new(layout, &record, binaries))
    }

    pub(super) fn new(mut layout: Layout, record: &Record, binaries: Binaries) -> Self {
        layout.dual_stack = record.with.contains(&AddOn::DualStack);
        Self {
            name: layout.name.clone(),
            kubeconfig: layout.kubeconfig(),
            layout,
            api_port: record.api_port,
            gateway_port: record.gateway_port,
            binaries,
        }
    }

    /// `kubectl` with these arguments as cluster-admin, not yet run: see [`crate::command`].
    ///
    /// # Errors
    /// There is no kubectl.
    pub fn kubectl(&self, args: &[&str]) -> Result<Command> {
        self.client("kubectl", args)
    }

    /// `helm` with these arguments as cluster-admin, not yet run.
    ///
    /// # Errors
    /// There is no helm.
    pub fn helm(&self, args: &[&str]) -> Result<Command> {
        self.client("helm", args)
    }

    /// The first node's containerd, for [`crate::images::import`].
    ///
    /// # Errors
    /// There is no ctr.
    pub fn runtime(&self) -> Result<Runtime> {
        self.runtime_of(&self.layout.first())
    }

    /// The containerd of every node that a cluster with these add-ons has.
    pub(super) fn runtimes(&self, with: &BTreeSet<AddOn>) -> Result<Vec<Runtime>> {
        let mut nodes = vec![self.layout.first()];
        if with.contains(&AddOn::SecondNode) {
            nodes.push(self.layout.second());
        }
        nodes.iter().map(|node| self.runtime_of(node)).collect()
    }

    pub(super) fn runtime_of(&self, node: &Node) -> Result<Runtime> {
        let ctr = self.binaries.path("ctr").context("no containerd client")?;
        Ok(Runtime {
            ctr,
            socket: node.containerd_socket(),
        })
    }

    /// The address of the gateway once it is installed.
    pub fn gateway_address(&self) -> String {
        format!("https://127.0.0.1:{}", self.gateway_port)
    }

    /// What `kubectl` and `helm` need to know; their caches are the cluster's and go with it.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 5] {
        let caches = self.layout.state.join("client");
        [
            ("KUBECONFIG", self.kubeconfig.clone()),
            ("KUBECACHEDIR", caches.join("kubectl")),
            ("HELM_CACHE_HOME", caches.join("helm/cache")),
            ("HELM_CONFIG_HOME", caches.join("helm/config")),
            ("HELM_DATA_HOME", caches.join("helm/data")),
        ]
    }

    fn client(&self, program: &str, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.binaries.path(program)?);
        command.envs(self.environment()).args(args);
        Ok(command)
    }
}
