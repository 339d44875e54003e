//! A virtual cluster made for a test.

use std::{path::PathBuf, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Command, Host, host};

/// A virtual cluster, and the kubeconfig by which its creator reaches it through the gateway. It is
/// deleted when the value is dropped; a failing test prints the cluster's state first.
#[derive(Debug)]
pub struct Tenant {
    host: Host,
    /// Name of the virtual cluster.
    pub name: String,
    /// Its host namespace.
    pub namespace: String,
    folder: TempDir,
}

impl Tenant {
    /// Creates one with the command line and waits until it is ready.
    #[track_caller]
    pub fn create(purpose: &str) -> Self {
        let tenant = Self::unmade(purpose);
        let (name, namespace) = (&tenant.name, &tenant.namespace);
        tenant
            .host
            .vcluster(&format!("create {name} -n {namespace} --timeout 180s"))
            .ok();
        tenant.connect();
        tenant
    }

    /// Creates two at once.
    #[track_caller]
    pub fn pair(one: &str, other: &str) -> (Self, Self) {
        thread::scope(|scope| {
            let other = scope.spawn(|| Self::create(other));
            let one = Self::create(one);
            (one, other.join().expect("the other is created too"))
        })
    }

    /// Names for one that the test makes itself.
    pub fn unmade(purpose: &str) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self {
            host: Host::get(),
            name: purpose.to_owned(),
            namespace: format!("test-{purpose}-{}", &id[..6]),
            folder: TempDir::new().expect("a temporary folder can be made"),
        }
    }

    /// Writes the kubeconfig of this cluster for the host's administrator.
    #[track_caller]
    pub fn connect(&self) {
        let path = self.kubeconfig();
        let (name, namespace) = (&self.name, &self.namespace);
        self.host
            .vcluster(&format!(
                "connect {name} -n {namespace} --kube-config {}",
                path.display()
            ))
            .ok();
    }

    /// The host cluster.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// A folder that lives as long as this value.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Path of the kubeconfig that leads into the virtual cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("virtual.kubeconfig")
    }

    /// The inside of the virtual cluster.
    pub fn inside(&self) -> Host {
        Host::by(self.kubeconfig())
    }

    /// kubectl inside the virtual cluster.
    pub fn kubectl(&self, args: &str) -> Command {
        self.inside().kubectl(args)
    }

    /// Host pods that were translated from this cluster.
    #[track_caller]
    pub fn host_pods(&self) -> Vec<Value> {
        self.host.list(&format!(
            "-n {} pods -l vcluster.dev/part=workload",
            self.namespace
        ))
    }

    /// Patches the VirtualCluster, as its owner on the host does: a JSON merge patch (RFC 7386).
    pub fn patch(&self, patch: &Value) -> Command {
        let (name, namespace) = (&self.name, &self.namespace);
        self.host.kubectl_args(&[
            "-n",
            namespace,
            "patch",
            "virtualcluster",
            name,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ])
    }

    /// Patches its `spec.sync`.
    pub fn patch_sync(&self, policy: &Value) -> Command {
        self.patch(&json!({"spec": {"sync": policy}}))
    }

    /// Waits until the VirtualCluster has the condition.
    #[track_caller]
    pub fn wait_for(&self, condition: &str) {
        let (name, namespace) = (&self.name, &self.namespace);
        self.host
            .kubectl(&format!(
                "-n {namespace} wait --for=condition={condition} virtualcluster/{name} --timeout=180s"
            ))
            .ok();
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.host.report(&self.namespace));
        }
        let (name, namespace) = (&self.name, &self.namespace);
        let delete =
            format!("-n {namespace} delete virtualcluster {name} --ignore-not-found --wait=false");
        for args in [
            delete,
            format!("delete namespace {namespace} --ignore-not-found --wait=false"),
        ] {
            let output = self.host.kubectl(&args).run();
            if !output.succeeded() {
                eprintln!("{output}");
            }
        }
    }
}

/// Name of an object; see [`host::name`].
pub fn name(object: &Value) -> &str {
    host::name(object)
}
