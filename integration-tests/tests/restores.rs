//! Stores that are lost or put back to an older state, and host namespaces that are made again: nothing is deleted on
//! doubt, and a person is told what to do.
//!
//! The files of the store are copied, put back and removed on the node, as an operator would do with the volume.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use integration_tests::{Host, Tenant, container, eventually, host};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const CLAIM: &str = "data-x-default-x-rolledback";

/// The files of a virtual cluster's store.
struct Store<'a> {
    tenant: &'a Tenant,
    folder: PathBuf,
}

impl<'a> Store<'a> {
    #[track_caller]
    fn of(tenant: &'a Tenant) -> Self {
        let (host, namespace) = (tenant.host(), &tenant.namespace);
        let claim = format!("-n {namespace} get pvc data-{}-0 -o json", tenant.name);
        let volume = host.kubectl(&claim).json()["spec"]["volumeName"].clone();
        let volume = volume.as_str().expect("the claim is bound");
        let volume = host.kubectl(&format!("get pv {volume} -o json")).json();
        let path = ["/spec/hostPath/path", "/spec/local/path"]
            .into_iter()
            .find_map(|path| volume.pointer(path)?.as_str());
        let folder = PathBuf::from(path.expect("the volume lies on the node"));
        Self { tenant, folder }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the store's folder can be read");
        let files = entries.flatten().map(|entry| entry.path());
        files.filter(|path| path.is_file()).collect()
    }

    fn copied(from: &Path, to: &Path) {
        for file in Self::files(from) {
            let name = file.file_name().expect("it is a file");
            fs::copy(&file, to.join(name)).expect("it can be copied");
        }
    }

    /// Copies the store while its server stands still.
    fn copy(&self) -> TempDir {
        let copy = TempDir::new().expect("a temporary folder can be made");
        let stopped = self.stopped();
        Self::copied(&self.folder, copy.path());
        drop(stopped);
        copy
    }

    /// Takes the control plane away, puts these files in the place of its store, or none, and has it come back.
    fn replace(&self, copy: Option<&TempDir>) {
        let stopped = self.stopped();
        let mut owner = None;
        for file in Self::files(&self.folder) {
            let metadata = fs::metadata(&file).expect("it can be read");
            owner = Some((metadata.uid(), metadata.gid()));
            fs::remove_file(file).expect("it can be removed");
        }
        if let Some(copy) = copy {
            Self::copied(copy.path(), &self.folder);
        }
        let (user, group) = owner.expect("the store has files");
        for file in Self::files(&self.folder) {
            chown(file, Some(user), Some(group)).expect("it can be given to the server");
        }
        let Tenant {
            name, namespace, ..
        } = self.tenant;
        let delete = format!("-n {namespace} delete pod {name}-0 --force --grace-period=0");
        self.tenant.host().kubectl(&delete).ok();
        // It is killed as it stands: going on it would write into what is in its place.
        std::mem::forget(stopped);
    }

    /// Stops the processes of the store's container.
    #[track_caller]
    fn stopped(&self) -> Stopped {
        let Tenant {
            name, namespace, ..
        } = self.tenant;
        let pod = format!("-n {namespace} get pod {name}-0 -o json");
        let pod = self.tenant.host().kubectl(&pod).json();
        let statuses = pod["status"]["initContainerStatuses"].as_array();
        let is_store = |status: &&Value| status["name"] == "kine";
        let status = statuses.into_iter().flatten().find(is_store);
        let id = status.and_then(|status| status["containerID"].as_str());
        let id = id.and_then(|id| id.rsplit('/').next());
        let processes = container::processes(id.expect("the store runs"));
        assert!(!processes.is_empty(), "the store has a process");
        let stopped = Stopped(processes.into_iter().filter_map(Pid::from_raw).collect());
        for process in &stopped.0 {
            kill_process(*process, Signal::STOP).expect("it can be signalled");
        }
        stopped
    }
}

/// Processes that stand still, and go on when it is dropped, however the test ends.
struct Stopped(Vec<Pid>);

impl Drop for Stopped {
    fn drop(&mut self) {
        for process in &self.0 {
            // One that has ended needs no signal.
            let _ = kill_process(*process, Signal::CONT);
        }
    }
}

fn pod(name: &str, claim: Option<&str>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "main", "image": "docker.io/library/busybox:latest",
             "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]},
    });
    if let Some(claim) = claim {
        pod["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
        pod["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "data", "mountPath": "/data"}]);
    }
    pod
}

fn config_map(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("map-{number}"), "namespace": "default"},
    })
}

fn claim() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    })
}

#[track_caller]
fn run(tenant: &Tenant, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    tenant.inside().apply(&list.to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod --all --timeout=180s")
        .ok();
}

/// The condition SyncReady, once it has the reason.
#[track_caller]
fn sync_ready(tenant: &Tenant, reason: &str) -> Value {
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    eventually(&format!("SyncReady says {reason}"), || {
        let args = format!("-n {namespace} get virtualcluster {name} -o json");
        let cluster = tenant.host().kubectl(&args).json();
        let conditions = cluster["status"]["conditions"].as_array();
        let is_it = |condition: &&Value| condition["type"] == "SyncReady";
        let found = conditions.into_iter().flatten().find(is_it).cloned();
        match found {
            Some(condition) if condition["reason"] == reason => Ok(condition),
            other => Err(format!("{other:?}")),
        }
    })
}

/// UIDs of the translated pods and of the claims.
fn uids(tenant: &Tenant) -> Vec<String> {
    let args = format!(
        "-n {} pods,pvc -l vcluster.dev/part=workload",
        tenant.namespace
    );
    let objects = tenant.host().list(&args);
    let uid = |object: &Value| object["metadata"]["uid"].to_string();
    let mut uids: Vec<_> = objects.iter().map(uid).collect();
    uids.sort_unstable();
    uids
}

/// Kills sync and waits until the new process has looked at the tenant and found it as the text says.
#[track_caller]
fn restart_sync(host: &Host, tenant: &Tenant, text: &str) {
    let selector = "app.kubernetes.io/component=sync";
    let restarts = || -> i64 {
        let pods = host.list(&format!("-n {} pods -l {selector}", host::RELEASE));
        let count = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64();
        pods.iter().filter_map(count).sum()
    };
    let before = restarts();
    container::kill(host, host::RELEASE, selector);
    eventually("sync has looked again", || {
        let args = format!("-n {} logs -l {selector} --tail=-1", host::RELEASE);
        let log = host.kubectl(&args).run();
        let says = |line: &str| line.contains(&tenant.namespace) && line.contains(text);
        if restarts() > before && log.stdout.lines().any(says) {
            Ok(())
        } else {
            Err(log)
        }
    });
}

#[track_caller]
fn accept(tenant: &Tenant) {
    let args = format!(
        "-n {} annotate configmap vcluster-env vcluster.dev/store-uid-",
        tenant.namespace
    );
    tenant.host().kubectl(&args).ok();
}

/// Gives the kept claim to the new one of its name, as the host's administrator does, and waits until a pod inside reads
/// the data.
#[track_caller]
fn hand_over(tenant: &Tenant) {
    let (host, namespace) = (tenant.host(), &tenant.namespace);
    let read = |by: &Host, claim: &str| by.kubectl(&format!("get pvc {claim} -o json")).json();
    let claim = read(&tenant.inside(), "data");
    assert_eq!(claim["status"]["phase"], "Pending", "{claim}");
    let uid = claim["metadata"]["uid"].as_str().expect("it has a UID");
    let of_namespace = format!("-n {namespace} {CLAIM}");
    let before = read(host, &of_namespace)["metadata"]["uid"].clone();
    host.kubectl(&format!(
        "-n {namespace} annotate --overwrite pvc {CLAIM} vcluster.dev/uid={uid}"
    ))
    .ok();
    let bound = "wait --for=jsonpath={.status.phase}=Bound pvc/data --timeout=120s";
    tenant.kubectl(bound).ok();
    let after = read(host, &of_namespace);
    assert_eq!(after["metadata"]["uid"], before, "it is the same");
    eventually("nothing is kept any more", || {
        let kept =
            read(host, &of_namespace)["metadata"]["annotations"]["vcluster.dev/kept"].clone();
        kept.is_null().then_some(()).ok_or(kept)
    });
    sync_ready(tenant, "Available");
    run(tenant, &[pod("third", Some("data"))]);
    let data = tenant.kubectl("exec third -- cat /data/file").ok();
    assert_eq!(data.trim(), "before");
}

#[test]
fn a_store_that_went_back_or_was_emptied_freezes_its_tenant_until_a_person_decides() {
    let tenant = Tenant::create("rolledback");
    let (host, namespace) = (tenant.host(), &tenant.namespace);
    run(&tenant, &[pod("first", None)]);
    let store = Store::of(&tenant);
    let copy = store.copy();
    run(&tenant, &[claim(), pod("second", Some("data"))]);
    let write = [
        "exec",
        "second",
        "--",
        "sh",
        "-c",
        "echo before > /data/file; sync",
    ];
    tenant.inside().kubectl_args(&write).ok();
    // A copy is seldom seconds old; and an API server writes a little itself as it starts.
    let maps: Vec<_> = (0..200).map(config_map).collect();
    run(&tenant, &maps);
    let before = uids(&tenant);
    assert_eq!(before.len(), 3);

    store.replace(Some(&copy));
    let said = sync_ready(&tenant, "StoreRolledBack")["message"].to_string();
    for part in ["version", "annotate configmap vcluster-env"] {
        assert!(said.contains(part), "{said}");
    }
    restart_sync(host, &tenant, "put back to an older state");
    tenant.wait_for("ControlPlaneReady");
    assert_eq!(
        uids(&tenant),
        before,
        "nothing is deleted until a person decides"
    );

    accept(&tenant);
    let said = sync_ready(&tenant, "ObjectsKept")["message"].to_string();
    assert!(
        said.contains("PersistentVolumeClaim default/data"),
        "{said}"
    );
    eventually("the pod that the store lacks goes", || {
        match tenant.host_pods() {
            left if left.len() == 1 => Ok(()),
            left => Err(format!("{} left", left.len())),
        }
    });
    let kept = format!("-n {namespace} get pvc {CLAIM} -o json");
    let kept = host.kubectl(&kept).json();
    assert!(before.contains(&kept["metadata"]["uid"].to_string()));

    // A new claim of that name does not take the data by itself.
    tenant.inside().apply(&claim().to_string());
    eventually("the new claim is told", || {
        let events = tenant.kubectl("get events -A").run();
        if events.stdout.contains("is kept on the host") {
            Ok(())
        } else {
            Err(events)
        }
    });
    hand_over(&tenant);
    let before = uids(&tenant);
    store.replace(None);
    sync_ready(&tenant, "StoreReplaced");
    restart_sync(host, &tenant, "was emptied or replaced");
    assert_eq!(uids(&tenant), before, "an empty store deletes nothing");
    accept(&tenant);
    sync_ready(&tenant, "ObjectsKept");
    eventually("pods that the store lacks go", || {
        match tenant.host_pods() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{} left", left.len())),
        }
    });
    let kept = format!("-n {namespace} get pvc {CLAIM} -o json");
    let kept = host.kubectl(&kept).json();
    assert!(before.contains(&kept["metadata"]["uid"].to_string()));
}

#[test]
fn a_host_namespace_that_is_made_again_is_another_one_and_what_was_restored_into_it_is_not_touched()
{
    let tenant = Tenant::create("again");
    let (host, namespace) = (tenant.host(), &tenant.namespace);
    run(&tenant, &[claim(), pod("web", Some("data"))]);
    let read = |what: &str| {
        host.kubectl(&format!("-n {namespace} get {what} -o json"))
            .json()
    };
    let mut restored = vec![
        read("configmap vcluster-env"),
        read("pvc data-x-default-x-again"),
    ];
    host.kubectl(&format!("delete namespace {namespace} --timeout=180s"))
        .ok();

    // As a backup of the namespace has them: without owners, with the annotations of the earlier cluster.
    let label = json!({"vcluster.dev/host": "true"});
    let again = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": label}});
    host.apply(&again.to_string());
    for object in &mut restored {
        for field in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "ownerReferences",
            "finalizers",
        ] {
            object["metadata"]
                .as_object_mut()
                .expect("it has metadata")
                .remove(field);
        }
        object
            .as_object_mut()
            .expect("it is an object")
            .remove("status");
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("volumeName");
        }
        host.apply(&object.to_string());
    }
    let uid = |what: &str| read(what)["metadata"]["uid"].clone();
    let claim_uid = uid("pvc data-x-default-x-again");
    host.vcluster(&format!("create {} -n {namespace} --no-wait", tenant.name))
        .ok();
    let said = sync_ready(&tenant, "ObjectConflict")["message"].to_string();
    assert!(said.contains("vcluster-env"), "{said}");
    host.kubectl(&format!("-n {namespace} delete configmap vcluster-env"))
        .ok();
    tenant.wait_for("Ready");
    tenant.connect();
    tenant.inside().apply(&claim().to_string());
    eventually("the new claim is told", || {
        let events = tenant.kubectl("get events -A").run();
        if events.stdout.contains("HostNameTaken") {
            Ok(())
        } else {
            Err(events)
        }
    });
    assert_eq!(uid("pvc data-x-default-x-again"), claim_uid);
    run(&tenant, &[pod("web", None)]);
}
