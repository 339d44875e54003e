//! The chart's admission policies: what the services' accounts may not do although RBAC lets them,
//! and what they may still do. Writes are tried with `--dry-run=server`, which asks the policies
//! like any write.

use integration_tests::{Host, host};
use serde_json::{Value, json};

/// A namespace of a test, removed with it.
struct Namespace {
    host: Host,
    name: &'static str,
}

impl Namespace {
    #[track_caller]
    fn create(name: &'static str, labels: &Value) -> Self {
        let host = Host::get();
        let metadata = json!({"name": name, "labels": labels});
        host.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).to_string(),
        );
        Self { host, name }
    }

    fn opened(name: &'static str) -> Self {
        Self::create(name, &json!({"vcluster.dev/host": "true"}))
    }

    /// Lets the tenant's account, and control, do here what control would let them do.
    #[track_caller]
    fn bind(&self) {
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

    fn object(&self, version: &str, kind: &str, name: &str, more: &Value) -> Value {
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

    fn create_as(&self, who: &str, object: &Value) -> integration_tests::Command {
        let command = self
            .host
            .kubectl(&format!("create --dry-run=server -f - --as={who}"));
        command.input(object.to_string())
    }

    fn patch_as(&self, who: &str, what: &str, patch: &Value) -> integration_tests::Command {
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

fn service(name: &str) -> String {
    format!("system:serviceaccount:{}:{name}", host::RELEASE)
}

#[test]
fn control_writes_in_opened_namespaces_and_in_no_other() {
    let opened = Namespace::opened("test-policy-opened");
    let closed = Namespace::create("test-policy-closed", &json!({}));
    let refused = Namespace::create(
        "test-policy-refused",
        &json!({"vcluster.dev/host": "false"}),
    );
    let control = service("vcluster-control");
    let port = json!({"spec": {"ports": [{"port": 443}]}});
    for (version, kind, more) in [("v1", "Service", port), ("v1", "ServiceAccount", json!({}))] {
        let object = |place: &Namespace| place.object(version, kind, "demo", &more);
        opened.create_as(&control, &object(&opened)).ok();
        for place in [&closed, &refused] {
            let refusal = ["not a namespace labelled vcluster.dev/host=true"];
            place.create_as(&control, &object(place)).refused(&refusal);
        }
    }
    // Its own namespace is for keys and Leases: a RoleBinding there would make it sync.
    let mut binding = opened.object("rbac.authorization.k8s.io/v1", "RoleBinding", "x", &json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vcluster-tenant-token"},
        "subjects": [],
    }));
    opened.create_as(&control, &binding).ok();
    binding["metadata"]["namespace"] = host::RELEASE.into();
    opened
        .create_as(&control, &binding)
        .refused(&["may not write rolebindings"]);
}

#[test]
fn control_takes_over_no_namespace() {
    let opened = Namespace::opened("test-policy-ours");
    let closed = Namespace::create("test-policy-theirs", &json!({}));
    let control = service("vcluster-control");
    let labels = |value: Value| json!({"metadata": {"labels": {"vcluster.dev/host": value}}});
    let patch = |place: &Namespace, patch: &Value| {
        place.patch_as(&control, &format!("namespace {}", place.name), patch)
    };
    patch(&opened, &json!({"metadata": {"annotations": {"a": "b"}}})).ok();
    patch(&opened, &labels(Value::Null)).refused(&["must bear the label"]);
    patch(&opened, &labels("false".into())).refused(&["must bear the label"]);
    let near =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    patch(&opened, &near).refused(&["may not let pods reach the nodes"]);
    patch(&closed, &labels("true".into())).refused(&["only namespaces labelled"]);
    for (name, place) in [("kube-public", &closed), (closed.name, &closed)] {
        let args = format!("delete namespace {name} --dry-run=server --as={control}");
        place.host.kubectl(&args).refused(&["orbidden"]);
    }
}

#[test]
fn a_host_namespace_takes_one_virtual_cluster() {
    // Without the label, so that nobody builds it.
    let place = Namespace::create("test-policy-one", &json!({}));
    let cluster = |name: &str| {
        place.object(
            "vcluster.dev/v1alpha1",
            "VirtualCluster",
            name,
            &json!({"spec": {}}),
        )
    };
    place.host.apply(&cluster("first").to_string());
    let refusal = "host namespace \"test-policy-one\" already has the virtual cluster \"first\": one per host namespace";
    let second = place
        .host
        .kubectl("create -f -")
        .input(cluster("second").to_string());
    second.refused(&[refusal]);
    let again = place
        .host
        .kubectl("create -f -")
        .input(cluster("first").to_string());
    again.refused(&["AlreadyExists"]);
    place
        .host
        .kubectl("-n test-policy-one delete virtualcluster first --wait=false")
        .ok();
}

#[test]
fn sync_changes_its_own_part_of_a_virtual_cluster() {
    let place = Namespace::create("test-policy-part", &json!({}));
    let cluster = place.object(
        "vcluster.dev/v1alpha1",
        "VirtualCluster",
        "first",
        &json!({"spec": {}}),
    );
    place.host.apply(&cluster.to_string());
    let sync = service("vcluster-sync");
    let patch = |more: &str, patch: &Value| {
        place.patch_as(&sync, &format!("virtualcluster first{more}"), patch)
    };
    let found = place.host.list("-n test-policy-part virtualclusters");
    let mut finalizers = found[0]["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.push("vcluster.dev/sync".into());
    patch("", &json!({"metadata": {"finalizers": finalizers}})).ok();
    finalizers.push("example.com/other".into());
    for change in [
        json!({"metadata": {"finalizers": finalizers}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"version": "1.37.0"}}),
    ] {
        patch("", &change).refused(&["only its own finalizer"]);
    }
    // By server-side apply, as sync does it: the patch of kubectl reads first, which sync may not.
    let status = json!({"phase": "Failed", "endpoint": "https://192.0.2.1"});
    let status = place.object(
        "vcluster.dev/v1alpha1",
        "VirtualCluster",
        "first",
        &json!({"status": status}),
    );
    let args = format!(
        "apply --server-side --force-conflicts --subresource=status --dry-run=server -f - --as={sync}"
    );
    place
        .host
        .kubectl(&args)
        .input(status.to_string())
        .refused(&["only the condition SyncReady"]);
    place
        .host
        .kubectl("-n test-policy-part delete virtualcluster first --wait=false")
        .ok();
}

#[test]
fn a_tenants_account_writes_translated_objects_and_powerless_pods() {
    let place = Namespace::opened("test-policy-tenant");
    place.bind();
    place.host.apply(
        &place
            .object("v1", "Secret", "vcluster-pki", &json!({}))
            .to_string(),
    );
    let tenant = "system:serviceaccount:test-policy-tenant:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    let pod = |labels: &Value, spec: Value| {
        let mut pod = json!({
            "serviceAccountName": "vcluster-workload", "containers": [{"name": "a", "image": "a"}],
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            pod[key] = value.clone();
        }
        place.object("v1", "Pod", "p", &json!({"labels": labels, "spec": pod}))
    };
    place.create_as(tenant, &pod(&workload, json!({}))).ok();
    for (pod, refusal) in [
        (pod(&json!({}), json!({})), "vcluster.dev/part=workload"),
        (
            pod(&workload, json!({"serviceAccountName": "vcluster-sync"})),
            "vcluster-workload",
        ),
        (pod(&workload, json!({"hostNetwork": true})), "host's node"),
        (pod(&workload, json!({"hostPID": true})), "host's node"),
        (
            pod(
                &workload,
                json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            ),
            "host's node",
        ),
        (
            pod(
                &workload,
                json!({"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": true}}]}),
            ),
            "may not be privileged",
        ),
        (
            pod(
                &workload,
                json!({"containers": [{"name": "a", "image": "a", "ports": [{"containerPort": 1, "hostPort": 1}]}]}),
            ),
            "nor open a port",
        ),
        (
            pod(
                &workload,
                json!({"volumes": [{"name": "v", "secret": {"secretName": "vcluster-pki"}}]}),
            ),
            "may not mount the control plane's Secrets",
        ),
        (
            pod(
                &workload,
                json!({"containers": [{"name": "a", "image": "a", "envFrom": [{"secretRef": {"name": "vcluster-pki"}}]}]}),
            ),
            "may not read the control plane's Secrets",
        ),
    ] {
        place.create_as(tenant, &pod).refused(&[refusal]);
    }
    let secret = |type_: &str| {
        let mut secret = place.object(
            "v1",
            "Secret",
            "s",
            &json!({"labels": workload, "type": type_}),
        );
        secret["metadata"]["annotations"] =
            json!({"kubernetes.io/service-account.name": "vcluster-sync"});
        secret
    };
    place.create_as(tenant, &secret("Opaque")).ok();
    place
        .create_as(tenant, &secret("kubernetes.io/service-account-token"))
        .refused(&["tokens of the host"]);
    place
        .patch_as(
            tenant,
            "secret vcluster-pki",
            &json!({"metadata": {"labels": workload}}),
        )
        .refused(&["only translated objects"]);
    let args = format!(
        "-n {} delete secret vcluster-pki --dry-run=server --as={tenant}",
        place.name
    );
    place
        .host
        .kubectl(&args)
        .refused(&["only translated objects"]);
}
