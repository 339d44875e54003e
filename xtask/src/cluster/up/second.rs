//! Gives a running cluster its second node.
//!
//! Whoever is killed here leaves a cluster that is up without it; the next `up` that asks for it
//! removes what there is of it and begins again.

use anyhow::Result;

use super::{Boot, configure, folders, host_folders};
use crate::{
    cache::Cache,
    cluster::{Cluster, OF_SECOND_NODE, cgroup, down, mounts, network, node::Node, owned},
    doctor, images,
    output::Progress,
    wait::Deadline,
};

/// Seconds until it must be ready.
const PATIENCE: u64 = 180;

/// Adds it, and returns when it is ready. It has the images that workloads run, and not those of
/// virtual control planes, which do not ask for it. That this machine can run it was seen before anything was started.
pub(super) fn add(cache: &Cache, cluster: &Cluster, progress: &Progress) -> Result<()> {
    let (layout, node) = (&cluster.layout, cluster.layout.second());
    remove(&node)?;
    folders(&node.folders())?;
    host_folders(cache, &node)?;
    cgroup::make_node(&node)?;
    network::make_beside(&layout.first(), &node)?;
    configure(layout, &node, &doctor::host()?)?;
    let boot = Boot {
        cluster,
        cache,
        progress,
    };
    let [containerd, rest @ ..] = OF_SECOND_NODE;
    boot.start(containerd)?;
    boot.runtime_answers(&node)?;
    let archived = {
        let _lock = cache.lock("images")?;
        let mut wanted = images::base(cache, &cluster.binaries)?;
        wanted.push(images::nginx(cache)?);
        let archive = |image: &images::Image| image.archive(cache);
        wanted.iter().map(archive).collect::<Result<Vec<_>>>()?
    };
    images::import(&cluster.runtime_of(&node)?, &archived, progress)?;
    for component in rest {
        boot.start(component)?;
    }
    boot.registered(&node, &Deadline::seconds(PATIENCE))
}

fn remove(node: &Node) -> Result<()> {
    down::kill_all(|| owned::of_node(node))?;
    network::remove(node)?;
    for folder in [&node.run, &node.state] {
        mounts::detach(folder)?;
        crate::cache::remove(folder)?;
    }
    Ok(())
}
