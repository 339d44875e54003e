//! `up`: looks at what is there, decides, does it.
//!
//! May be killed at any instruction: what is half there is known by `ready` never having been
//! written, and is torn down before anything is built again.

mod plan;
mod second;

use std::{
    collections::BTreeSet, fs, net::TcpListener, os::unix::fs::symlink, path::PathBuf, thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use self::plan::{Plan, Seen};
use super::{
    Cluster, Layout, Name, addons, cgroup,
    components::{self, Namespaces, launch},
    config,
    extend::extend,
    host_folders, network,
    node::Node,
    pki,
    record::{self, Record},
    start,
};
use crate::{
    addon::AddOn,
    cache::Cache,
    command, doctor,
    images::{self, Archived},
    output::Progress,
    upstream::Binaries,
    wait::Deadline,
};

/// Of a question that is asked again and again: a server that accepts and stalls must not hold it up.
const QUICKLY: &str = "--request-timeout=5s";

/// Brings the cluster up with these add-ons and those it has; does little and returns soon if it is.
///
/// # Errors
/// This machine lacks something (everything lacking is named), or a component does not get ready
/// (with the end of its log).
pub fn up(name: &Name, with: &BTreeSet<AddOn>, progress: &Progress) -> Result<Cluster> {
    let cache = Cache::open()?;
    let mut layout = Layout::new(name);
    if doctor::root().is_err() {
        doctor::check(&cache, with, progress)?;
    }
    let _lock = cache.lock(&format!("cluster-{name}"))?;
    let mut seen = look(&layout)?;
    let mut plan = plan::plan(&seen);
    if plan == Plan::Rebuild {
        progress.step("removing what an unfinished run left");
        super::down::remove(&layout)?;
        seen = look(&layout)?;
        plan = plan::plan(&seen);
    }
    let asked = with.contains(&AddOn::DualStack);
    let recorded = seen.record.as_ref().map(|record| &record.with);
    let is_new = |addon: &&AddOn| recorded.is_none_or(|recorded| !recorded.contains(addon));
    let adds_node = with
        .iter()
        .filter(is_new)
        .any(|addon| *addon == AddOn::SecondNode);
    layout.dual_stack = match &seen.record {
        Some(record) => record.with.contains(&AddOn::DualStack),
        None => asked,
    };
    ensure!(
        layout.dual_stack || !asked,
        "the cluster {name} has IPv4 alone, which cannot be changed: take it down first"
    );
    let (cluster, mut record) = if let (Plan::Keep(dead), Some(record)) = (plan, seen.record) {
        if adds_node || !dead.is_empty() {
            doctor::check(&cache, with, progress)?;
        }
        (keep(&cache, layout, &record, &dead, progress)?, record)
    } else {
        doctor::check(&cache, with, progress)?;
        build(&cache, layout, progress)?
    };
    if adds_node {
        second::add(&cache, &cluster, progress)?;
        record.with.insert(AddOn::SecondNode);
        record.write(&cluster.layout)?;
        progress.step("the second node is ready");
    }
    extend(&cache, &cluster, &mut record, with, progress)?;
    Ok(cluster)
}

fn look(layout: &Layout) -> Result<Seen> {
    let runs = |component: &&str| start::running(layout, component).is_some();
    let record = Record::read(layout);
    let with = record.as_ref().map(|record| record.with.clone());
    let components = super::components(&with.unwrap_or_default());
    Ok(Seen {
        record,
        boot: record::boot()?,
        namespace: network::exists(&layout.first()),
        leftovers: super::down::anything(layout),
        running: components.into_iter().filter(runs).collect(),
    })
}

/// The cluster was ready once: starts what has died since, and brings missing images.
fn keep(
    cache: &Cache,
    layout: Layout,
    record: &Record,
    dead: &[&'static str],
    progress: &Progress,
) -> Result<Cluster> {
    let binaries = Binaries::ensure(cache, progress)?;
    if binaries.fingerprint != record.fingerprint {
        progress.step("the pins have changed since this cluster began: `cluster down` to use them");
    }
    let cluster = Cluster::new(layout, record, binaries);
    let boot = Boot {
        cluster: &cluster,
        cache,
        progress,
    };
    for component in dead {
        progress.step(format_args!("{component} had died, starting it again"));
        if component.ends_with("kubelet") {
            boot.runtime_answers(&boot.node_of(component))?;
        }
        boot.start(component)?;
    }
    boot.api_answers()?;
    boot.runtime_answers(&cluster.layout.first())?;
    let (base, later) = archives(cache, &cluster.binaries)?;
    images::import(&cluster.runtime()?, &[base, later].concat(), progress)?;
    if !dead.is_empty() {
        boot.node_ready(&Deadline::seconds(120))?;
    }
    Ok(cluster)
}

/// From nothing.
fn build(cache: &Cache, layout: Layout, progress: &Progress) -> Result<(Cluster, Record)> {
    let binaries = Binaries::ensure(cache, progress)?;
    let (base, later) = archives(cache, &binaries)?;
    progress.step("binaries and images are in the cache");

    let host = doctor::host()?;
    let first = layout.first();
    folders(&layout.folders())?;
    folders(&first.folders())?;
    let mut record = Record {
        boot: record::boot()?,
        api_port: 0,
        gateway_port: 0,
        fingerprint: binaries.fingerprint.clone(),
        ready: false,
        with: BTreeSet::new(),
    };
    if layout.dual_stack {
        record.with.insert(AddOn::DualStack);
    }
    (record.api_port, record.gateway_port) = free_ports()?;
    record.write(&layout)?;
    // Before the namespace: `ip netns` makes one of them.
    host_folders(cache, &first)?;
    cgroup::make(&layout)?;
    network::make(&first)?;
    pki::make(&layout, record.api_port)?;
    configure(&layout, &first, &host)?;
    for program in ["kubectl", "helm"] {
        symlink(binaries.path(program)?, layout.programs().join(program))?;
    }
    progress.step("network namespace, certificates and configuration");

    let cluster = Cluster::new(layout, &record, binaries);
    let boot = Boot {
        cluster: &cluster,
        cache,
        progress,
    };
    boot.everything(&base, &later)?;
    record.ready = true;
    record.write(&cluster.layout)?;
    Ok((cluster, record))
}

fn folders(wanted: &[PathBuf]) -> Result<()> {
    for folder in wanted {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(())
}

/// The node's certificates and configuration files.
fn configure(layout: &Layout, node: &Node, host: &config::Host) -> Result<()> {
    pki::of_node(layout, node)?;
    for (file, text) in config::files(layout, node, host) {
        let path = node.conf(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn host_folders(cache: &Cache, node: &Node) -> Result<Vec<(PathBuf, PathBuf)>> {
    let _lock = cache.lock("host-folders")?;
    host_folders::make(node)
}

/// The images the node needs, and those that workloads need.
fn archives(cache: &Cache, binaries: &Binaries) -> Result<(Vec<Archived>, Vec<Archived>)> {
    let _lock = cache.lock("images")?;
    let archive = |images: Vec<images::Image>| -> Result<Vec<Archived>> {
        images.iter().map(|image| image.archive(cache)).collect()
    };
    Ok((
        archive(images::base(cache, binaries)?)?,
        archive(images::later(cache, binaries)?)?,
    ))
}

/// Two ports that are free now; both listeners are open at once so that they differ.
fn free_ports() -> Result<(u16, u16)> {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port");
    let (one, other) = (listen()?, listen()?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// Starting, in the order in which things need each other.
#[derive(Debug)]
struct Boot<'a> {
    cluster: &'a Cluster,
    cache: &'a Cache,
    progress: &'a Progress,
}

impl Boot<'_> {
    fn everything(&self, base: &[Archived], later: &[Archived]) -> Result<()> {
        for component in ["etcd", "kube-apiserver", "containerd", "relay"] {
            self.start(component)?;
        }
        thread::scope(|scope| {
            let imported = scope.spawn(|| {
                self.runtime_answers(&self.cluster.layout.first())?;
                images::import(&self.cluster.runtime()?, base, self.progress)
            });
            self.api_answers()?;
            self.progress.step("the API server answers");
            for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
                self.start(component)?;
            }
            // The kubelet exits if containerd does not answer, and its pods back off for ten
            // seconds if an image is missing.
            imported
                .join()
                .map_err(|_panic| anyhow!("the import panicked"))??;
            self.start("kubelet")?;
            let more =
                scope.spawn(|| images::import(&self.cluster.runtime()?, later, self.progress));
            addons::apply(self.cluster)?;
            let deadline = Deadline::seconds(180);
            self.node_ready(&deadline)?;
            self.progress.step("the node is ready");
            addons::wait(self.cluster, &deadline)?;
            self.progress.step("DNS and storage are ready");
            more.join()
                .map_err(|_panic| anyhow!("the import panicked"))?
        })
    }

    fn start(&self, component: &str) -> Result<()> {
        let Cluster {
            layout, binaries, ..
        } = self.cluster;
        let ports = (self.cluster.api_port, self.cluster.gateway_port);
        let launch = launch(component, layout, binaries, ports)?;
        let path = start::search_path(&binaries.folders())?;
        let binds = match &launch.namespaces {
            Namespaces::Root | Namespaces::Network(_) => Vec::new(),
            Namespaces::NetworkAndMounts(node) => host_folders(self.cache, node)?,
        };
        start::start(layout, component, &launch, &path, &binds)
    }

    fn node_of(&self, component: &str) -> Node {
        components::place(component, &self.cluster.layout).0
    }

    fn runtime_answers(&self, node: &Node) -> Result<()> {
        let runtime = self.cluster.runtime_of(node)?;
        self.wait(&node.component("containerd"), 60, || {
            let mut ctr = std::process::Command::new(&runtime.ctr);
            Ok(command::succeeds(
                ctr.arg("--address").arg(&runtime.socket).arg("version"),
            ))
        })
    }

    fn api_answers(&self) -> Result<()> {
        let ready = || {
            let args = ["get", "--raw", "/readyz", QUICKLY];
            let mut kubectl = self.cluster.kubectl(&args)?;
            for component in ["etcd", "relay"] {
                start::check(&self.cluster.layout, component)?;
            }
            Ok(command::succeeds(&mut kubectl))
        };
        self.wait("kube-apiserver", 120, ready)
    }

    /// Waits until the API server knows the node, and it is ready.
    fn registered(&self, node: &Node, deadline: &Deadline) -> Result<()> {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = || {
            let args = ["get", "node", node.name, "-o", path, QUICKLY];
            let status = command::answer(&mut self.cluster.kubectl(&args)?);
            Ok(status.is_ok_and(|status| status.trim() == "True"))
        };
        self.wait(&node.component("kubelet"), deadline.left(), ready)
    }

    /// Waits until every node is ready.
    fn node_ready(&self, deadline: &Deadline) -> Result<()> {
        let path = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        let ready = || {
            let args = ["get", "nodes", "-o", path, QUICKLY];
            let mut kubectl = self.cluster.kubectl(&args)?;
            let statuses = command::answer(&mut kubectl).unwrap_or_default();
            let mut statuses = statuses.split_whitespace().peekable();
            Ok(statuses.peek().is_some() && statuses.all(|status| status == "True"))
        };
        self.wait("kubelet", deadline.left(), ready)
    }

    /// Polls `ready` as long as the component runs; an error shows the end of its log.
    fn wait(
        &self,
        component: &str,
        seconds: u64,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let layout = &self.cluster.layout;
        let result = Deadline::seconds(seconds).poll(format_args!("{component} ready"), || {
            start::check(layout, component)?;
            Ok(ready()?.then_some(()))
        });
        start::with_log(layout, component, result)
    }
}
