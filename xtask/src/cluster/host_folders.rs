//! Folders outside the state folder that the kubelet and CNI insist on.
//!
//! Their paths are fixed in upstream's code. Inside the cluster's mount namespace a folder of the
//! cluster lies over each; outside they only have to be there. Those we made are listed, and go
//! with the last cluster: an empty folder that somebody else made stays.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, unmount};

use super::{
    layout::{RUN, STATE},
    node::Node,
    record,
};

/// The kubelet's device plugins, CNI's result cache, the kubelet's old log links, runc's and
/// containerd's default state.
const FIXED: [&str; 4] = [
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/run/containerd",
];

/// `ip netns` makes it, and mounts it on itself, when it is first used.
const NETNS: &str = "/run/netns";

/// Makes both sides and says what to bind where.
pub(super) fn make(node: &Node) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut made: BTreeSet<PathBuf> = record::read(&list()).unwrap_or_default();
    let missing = |path: &PathBuf| !path.exists();
    made.extend(
        FIXED
            .iter()
            .chain([&NETNS])
            .map(PathBuf::from)
            .filter(missing),
    );
    // Listed before they are made: a run killed in between leaves no unlisted folder.
    record::write(&list(), &made)?;
    let mut binds = Vec::new();
    for outside in FIXED.map(PathBuf::from) {
        let name = outside
            .to_string_lossy()
            .trim_start_matches('/')
            .replace('/', "-");
        let inside = node.state.join("host").join(name);
        for folder in [&inside, &outside] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        binds.push((inside, outside));
    }
    Ok(binds)
}

/// After the last cluster: removes what we made and is empty, and the folders of all clusters.
pub(super) fn remove_after_last() -> Result<()> {
    let others = fs::read_dir(STATE).into_iter().flatten().flatten();
    if others.filter(|entry| entry.path() != list()).count() > 0 {
        return Ok(());
    }
    for folder in record::read::<BTreeSet<PathBuf>>(&list()).unwrap_or_default() {
        remove_if_empty(&folder);
    }
    crate::cache::remove(&list())?;
    for parent in [STATE, RUN] {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

fn remove_if_empty(folder: &Path) {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
        let _ = unmount(folder, UnmountFlags::DETACH);
        let _ = fs::remove_dir(folder);
    }
}

fn list() -> PathBuf {
    Path::new(STATE).join("host-folders.json")
}
