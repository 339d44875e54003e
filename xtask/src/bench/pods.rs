//! From `kubectl apply` to Ready, inside a virtual cluster and directly on the host, in turns.

use std::process::Command;

use anyhow::{Result, ensure};

use super::report::{self, Series};
use crate::{
    cluster::Cluster,
    command,
    output::Progress,
    wait::{Deadline, Stopwatch},
    workspace,
};

const CLUSTER: &str = "bench";
/// Host namespace of the virtual cluster.
const NAMESPACE: &str = "vcluster-bench";
/// Namespace of the pods on the host; those inside are in one of the same name.
const PLACE: &str = "bench-pods";
const PATIENCE: u64 = 180;

/// A claim that is bound before anything is measured: what provisioning takes is the host's alone.
const CLAIM: &str = r#"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}}"#;

/// A Service and its pod, with a volume; its token is mounted by default.
const WORKLOAD: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
"spec": {"terminationGracePeriodSeconds": 0,
"containers": [{"name": "web", "image": "docker.io/library/nginx:latest", "imagePullPolicy": "IfNotPresent",
"volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}]}"#;

/// Measures `rounds` times on each side.
pub(super) fn measure(cluster: &Cluster, rounds: u32, progress: &Progress) -> Result<()> {
    ensure!(rounds > 0, "--rounds must be at least 1");
    let inside = cluster.layout.state.join("bench.kubeconfig");
    let vcluster = |args: &[&str]| {
        let program = workspace::target()?.join("debug/vcluster");
        command::run(
            Command::new(program)
                .args(args)
                .env("KUBECONFIG", &cluster.kubeconfig),
        )
    };
    let path = inside.to_string_lossy();
    vcluster(&["create", CLUSTER, "-n", NAMESPACE, "--timeout", "180s"])?;
    vcluster(&["connect", CLUSTER, "-n", NAMESPACE, "--kube-config", &path])?;
    progress.step("the virtual cluster is ready");
    let config = [path.as_ref(), &cluster.kubeconfig.to_string_lossy()].map(str::to_owned);
    let sides = config.map(|kubeconfig| Side {
        cluster,
        kubeconfig,
    });
    for side in &sides {
        side.kubectl(&["create", "namespace", PLACE], None)?;
        side.kubectl(&["apply", "-f", "-"], Some(CLAIM))?;
        // The first pod waits for its volume, and is not counted.
        side.round()?;
    }
    progress.step("both volumes are bound");
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (side, seconds) in sides.iter().zip(&mut seconds) {
            seconds.push(side.round()?);
        }
        progress.step(format_args!("round {round} of {rounds}"));
    }
    let [inside, outside] = seconds;
    let inside = Series {
        side: "inside",
        seconds: inside,
    };
    let outside = Series {
        side: "host",
        seconds: outside,
    };
    report::publish(
        "pods",
        "kubectl apply of a Service and its pod with a token and a bound volume, until the pod is Ready",
        [&inside, &outside],
    )?;
    sides[1].kubectl(&["delete", "namespace", PLACE], None)?;
    vcluster(&["delete", CLUSTER, "-n", NAMESPACE, "--timeout", "180s"])
}

/// Where pods are made.
struct Side<'a> {
    cluster: &'a Cluster,
    kubeconfig: String,
}

impl Side<'_> {
    fn kubectl(&self, args: &[&str], input: Option<&str>) -> Result<()> {
        let mut kubectl = self.cluster.kubectl(args)?;
        kubectl.env("KUBECONFIG", &self.kubeconfig).args([
            format!("--kubeconfig={}", self.kubeconfig),
            format!("--namespace={PLACE}"),
        ]);
        command::stdout_with_input(&mut kubectl, input.unwrap_or_default()).map(drop)
    }

    /// Makes the workload, waits until it is ready, says how long that took, and removes it.
    fn round(&self) -> Result<f64> {
        let clock = Stopwatch::start();
        self.kubectl(&["apply", "-f", "-"], Some(WORKLOAD))?;
        let timeout = format!("--timeout={}s", Deadline::seconds(PATIENCE).left());
        self.kubectl(
            &["wait", "--for=condition=Ready", "pod/web", &timeout],
            None,
        )?;
        let seconds = clock.seconds();
        self.kubectl(
            &["delete", "pod/web", "service/web", "--wait=true", &timeout],
            None,
        )?;
        Ok(seconds)
    }
}
