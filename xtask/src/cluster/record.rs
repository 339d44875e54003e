//! What `up` remembers of a cluster: ports, and whether it ever got ready.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Layout;
use crate::addon::AddOn;

/// `<state>/cluster.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The kernel's id of this boot: after a reboot no pid or namespace means anything.
    pub(super) boot: String,
    /// Loopback port of the API server.
    pub(super) api_port: u16,
    /// Loopback port of the gateway's NodePort.
    pub(super) gateway_port: u16,
    /// Of the binaries it runs.
    pub(super) fingerprint: String,
    /// Set at the end of the first `up`, unset at the begin of `down`.
    pub(super) ready: bool,
    /// The add-ons that it has.
    #[serde(default)]
    pub(super) with: BTreeSet<AddOn>,
}

impl Record {
    pub(super) fn read(layout: &Layout) -> Option<Self> {
        read(&place(layout))
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<()> {
        write(&place(layout), self)
    }
}

fn place(layout: &Layout) -> PathBuf {
    layout.state.join("cluster.json")
}

/// This boot's id.
pub(super) fn boot() -> Result<String> {
    let id =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read boot_id")?;
    Ok(id.trim().to_owned())
}

/// What the file says, or `None` if it is missing or torn.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces the file in one step.
pub(super) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, serde_json::to_vec_pretty(value)?)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
