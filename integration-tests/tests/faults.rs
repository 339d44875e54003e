//! Services die in the middle of what they do, and it ends the same.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use integration_tests::{Host, Tenant, container, eventually, host};
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
    .refused(&["there are virtual clusters: ", "Delete them first"]);
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

/// Runs so many replicas of sync, until dropped; then as many as before.
struct Scaled {
    host: Host,
    before: u64,
}

impl Scaled {
    fn to(replicas: u64) -> Self {
        let host = Host::get();
        let deployment = host.kubectl(&format!(
            "-n {} get deployment vcluster-sync -o json",
            host::RELEASE
        ));
        let before = deployment.json()["spec"]["replicas"].as_u64().unwrap_or(1);
        let scaled = Self { host, before };
        scaled.scale(replicas);
        scaled
    }

    fn scale(&self, replicas: u64) {
        let release = host::RELEASE;
        for args in [
            format!("-n {release} scale deployment/vcluster-sync --replicas={replicas}"),
            format!("-n {release} rollout status deployment/vcluster-sync --timeout=180s"),
        ] {
            self.host.kubectl(&args).ok();
        }
    }

    /// The pod of the replica that serves a tenant, by its Lease; empty if none does.
    fn serving(&self, tenant: &Tenant) -> String {
        let cluster = format!(
            "-n {} get virtualcluster {} -o json",
            tenant.namespace, tenant.name
        );
        let uid = self.host.kubectl(&cluster).json()["metadata"]["uid"].clone();
        let lease = format!(
            "-n {} get lease vcluster-sync-tenant-{} -o json",
            host::RELEASE,
            uid.as_str().unwrap_or_default()
        );
        let lease = self.host.kubectl(&lease).run();
        let lease: Value = serde_json::from_str(&lease.stdout).unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        holder.split('@').next().unwrap_or_default().to_owned()
    }

    fn pods(&self) -> Vec<String> {
        let all = self.host.list(&format!(
            "-n {} pods -l app.kubernetes.io/component=sync",
            host::RELEASE
        ));
        let live = all
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        live.map(|pod| host::name(pod).to_owned()).collect()
    }
}

impl Drop for Scaled {
    fn drop(&mut self) {
        let scale = format!(
            "-n {} scale deployment/vcluster-sync --replicas={}",
            host::RELEASE,
            self.before
        );
        // Best effort: the test that needs another number sets it.
        drop(self.host.kubectl(&scale).run());
    }
}

fn sleeper(tenant: &Tenant, name: &str) {
    tenant
        .kubectl(&format!(
            "run {name} --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent -- sleep 3600"
        ))
        .ok();
}

fn runs(tenant: &Tenant, name: &str) {
    tenant
        .kubectl(&format!(
            "wait --for=condition=Ready pod/{name} --timeout=120s"
        ))
        .ok();
}

/// UIDs of the host pods, by name.
fn host_uids(tenant: &Tenant) -> Vec<String> {
    let pods = tenant.host_pods();
    let mut uids: Vec<_> = pods
        .iter()
        .map(|pod| pod["metadata"]["uid"].to_string())
        .collect();
    uids.sort();
    uids
}

#[test]
fn replicas_of_sync_share_tenants_and_take_over_from_one_that_is_killed_or_restarted() {
    let _alone = alone();
    let scaled = Scaled::to(2);
    let (one, other) = Tenant::pair("shareone", "shareother");
    let tenants = [&one, &other];
    for tenant in tenants {
        sleeper(tenant, "before");
        runs(tenant, "before");
    }
    let before: Vec<_> = tenants.iter().map(|tenant| host_uids(tenant)).collect();
    let killed = scaled.serving(&one);
    assert!(!killed.is_empty(), "somebody serves it");
    // Whichever replica is asked, the one that serves the tenant answers.
    for tenant in tenants {
        let usage = format!("usage {} -n {} -o json", tenant.name, tenant.namespace);
        let spent = scaled.host.vcluster(&usage).json()["items"][0].clone();
        assert_eq!(spent["state"], "Synced", "{spent}");
    }
    let kill = format!(
        "-n {} delete pod {killed} --force --grace-period=0",
        host::RELEASE
    );
    scaled.host.kubectl(&kill).ok();
    eventually("another replica serves it", || {
        let serving = scaled.serving(&one);
        let taken = serving != killed && scaled.pods().contains(&serving);
        taken.then_some(()).ok_or(serving)
    });
    for tenant in tenants {
        sleeper(tenant, "after");
        runs(tenant, "after");
    }
    let release = host::RELEASE;
    for args in [
        format!("-n {release} rollout restart deployment/vcluster-sync"),
        format!("-n {release} rollout status deployment/vcluster-sync --timeout=180s"),
    ] {
        scaled.host.kubectl(&args).ok();
    }
    for (tenant, before) in tenants.iter().zip(before) {
        sleeper(tenant, "restarted");
        runs(tenant, "restarted");
        let now = host_uids(tenant);
        assert_eq!(now.len(), 3);
        assert!(
            before.iter().all(|uid| now.contains(uid)),
            "nothing was deleted"
        );
        let serving = scaled.serving(tenant);
        assert!(scaled.pods().contains(&serving), "{serving}");
    }
}
