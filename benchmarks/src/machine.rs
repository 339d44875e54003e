//! What a run was measured on, for the report.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Everything that a reader needs to judge the numbers.
pub(crate) fn describe(kubernetes: &Path, etcd: &Path) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let said = |program: &Path, args: &[&str]| -> String {
        let output = Command::new(program).args(args).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cores": cores,
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "loadAtStart": read("/proc/loadavg").trim(),
        "kubeApiserver": said(&kubernetes.join("kube-apiserver"), &["--version"]),
        "etcd": said(etcd, &["--version"]),
        "commit": said(Path::new("git"), &["rev-parse", "HEAD"]),
    })
}
