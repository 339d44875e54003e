//! The nodes' network namespaces: no uplink, so nothing in them can leave the machine.
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

use super::node::Node;
use crate::command;

/// Makes the first node's namespace with its interface.
pub(super) fn make(node: &Node) -> Result<()> {
    add(node)?;
    batch(node, "link add node0 type bridge\n")?;
    prepare(node)
}

/// Makes the namespace of another node, with a cable to the first's bridge and to nowhere else, and
/// the routes to each other's pods.
pub(super) fn make_beside(first: &Node, node: &Node) -> Result<()> {
    add(node)?;
    let (name, netns) = (node.name, &node.netns_name);
    let cable = format!(
        "link add {name} type veth peer name node0 netns {netns}\n\
         link set {name} master node0\n\
         link set {name} up\n"
    );
    batch(first, &cable)?;
    prepare(node)?;
    for (from, to) in [(first, node), (node, first)] {
        batch(from, &format!("route replace {} via {}\n", to.pods, to.ip))?;
        if let Some(ipv6) = to.ipv6 {
            batch(
                from,
                &format!("route replace {} via {}\n", ipv6.pods, ipv6.ip),
            )?;
        }
    }
    Ok(())
}

fn add(node: &Node) -> Result<()> {
    command::run(Command::new("ip").args(["netns", "add", &node.netns_name]))
        .context("cannot make a network namespace")
}

/// Gives the interface its address, and makes a router of the node.
fn prepare(node: &Node) -> Result<()> {
    // The bridge has no carrier yet: the kernel would look for duplicates for ever.
    let ipv6 = node.ipv6.map(|ipv6| {
        let ip = ipv6.ip;
        format!("addr add {ip}/64 dev node0 nodad\nroute add ::/0 dev node0\n")
    });
    let addresses = format!(
        "link set lo up\n\
         addr add {}/24 dev node0\n\
         link set node0 up\n\
         route add default dev node0\n{}",
        node.ip,
        ipv6.as_deref().unwrap_or_default()
    );
    batch(node, &addresses)?;
    inside(&node.netns(), || {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot set ip_forward")?;
        // Not there in every kernel, and only where it is does bridged traffic pass iptables.
        let _ = fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
        if node.ipv6.is_some() {
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
                .context("cannot set forwarding of IPv6")?;
            let _ = fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1");
        }
        Ok(())
    })
}

/// Commands of `ip`, one a line, in the node's namespace.
fn batch(node: &Node, lines: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(["-netns", &node.netns_name, "-batch", "-"]);
    command::stdout_with_input(&mut ip, lines)
        .with_context(|| format!("cannot set up the network of {}", node.name))?;
    Ok(())
}

/// Removes it, and with it every link in it.
pub(super) fn remove(node: &Node) -> Result<()> {
    let place = node.netns();
    // More than once if a killed run mounted it twice; the last call fails and ends the loop.
    while unmount(&place, UnmountFlags::DETACH).is_ok() {}
    crate::cache::remove(&place)
}

/// Whether the namespace is there and not just its name, which also outlives a reboot on a machine
/// whose /run is on disk.
pub(super) fn exists(node: &Node) -> bool {
    super::mounts::below(&node.netns()).is_ok_and(|mounts| !mounts.is_empty())
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
