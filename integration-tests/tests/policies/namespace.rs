//! Namespaces of the tests, and who writes in them.

use integration_tests::{Command, Host, host};
use serde_json::{Value, json};

/// A namespace of a test, removed with it.
pub(super) struct Namespace {
    pub(super) host: Host,
    pub(super) name: &'static str,
}

impl Namespace {
    #[track_caller]
    pub(super) fn create(name: &'static str, labels: &Value) -> Self {
        let host = Host::get();
        let metadata = json!({"name": name, "labels": labels});
        host.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).to_string(),
        );
        Self { host, name }
    }

    pub(super) fn opened(name: &'static str) -> Self {
        Self::create(name, &json!({"vcluster.dev/host": "true"}))
    }

    /// Lets the tenant's account, and control, do here what control would let them do.
    #[track_caller]
    pub(super) fn bind(&self) {
        let account = |name: &str, namespace: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        let binding = |role: &str, subjects: Value| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": self.name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": subjects,
            })
        };
        let tenants = [
            account("vcluster-sync", self.name),
            account("vcluster-control", host::RELEASE),
        ];
        let sync = [account("vcluster-sync", host::RELEASE)];
        for object in [
            self.object("v1", "ServiceAccount", "vcluster-sync", &json!({})),
            self.object("v1", "ServiceAccount", "vcluster-workload", &json!({})),
            binding("vcluster-tenant", json!(tenants)),
            binding("vcluster-tenant-token", json!(sync)),
        ] {
            self.host.apply(&object.to_string());
        }
    }

    pub(super) fn object(&self, version: &str, kind: &str, name: &str, more: &Value) -> Value {
        let mut object = json!({
            "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": self.name},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("labels", labels) => object["metadata"]["labels"] = labels.clone(),
                (key, value) => object[key] = value.clone(),
            }
        }
        object
    }

    pub(super) fn create_as(&self, who: &str, object: &Value) -> Command {
        let command = self
            .host
            .kubectl(&format!("create --dry-run=server -f - --as={who}"));
        command.input(object.to_string())
    }

    pub(super) fn patch_as(&self, who: &str, what: &str, patch: &Value) -> Command {
        let who = format!("--as={who}");
        let patch = patch.to_string();
        let mut args = vec![
            "patch",
            "-n",
            self.name,
            "--dry-run=server",
            "--type=merge",
            "-p",
            &patch,
        ];
        args.extend(what.split(' '));
        args.push(&who);
        self.host.kubectl_args(&args)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let args = format!(
            "delete namespace {} --wait=false --ignore-not-found",
            self.name
        );
        self.host.kubectl(&args).run();
    }
}

pub(super) fn service(name: &str) -> String {
    format!("system:serviceaccount:{}:{name}", host::RELEASE)
}
