//! `status`: what runs, where, in which version.

use anyhow::Result;
use serde::Serialize;

use super::{
    Layout, Name, components,
    layout::NODE,
    record::{self, Record},
    start,
};
use crate::{addon::AddOn, cache::Cache, upstream::Binaries};

/// Of one cluster.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// `up`, `degraded` (a component has died, or the machine was rebooted), `unfinished` or `down`.
    pub state: &'static str,
    /// For cluster-admin, if there is a cluster.
    pub kubeconfig: Option<String>,
    /// The API server on 127.0.0.1.
    pub api_port: Option<u16>,
    /// The gateway's NodePort on 127.0.0.1.
    pub gateway_port: Option<u16>,
    /// The add-ons that it has.
    pub with: Vec<AddOn>,
    /// The first node.
    pub node: &'static str,
    /// Each component.
    pub components: Vec<Component>,
}

/// One process of it.
#[derive(Debug, Serialize)]
pub struct Component {
    /// Its name, also for `logs`.
    pub name: &'static str,
    /// The upstream version, or ours.
    pub version: String,
    /// Its process, if it runs.
    pub pid: Option<i32>,
}

/// Looks; changes nothing, and needs no answer from anyone.
///
/// # Errors
/// The pins cannot be read.
pub fn status(name: &Name) -> Result<Status> {
    let layout = Layout::new(name);
    let record = Record::read(&layout);
    let binaries = Binaries::cached(&Cache::open()?)?;
    let component = |name: &'static str| Component {
        name,
        version: version(binaries.as_ref(), name),
        pid: start::running(&layout, name).map(|identity| identity.pid),
    };
    let with = record.as_ref().map(|record| record.with.clone());
    let with = with.unwrap_or_default();
    let components: Vec<_> = components(&with).into_iter().map(component).collect();
    let state = match &record {
        None => "down",
        Some(record) if !record.ready => "unfinished",
        Some(record) if record.boot != record::boot()? => "degraded",
        Some(_) if components.iter().all(|component| component.pid.is_some()) => "up",
        Some(_) => "degraded",
    };
    Ok(Status {
        name: name.to_string(),
        state,
        kubeconfig: record
            .as_ref()
            .map(|_| layout.kubeconfig().display().to_string()),
        api_port: record.as_ref().map(|record| record.api_port),
        gateway_port: record.as_ref().map(|record| record.gateway_port),
        with: with.into_iter().collect(),
        node: NODE,
        components,
    })
}

fn version(binaries: Option<&Binaries>, component: &str) -> String {
    let project = match component {
        "relay" => return concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
        "etcd" => "etcd",
        "containerd" | "node-2-containerd" => "containerd",
        _ => "kubernetes",
    };
    let version = binaries.and_then(|binaries| binaries.version(project).ok());
    version.map_or_else(|| "not built".to_owned(), ToString::to_string)
}
