//! The cluster's cgroup in every hierarchy of this machine, v1, hybrid or v2.
//!
//! Below it are `system` (what we start) and `kubepods` (what the kubelet makes). It keeps two
//! clusters apart, and says of any process whose it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Layout, node::Node};
use crate::wait::Deadline;

/// The group of the components.
const SYSTEM: &str = "system";

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    unified: bool,
}

/// Makes the groups.
pub(super) fn make(layout: &Layout) -> Result<()> {
    let group = layout.cgroup();
    make_each(&[group.clone(), format!("{group}/{SYSTEM}")])
}

/// Makes the group of the node's pods, below the cluster's.
pub(super) fn make_node(node: &Node) -> Result<()> {
    make_each(std::slice::from_ref(&node.cgroup))
}

fn make_each(groups: &[String]) -> Result<()> {
    for hierarchy in mounted()? {
        for group in groups {
            let folder = hierarchy.root.join(group);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
            prepare(&hierarchy, &folder);
        }
    }
    Ok(())
}

/// Moves the calling process into the components' group of each hierarchy.
pub(super) fn join(group: &str) -> Result<()> {
    for hierarchy in mounted()? {
        let file = hierarchy.root.join(group).join(SYSTEM).join("cgroup.procs");
        fs::write(&file, "0").with_context(|| format!("cannot enter {}", file.display()))?;
    }
    Ok(())
}

/// Removes the groups; their processes are dead, but the kernel may need a moment to notice.
pub(super) fn remove(layout: &Layout) -> Result<()> {
    let roots: Vec<_> = mounted()?
        .into_iter()
        .map(|hierarchy| hierarchy.root.join(layout.cgroup()))
        .collect();
    Deadline::seconds(15).poll("empty cgroups", || {
        let gone = roots
            .iter()
            .map(|root| remove_tree(root))
            .filter(|gone| !gone)
            .count()
            == 0;
        Ok(gone.then_some(()))
    })
}

/// Whether any group of the cluster is there.
pub(super) fn any(layout: &Layout) -> bool {
    let there = |hierarchy: &Hierarchy| hierarchy.root.join(layout.cgroup()).exists();
    mounted().is_ok_and(|hierarchies| hierarchies.iter().any(there))
}

fn remove_tree(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return !folder.exists();
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}

/// Lets the group be used: v1's cpuset takes no process before it has cpus and memory nodes, and in
/// v2 a group's children have the controllers that it passes on. A kernel without one of them is
/// the kubelet's to complain about.
fn prepare(hierarchy: &Hierarchy, folder: &Path) {
    let Some(parent) = folder.parent() else {
        return;
    };
    if hierarchy.unified {
        let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        for controller in controllers.split_whitespace() {
            let _ = fs::write(
                parent.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
        return;
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(inherited) = fs::read_to_string(parent.join(file)) {
            let _ = fs::write(folder.join(file), inherited.trim());
        }
    }
}

fn mounted() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read mountinfo")?;
    Ok(parse(&mounts))
}

fn parse(mounts: &str) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let unified = match after.split(' ').next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let root = PathBuf::from(before.split(' ').nth(4)?);
        root.starts_with("/sys/fs/cgroup")
            .then_some(Hierarchy { root, unified })
    };
    mounts.lines().filter_map(hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchies_of_a_hybrid_machine_are_found() {
        let mounts = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let found = parse(mounts);
        let hierarchy = |root: &str, unified| Hierarchy {
            root: PathBuf::from(root),
            unified,
        };
        let expected = [
            hierarchy("/sys/fs/cgroup/cpu", false),
            hierarchy("/sys/fs/cgroup/unified", true),
        ];
        assert_eq!(found, expected);
    }
}
