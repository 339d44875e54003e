//! Kills processes inside containers, as a crash or the kernel would: no signal handler runs and no
//! one is told.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Host, eventually};

/// Sends SIGKILL to the processes of the first container of each pod that `selector` matches, once
/// there is one that runs: the status of a container that was just killed lags behind.
#[track_caller]
pub fn kill(host: &Host, namespace: &str, selector: &str) {
    eventually(
        &format!("a process of {selector} in {namespace} is killed"),
        || {
            let pods = host.list(&format!("-n {namespace} pods -l {selector}"));
            let ids: Vec<String> = pods.iter().filter_map(container_id).collect();
            match kill_processes(&ids) {
                0 => Err(format!("no process of the containers {ids:?}")),
                _some => Ok(()),
            }
        },
    );
}

fn kill_processes(ids: &[String]) -> usize {
    let processes = ids.iter().flat_map(|id| processes(id));
    let kill =
        |pid: &i32| Pid::from_raw(*pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
    processes.filter(kill).count()
}

/// The processes of a container, by its id.
pub fn processes(container: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc is there on Linux");
    let is_of = |entry: &fs::DirEntry| {
        // A process may end while we look.
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        cgroup.contains(container)
    };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter(is_of).filter_map(pid).collect()
}

fn container_id(pod: &Value) -> Option<String> {
    let status = &pod["status"]["containerStatuses"][0];
    status["state"].get("running")?;
    let id = status["containerID"].as_str()?;
    Some(id.rsplit('/').next()?.to_owned())
}
