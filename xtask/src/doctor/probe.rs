//! Kernel features and disk space, asked by trying.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use super::Lack;
use crate::{addon::AddOn, cache::Cache, command};

/// Binaries, the Go build cache and images.
const CACHE_GIB: u64 = 8;
/// A cluster's data: images again, unpacked.
const STATE_GIB: u64 = 4;
/// The kubelet, containerd and the control plane hold about half as many, and exit without.
const INOTIFY_INSTANCES: usize = 64;
/// A second node has a kubelet and containerd of its own, and no control plane.
const INOTIFY_INSTANCES_OF_SECOND_NODE: usize = 32;
/// The controllers that the kubelet insists on, under v1 and v2.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// What only root and the programs of packages can try is tried only if all of them are there.
pub(super) fn lacking(cache: &Cache, with: &BTreeSet<AddOn>, askable: bool) -> Vec<Lack> {
    let mut lacks = Vec::new();
    let architecture = std::env::consts::ARCH;
    if !matches!(architecture, "x86_64" | "aarch64") {
        lacks.push(Lack::new(
            format!("a supported processor ({architecture} is not)"),
            "use x86_64 or aarch64",
        ));
    }
    lacks.extend(filesystems());
    lacks.extend(layered(Path::new("/var/lib")));
    if askable {
        lacks.extend(network());
    }
    lacks.extend(controllers());
    lacks.extend(watches(instances(with)));
    lacks.extend(space(
        cache.root(),
        CACHE_GIB,
        "move it with VCLUSTER_DEV_CACHE",
    ));
    lacks.extend(space(
        Path::new("/var/lib"),
        STATE_GIB,
        "a cluster's state is there",
    ));
    lacks
}

fn filesystems() -> Option<Lack> {
    let known = || {
        let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.split_whitespace().any(|name| name == "overlay")
    };
    let loaded = known() || (command::succeeds(Command::new("modprobe").arg("overlay")) && known());
    (!loaded).then(|| {
        Lack::new(
            "the kernel's overlay file system",
            "enable CONFIG_OVERLAY_FS (modprobe overlay)",
        )
    })
}

/// An overlay's upper folder may not be on an overlay itself, as in most containers.
fn layered(folder: &Path) -> Option<Lack> {
    const OVERLAY: i64 = 0x794c_7630;
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    (kind == OVERLAY).then(|| {
        let what = format!("a plain file system at {}", folder.display());
        Lack::new(
            what,
            "it is an overlay, which cannot carry containers: mount a volume there",
        )
    })
}

/// In a throw-away namespace, so that nothing is left and nothing of this machine is touched.
fn network() -> Vec<Lack> {
    let inside = |script: &str| {
        let mut unshare = Command::new("unshare");
        command::succeeds(unshare.args(["--net", "sh", "-c", script]))
    };
    if !inside("true") {
        let cure = "enable CONFIG_NET_NS, and run where root may make namespaces";
        return vec![Lack::new("network namespaces", cure)];
    }
    let probes = [
        (
            "bridges",
            "ip link add name probe0 type bridge",
            "enable CONFIG_BRIDGE (modprobe bridge)",
        ),
        (
            "veth pairs",
            "ip link add name probe0 type veth peer name probe1",
            "enable CONFIG_VETH (modprobe veth)",
        ),
        (
            "nftables with connection tracking, on bridges too",
            "nft 'add table inet x; add chain inet x y { type filter hook forward priority -1; }; \
             add rule inet x y ct state established accept' \
             && test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
            "enable CONFIG_NF_TABLES_INET, CONFIG_NFT_CT and CONFIG_BRIDGE_NETFILTER",
        ),
        (
            "iptables with NAT and connection tracking",
            "iptables -w -t nat -A POSTROUTING -m conntrack --ctstate NEW -m comment --comment x \
             -j MASQUERADE",
            "enable CONFIG_NF_NAT, CONFIG_NF_CONNTRACK and iptables' or nftables' matches",
        ),
    ];
    let failing = probes.into_iter().filter(|(_, script, _)| !inside(script));
    failing
        .map(|(what, _, cure)| Lack::new(what, cure))
        .collect()
}

fn controllers() -> Vec<Lack> {
    let v1 = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    missing_controllers(&v1, &v2)
        .into_iter()
        .map(|controller| {
            let what = format!("the cgroup controller {controller}");
            Lack::new(
                what,
                "mount it below /sys/fs/cgroup, or use cgroup v2 with it enabled",
            )
        })
        .collect()
}

fn missing_controllers(mounts: &str, unified: &str) -> Vec<&'static str> {
    let in_v1 = |controller: &str| {
        let cgroups = mounts
            .lines()
            .filter_map(|line| line.split_once(" - cgroup "));
        cgroups.into_iter().any(|(_, after)| {
            let options = after.rsplit(' ').next().unwrap_or_default();
            options.split(',').any(|option| option == controller)
        })
    };
    let in_v2 = |controller: &str| unified.split_whitespace().any(|name| name == controller);
    CONTROLLERS
        .into_iter()
        .filter(|name| !in_v1(name) && !in_v2(name))
        .collect()
}

/// How many a cluster with these add-ons is given room for.
fn instances(with: &BTreeSet<AddOn>) -> usize {
    if with.contains(&AddOn::SecondNode) {
        INOTIFY_INSTANCES + INOTIFY_INSTANCES_OF_SECOND_NODE
    } else {
        INOTIFY_INSTANCES
    }
}

/// By making as many: other clusters of this machine, and its editors, have some of them.
fn watches(needed: usize) -> Option<Lack> {
    let make = |_| rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).ok();
    let made = (0..needed).map_while(make).collect::<Vec<_>>();
    (made.len() < needed).then(|| {
        Lack::new(
            format!("{needed} more inotify instances (there are {})", made.len()),
            "sysctl -w fs.inotify.max_user_instances=1024, or take another cluster down",
        )
    })
}

fn space(folder: &Path, gib: u64, hint: &str) -> Option<Lack> {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists())?;
    let free = rustix::fs::statvfs(existing).ok()?;
    let free = free.f_bavail.saturating_mul(free.f_frsize) >> 30;
    (free < gib).then(|| {
        let what = format!("disk space below {}", folder.display());
        Lack::new(
            what,
            format!("{free} GiB are free, {gib} GiB are needed; {hint}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_count_wherever_they_are() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(missing_controllers(mounts, ""), ["cpuset", "pids"]);
        assert_eq!(missing_controllers(mounts, "cpuset pids"), [""; 0]);
        assert_eq!(
            missing_controllers("", "cpuset cpu io memory pids"),
            [""; 0]
        );
    }

    #[test]
    fn a_second_node_needs_watches_before_the_first_is_started() {
        let none = instances(&BTreeSet::new());
        for addon in AddOn::ALL {
            let more = instances(&BTreeSet::from([addon])) > none;
            assert_eq!(more, addon == AddOn::SecondNode, "{}", addon.name());
        }
    }

    #[test]
    fn a_full_disk_is_named_with_both_numbers() {
        let lack = space(Path::new("/no/such/folder"), u64::MAX, "hint").expect("too little");
        assert!(lack.what.contains("/no/such/folder") && lack.cure.contains("are needed; hint"));
    }
}
