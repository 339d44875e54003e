//! `shell`: this machine's own shell, set up for the cluster.

use std::{
    env, ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, process::Command,
};

use anyhow::{Context as _, Result};

use super::Cluster;
use crate::workspace;

/// Becomes the command, or an interactive shell, with KUBECONFIG set and `kubectl`, `helm` and the
/// built `vcluster` first on the PATH. Returns only if that fails.
///
/// # Errors
/// The command cannot be run.
pub fn shell(cluster: &Cluster, command: &[OsString]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![
        cluster.layout.programs(),
        workspace::target()?.join("debug"),
    ];
    folders.extend(env::split_paths(&path).collect::<Vec<PathBuf>>());
    let shell = env::var_os("SHELL").unwrap_or_else(|| OsString::from("/bin/sh"));
    let (program, args) = command
        .split_first()
        .map_or((&shell, &[][..]), |split| split);
    let path = env::join_paths(folders).context("a folder's name holds a colon")?;
    let mut process = Command::new(program);
    process
        .args(args)
        .env("KUBECONFIG", &cluster.kubeconfig)
        .env("PATH", path);
    // Set by `cargo run`, for us and not for what the user runs.
    process.env_remove("LD_LIBRARY_PATH");
    process.env("VCLUSTER_DEV_GATEWAY", cluster.gateway_address());
    Err(process.exec()).with_context(|| format!("cannot run {}", program.to_string_lossy()))
}
