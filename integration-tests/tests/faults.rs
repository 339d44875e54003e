//! Services die in the middle of what they do, and it ends the same.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use integration_tests::{Tenant, container, eventually, host};
use serde_json::{Value, json};

const CONTROL_PLANE: &str = "vcluster.dev/part=control-plane";

/// One fault at a time: the services are everybody's, and a scenario that waits through the gateway
/// must not have it killed by another one.
fn alone() -> MutexGuard<'static, ()> {
    static FAULT: Mutex<()> = Mutex::new(());
    FAULT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(tenant: &Tenant, service: &str) {
    let selector = format!("app.kubernetes.io/component={service}");
    container::kill(tenant.host(), host::RELEASE, &selector);
}

fn pods(namespace: &str, count: usize) -> String {
    let items: Vec<Value> = (0..count)
        .map(|i| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("p{i}"), "namespace": namespace},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "main", "image": "docker.io/library/busybox:latest",
                     "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]},
            })
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[test]
fn control_killed_while_it_creates_and_while_it_deletes() {
    let _alone = alone();
    let tenant = Tenant::unmade("killed");
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let host = tenant.host();
    host.vcluster(&format!("create {name} -n {namespace} --no-wait"))
        .ok();
    kill(&tenant, "control");
    tenant.wait_for("Ready");
    host.kubectl(&format!(
        "-n {namespace} delete virtualcluster {name} --wait=false"
    ))
    .ok();
    kill(&tenant, "control");
    eventually("everything goes", || {
        let output = host.kubectl(&format!("get namespace {namespace}")).run();
        if output.stderr.contains("NotFound") {
            Ok(())
        } else {
            Err(output)
        }
    });
}

#[test]
fn sync_killed_while_pods_come_and_go() {
    let _alone = alone();
    let tenant = Tenant::create("syncdies");
    tenant.inside().apply(&pods("default", 5));
    kill(&tenant, "sync");
    tenant
        .kubectl("wait --for=condition=Ready pod --all --timeout=180s")
        .ok();
    let uids = || -> Vec<String> {
        let mut uids: Vec<String> = tenant
            .host_pods()
            .iter()
            .map(|p| p["metadata"]["uid"].to_string())
            .collect();
        uids.sort_unstable();
        uids
    };
    let before = uids();
    kill(&tenant, "sync");
    tenant.wait_for("SyncReady");
    assert_eq!(uids(), before, "a restart replaces nothing");

    tenant.kubectl("delete pods --all --wait=false").ok();
    kill(&tenant, "sync");
    eventually("the host pods go", || match tenant.host_pods() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{} left", left.len())),
    });
}

#[test]
fn a_stream_ends_when_sync_is_killed_and_the_next_one_works() {
    let _alone = alone();
    let tenant = Tenant::create("cutoff");
    tenant.inside().apply(&pods("default", 1));
    tenant
        .kubectl("wait --for=condition=Ready pod/p0 --timeout=120s")
        .ok();
    for websocket in ["true", "false"] {
        let script = "echo begun; sleep 3600";
        let mut child = std::process::Command::new("kubectl")
            .args(["exec", "p0", "--", "sh", "-c", script])
            .env("KUBECONFIG", tenant.kubeconfig())
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("the command speaks");
        assert_eq!(line, "begun\n");
        kill(&tenant, "sync");
        let status = child.wait().expect("kubectl ends");
        // Over SPDY kubectl takes a lost connection for the end of the command, on any cluster.
        assert!(
            websocket == "false" || !status.success(),
            "a WebSocket that was cut off is no success"
        );
        eventually("the next command works", || {
            let output = tenant.kubectl("exec p0 -- echo again").run();
            if output.stdout == "again\n" {
                Ok(())
            } else {
                Err(output)
            }
        });
    }
}

#[test]
fn connect_killed_while_it_serves() {
    let _alone = alone();
    let tenant = Tenant::create("gatedies");
    kill(&tenant, "connect");
    eventually("the gateway is back", || {
        let output = tenant.kubectl("get namespaces").run();
        if output.succeeded() {
            Ok(())
        } else {
            Err(output)
        }
    });
}

#[test]
fn a_dead_control_plane_freezes_its_tenant_and_deletes_nothing() {
    let _alone = alone();
    let tenant = Tenant::create("frozen");
    tenant.inside().apply(&pods("default", 2));
    tenant
        .kubectl("wait --for=condition=Ready pod --all --timeout=120s")
        .ok();
    let uids = || -> Vec<Value> {
        tenant
            .host_pods()
            .iter()
            .map(|p| p["metadata"]["uid"].clone())
            .collect()
    };
    let before = uids();
    let args = format!(
        "-n {} delete pod -l {CONTROL_PLANE} --force --grace-period=0 --wait=false",
        tenant.namespace
    );
    tenant.host().kubectl(&args).ok();
    tenant.wait_for("Ready=false");
    assert_eq!(
        uids(),
        before,
        "nothing is deleted while the virtual API is away"
    );
    tenant.wait_for("Ready");
    assert_eq!(uids(), before, "nor when it is back");
    tenant.kubectl("delete pods --all --wait=false").ok();
    eventually("it goes on", || match tenant.host_pods() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{} left", left.len())),
    });
}

#[test]
fn uninstalling_with_living_clusters_is_refused_and_they_go_on() {
    let _alone = alone();
    let tenant = Tenant::create("stays");
    let host = tenant.host();
    host.program(
        "helm",
        &[
            "uninstall",
            "vcluster",
            "-n",
            host::RELEASE,
            "--timeout",
            "60s",
        ],
    )
    .refused(&[]);
    host.kubectl(&format!(
        "-n {} rollout status deploy/vcluster-control --timeout=60s",
        host::RELEASE
    ))
    .ok();
    tenant.kubectl("get namespaces").ok();
    // helm has marked the release before the hook refused; this is how an operator takes it back.
    let revision = host
        .program(
            "helm",
            &["status", "vcluster", "-n", host::RELEASE, "-o", "json"],
        )
        .json()["version"]
        .clone();
    host.program(
        "helm",
        &[
            "rollback",
            "vcluster",
            &revision.to_string(),
            "-n",
            host::RELEASE,
        ],
    )
    .ok();
}

#[test]
fn a_service_that_is_made_while_sync_is_down_is_refused_and_gets_no_wrong_address() {
    let _alone = alone();
    let tenant = Tenant::create("syncdown");
    let scale = |replicas: u32| {
        let (release, host) = (host::RELEASE, tenant.host());
        host.kubectl(&format!(
            "-n {release} scale deployment/vcluster-sync --replicas={replicas}"
        ))
        .ok();
        host.kubectl(&format!(
            "-n {release} rollout status deployment/vcluster-sync --timeout=180s"
        ))
        .ok();
    };
    let replicas = tenant
        .host()
        .kubectl(&format!(
            "-n {} get deployment vcluster-sync -o json",
            host::RELEASE
        ))
        .json()["spec"]["replicas"]
        .as_u64()
        .unwrap_or(1);
    scale(0);
    let refused = eventually("sync is gone", || {
        let output = tenant
            .kubectl("create service clusterip web --tcp=80")
            .run();
        if output.succeeded() {
            drop(tenant.kubectl("delete service web").run());
            return Err(output);
        }
        Ok(output)
    });
    scale(u32::try_from(replicas).unwrap_or(1));
    assert!(
        refused.stderr.contains("failed calling webhook"),
        "{refused}"
    );
    eventually("Services are made again", || {
        let output = tenant
            .kubectl("create service clusterip web --tcp=80")
            .run();
        if output.succeeded() {
            Ok(())
        } else {
            Err(output)
        }
    });
}
