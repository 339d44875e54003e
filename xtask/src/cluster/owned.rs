//! Finds every process of a cluster, whether or not a record of it was ever written.
//!
//! Three marks, each of which alone is enough: the environment variable that everything we start
//! inherits (shims too), the cluster's cgroup (containers and what they fork), and the cluster's
//! network namespace. A run killed between two instructions leaves at least one.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{Layout, node::Node, process::Identity};

/// The environment variable everything of a cluster carries, with the cluster's name.
pub(super) const MARK: &str = "VCLUSTER_DEV_CLUSTER";

/// All of them, without ourselves.
pub(super) fn processes(layout: &Layout) -> Vec<Identity> {
    let namespaces = [layout.first(), layout.second()].map(|node| namespace(&node.netns()));
    all(|folder| {
        let marked = || {
            let environment = fs::read(folder.join("environ")).unwrap_or_default();
            is_marked(&environment, layout.name.as_str())
        };
        let inside = || {
            namespaces
                .iter()
                .any(|namespace| is_inside(folder, *namespace))
        };
        is_grouped(folder, &layout.cgroup()) || marked() || inside()
    })
}

/// Those of the node, without ourselves: what is in its network, and its pods.
pub(super) fn of_node(node: &Node) -> Vec<Identity> {
    let namespace = namespace(&node.netns());
    all(|folder| is_inside(folder, namespace) || is_grouped(folder, &node.cgroup))
}

/// Those in the network namespace, without ourselves.
pub(super) fn inside(netns: &Path) -> Vec<Identity> {
    let namespace = namespace(netns);
    all(|folder| is_inside(folder, namespace))
}

/// Those whose folder in `/proc` is `wanted`.
fn all(wanted: impl Fn(&Path) -> bool) -> Vec<Identity> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let pids = entries
        .filter_map(|entry| pid(entry.ok()?))
        .filter(|&pid| pid != own);
    pids.filter_map(|pid| {
        // Its identity is taken first: what is judged is this process or it is no longer alive.
        let identity = Identity::of(pid)?;
        wanted(&Path::new("/proc").join(pid.to_string())).then_some(identity)
    })
    .collect()
}

fn namespace(netns: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(netns).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn is_inside(folder: &Path, wanted: Option<(u64, u64)>) -> bool {
    wanted.is_some() && namespace(&folder.join("ns/net")) == wanted
}

fn is_grouped(folder: &Path, group: &str) -> bool {
    let groups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    is_in_group(&groups, group)
}

fn is_marked(environment: &[u8], name: &str) -> bool {
    let mark = format!("{MARK}={name}");
    environment
        .split(|&byte| byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

fn is_in_group(groups: &str, group: &str) -> bool {
    let path = |line: &'_ str| line.splitn(3, ':').nth(2).map(str::to_owned);
    groups
        .lines()
        .filter_map(path)
        .any(|path| Path::new(&path).starts_with(Path::new("/").join(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_the_whole_name() {
        let environment = b"PATH=/bin\0VCLUSTER_DEV_CLUSTER=dev\0HOME=/\0";
        assert!(is_marked(environment, "dev"));
        assert!(!is_marked(environment, "de"));
        assert!(!is_marked(b"X=VCLUSTER_DEV_CLUSTER=dev\0", "dev"));
    }

    #[test]
    fn the_group_is_the_first_folder_and_no_prefix_of_another() {
        let groups = "4:memory:/session/7\n1:cpu:/vcluster-dev-dev/kubepods/pod1\n0::/\n";
        assert!(is_in_group(groups, "vcluster-dev-dev"));
        assert!(!is_in_group(groups, "vcluster-dev-de"));
        assert!(is_in_group(groups, "vcluster-dev-dev/kubepods"));
        assert!(!is_in_group(groups, "kubepods"));
    }
}
