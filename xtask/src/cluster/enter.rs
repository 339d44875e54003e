//! The hidden command that every component is started through: it takes its place (session,
//! cgroups, namespaces) and then becomes the component, with the same pid.
//!
//! Not `nsenter` or `ip netns exec`: the latter mounts a fresh /sys, which hides the cgroups from
//! the kubelet, and neither joins cgroups.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    fd::AsFd as _,
    mount::{MountPropagationFlags, mount_bind, mount_change},
    process::setsid,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::{cgroup, network};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Enter {
    /// The cgroup below each hierarchy's root
    #[arg(long)]
    cgroup: String,
    /// The network namespace
    #[arg(long)]
    netns: Option<PathBuf>,
    /// The process whose mounts to share
    #[arg(long, conflicts_with = "bind")]
    mounts_of: Option<i32>,
    /// Makes own mounts: `FROM:TO`, a folder to show in the place of another
    #[arg(long)]
    bind: Vec<String>,
    /// What to become
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Does not return, unless something fails.
///
/// # Errors
/// A namespace or cgroup is not there, or the program cannot be run.
pub fn enter(args: &Enter) -> Result<()> {
    // Fails only for a process that leads a session already, which is as good.
    let _ = setsid();
    cgroup::join(&args.cgroup)?;
    if let Some(netns) = &args.netns {
        network::enter(netns)?;
    }
    if let Some(pid) = args.mounts_of {
        let file = File::open(format!("/proc/{pid}/ns/mnt")).context("cannot open its mounts")?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount))
            .with_context(|| format!("cannot share the mounts of {pid}"))?;
    } else if !args.bind.is_empty() {
        own_mounts(&args.bind)?;
    }
    let (program, rest) = args
        .command
        .split_first()
        .ok_or_else(|| anyhow!("no command"))?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(program).display()))
}

/// What this machine mounts from now on is seen inside; what is mounted inside is not seen outside,
/// and ends with the last process inside. Within, mounts are shared, as pods with bidirectional
/// mount propagation want.
fn own_mounts(binds: &[String]) -> Result<()> {
    #[expect(
        deprecated,
        reason = "the other one is unsafe for flags that are not used here"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNS).context("cannot make a mount namespace")?;
    for kind in [
        MountPropagationFlags::DOWNSTREAM,
        MountPropagationFlags::SHARED,
    ] {
        mount_change("/", kind | MountPropagationFlags::REC).context("cannot set propagation")?;
    }
    for bind in binds {
        let (from, to) = bind
            .split_once(':')
            .ok_or_else(|| anyhow!("{bind}: no FROM:TO"))?;
        mount_bind(from, to).with_context(|| format!("cannot bind {from} to {to}"))?;
    }
    Ok(())
}
