//! `down`: leaves no process, mount, namespace, link, cgroup or file, except the cache.
//!
//! Depends on no record: it looks at the kernel for what is the cluster's, so it also cleans up
//! after runs that were killed, itself included.

use anyhow::Result;
use rustix::process::Signal;

use super::{
    Layout, Name, cgroup, host_folders, mounts, network, node::Node, owned, process::Identity,
    record,
};
use crate::{cache, cache::Cache, doctor, output::Progress, wait::Deadline};

/// Takes the cluster down; fine if there is none.
///
/// # Errors
/// Something resists; what is left is named.
pub fn down(name: &Name, progress: &Progress) -> Result<()> {
    doctor::root()?;
    let cache = Cache::open()?;
    let _lock = cache.lock(&format!("cluster-{name}"))?;
    let layout = Layout::new(name);
    if !anything(&layout) {
        progress.step(format_args!("there is no cluster {name}"));
        return Ok(());
    }
    remove(&layout)?;
    let _folders = cache.lock("host-folders")?;
    host_folders::remove_after_last()?;
    progress.step(format_args!("the cluster {name} is gone"));
    Ok(())
}

/// Whether anything of the cluster is there.
pub(super) fn anything(layout: &Layout) -> bool {
    layout.state.exists()
        || layout.run.exists()
        || nodes(layout).any(|node| node.netns().exists())
        || cgroup::any(layout)
        || !owned::processes(layout).is_empty()
}

/// Removes everything of it. The caller holds its lock.
pub(super) fn remove(layout: &Layout) -> Result<()> {
    // First, so that an `up` after a killed `down` does not take the rest for a cluster.
    if let Some(mut record) = record::Record::read(layout) {
        record.ready = false;
        record.write(layout)?;
    }
    kill_all(|| owned::processes(layout))?;
    for node in nodes(layout) {
        network::remove(&node)?;
    }
    cgroup::remove(layout)?;
    for folder in [&layout.run, &layout.state] {
        mounts::detach(folder)?;
        cache::remove(folder)?;
    }
    Ok(())
}

fn nodes(layout: &Layout) -> impl Iterator<Item = Node> {
    [layout.first(), layout.second()].into_iter()
}

/// Kills until nobody is left: who forks while being looked for is found the next time. The mounts
/// of containerd, of the kubelet and of the pods end with the last of them.
pub(super) fn kill_all(owned: impl Fn() -> Vec<Identity>) -> Result<()> {
    let mut killed: Vec<Identity> = Vec::new();
    let mut left: Vec<Identity> = Vec::new();
    let result = Deadline::seconds(30).poll("the end of all processes", || {
        left = owned();
        for process in &left {
            process.signal(Signal::KILL)?;
        }
        killed.extend(&left);
        Ok(left.is_empty().then_some(()))
    });
    result.map_err(|error| error.context(format!("still there: {left:?}")))?;
    // Their exit statuses are init's to collect. One that does not is no reason to fail.
    let reaped = || Ok(killed.iter().all(|process| process.reaped()).then_some(()));
    let _ = Deadline::seconds(2).poll("the collection of exit statuses", reaped);
    Ok(())
}
