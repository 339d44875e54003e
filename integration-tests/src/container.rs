//! Kills processes inside containers, as a crash or the kernel would: no signal handler runs and no
//! one is told.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Host;

/// Sends SIGKILL to the processes of the first container of each pod that `selector` matches.
/// Returns how many processes there were.
#[track_caller]
pub fn kill(host: &Host, namespace: &str, selector: &str) -> usize {
    let pods = host.list(&format!("-n {namespace} pods -l {selector}"));
    let ids: Vec<String> = pods.iter().filter_map(container_id).collect();
    assert!(
        !ids.is_empty(),
        "no running container matches {selector} in {namespace}"
    );
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
