//! Starts components and knows whether they run.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Layout,
    components::{Launch, Namespaces},
    node::Node,
    owned::{self, MARK},
    process::Identity,
    record,
};
use crate::command::last_lines;

/// Lines of a component's log that go into an error about it.
const LOG_LINES: usize = 20;

/// The component's process, if it runs.
pub(super) fn running(layout: &Layout, component: &str) -> Option<Identity> {
    record::read::<Identity>(&layout.pid_file(component)).filter(|identity| identity.alive())
}

/// Starts it, in its namespaces, with its log appended to. Does not wait for it to be of use.
pub(super) fn start(
    layout: &Layout,
    component: &str,
    launch: &Launch,
    path: &str,
    binds: &[(PathBuf, PathBuf)],
) -> Result<()> {
    let log_path = layout.log(component);
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path);
    let log = log.with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["__enter", "--cgroup", &layout.cgroup()]);
    match &launch.namespaces {
        Namespaces::Root => {}
        Namespaces::Network(node) => {
            command.arg("--netns").arg(node.netns());
        }
        Namespaces::NetworkAndMounts(node) => {
            command.arg("--netns").arg(node.netns());
            share_mounts(&mut command, node, binds);
        }
    }
    command.arg("--").arg(&launch.program).args(&launch.args);
    // Nothing of the caller's environment: a proxy or a KUBECONFIG of the user's would get into it.
    command
        .env_clear()
        .env(MARK, layout.name.as_str())
        .env("PATH", path)
        .env("HOME", &layout.state);
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {component}"))?;
    let Some(identity) = Identity::of(child.id().cast_signed()) else {
        bail!("{component} ended at once\n{}", log_tail(layout, component));
    };
    record::write(&layout.pid_file(component), &identity)
}

/// Joins the mounts of whoever of the node still has them (the shims outlive containerd), or makes
/// new ones.
fn share_mounts(command: &mut Command, node: &Node, binds: &[(PathBuf, PathBuf)]) {
    let mounts = |process: &str| {
        let meta = fs::metadata(Path::new("/proc").join(process).join("ns/mnt")).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    let ours = mounts("self");
    let holders = owned::inside(&node.netns());
    let holders = holders.into_iter().filter(|identity| shares(*identity));
    let holder = holders.map(|identity| identity.pid);
    let holder = holder.filter(|pid| {
        let its = mounts(&pid.to_string());
        its.is_some() && its != ours
    });
    if let Some(pid) = holder.take(1).next() {
        command.arg(format!("--mounts-of={pid}"));
        return;
    }
    for (from, to) in binds {
        command.arg(format!("--bind={}:{}", from.display(), to.display()));
    }
}

/// Whether it is one of those that have a node's mounts; kube-proxy is in its network alone.
fn shares(identity: Identity) -> bool {
    let program = fs::read_link(format!("/proc/{}/exe", identity.pid));
    let name = |path: PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    let shares = |name: String| name.starts_with("kubelet") || name.starts_with("containerd");
    program.ok().and_then(name).is_some_and(shares)
}

/// Fails, with the end of its log, if the component does not run.
pub(super) fn check(layout: &Layout, component: &str) -> Result<()> {
    if running(layout, component).is_none() {
        bail!("{component} has ended\n{}", log_tail(layout, component));
    }
    Ok(())
}

/// Adds the end of the component's log to an error.
pub(super) fn with_log<T>(layout: &Layout, component: &str, result: Result<T>) -> Result<T> {
    result.with_context(|| log_tail(layout, component))
}

fn log_tail(layout: &Layout, component: &str) -> String {
    let path = layout.log(component);
    let text = fs::read(&path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    format!(
        "the end of {}:\n{}\n",
        path.display(),
        last_lines(&text, LOG_LINES)
    )
}

/// The components' PATH: theirs first, then this machine's.
pub(super) fn search_path(folders: &[&Path]) -> Result<String> {
    let system = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    let all = folders
        .iter()
        .copied()
        .chain(system.into_iter().map(Path::new));
    let joined = env::join_paths(all).context("a folder's name holds a colon")?;
    Ok(joined.to_string_lossy().into_owned())
}
