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
    let mut killed = 0;
    for entry in fs::read_dir("/proc")
        .expect("/proc is there on Linux")
        .flatten()
    {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may end while we look.
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if ids.iter().any(|id| cgroup.contains(id.as_str()))
            && Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
        {
            killed += 1;
        }
    }
    killed
}

fn container_id(pod: &Value) -> Option<String> {
    let status = &pod["status"]["containerStatuses"][0];
    status["state"].get("running")?;
    let id = status["containerID"].as_str()?;
    Some(id.rsplit('/').next()?.to_owned())
}
