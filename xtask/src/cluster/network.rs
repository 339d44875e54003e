//! The cluster's network namespace: no uplink, so nothing in it can leave the machine.
//!
//! A kernel need not have the `dummy` link type: an empty bridge is the node's interface, and the
//! default route through it is what kube-proxy's service routing needs.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    fd::AsFd as _,
    mount::{UnmountFlags, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{Layout, layout::NODE_IP};
use crate::command;

/// Makes the namespace with its links and addresses.
pub(super) fn make(layout: &Layout) -> Result<()> {
    let name = layout.netns_name();
    command::run(Command::new("ip").args(["netns", "add", &name]))
        .context("cannot make a network namespace")?;
    let links = format!(
        "link set lo up\n\
         link add node0 type bridge\n\
         addr add {NODE_IP}/24 dev node0\n\
         link set node0 up\n\
         route add default dev node0\n"
    );
    let mut ip = Command::new("ip");
    ip.args(["-netns", &name, "-batch", "-"]);
    command::stdout_with_input(&mut ip, &links).context("cannot make the node's interface")?;
    inside(&layout.netns(), || {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot set ip_forward")?;
        // Not there in every kernel, and only where it is does bridged traffic pass iptables.
        let _ = fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
        Ok(())
    })
}

/// Removes it, and with it every link in it.
pub(super) fn remove(layout: &Layout) -> Result<()> {
    let place = layout.netns();
    // More than once if a killed run mounted it twice; the last call fails and ends the loop.
    while unmount(&place, UnmountFlags::DETACH).is_ok() {}
    crate::cache::remove(&place)
}

/// Whether the namespace is there and not just its name, which also outlives a reboot on a machine
/// whose /run is on disk.
pub(super) fn exists(layout: &Layout) -> bool {
    super::mounts::below(&layout.netns()).is_ok_and(|mounts| !mounts.is_empty())
}

/// Runs `work` on a thread inside the namespace. Sockets made there stay there, wherever they are
/// used.
pub(super) fn inside<T: Send>(netns: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(netns)?;
            work()
        });
        thread
            .join()
            .map_err(|_panic| anyhow!("a thread inside the network namespace panicked"))?
    })
}

/// Moves the calling thread, and with it whatever it starts, into the namespace.
pub(super) fn enter(netns: &Path) -> Result<()> {
    let file = File::open(netns).with_context(|| format!("cannot open {}", netns.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", netns.display()))
}
