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
    binding["metadata"]["name"] = "vcluster-tenant-token".into();
    opened.create_as(&control, &binding).ok();
    for subject in [
        json!({"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}),
        json!({"kind": "ServiceAccount", "name": "default", "namespace": opened.name}),
        json!({"kind": "ServiceAccount", "name": "vcluster-sync", "namespace": opened.name}),
    ] {
        let mut wide = binding.clone();
        wide["subjects"] = json!([subject]);
        opened
            .create_as(&control, &wide)
            .refused(&["only to the accounts of vcluster"]);
    }
    binding["metadata"]["name"] = "another".into();
    opened
        .create_as(&control, &binding)
        .refused(&["only under their own names"]);
    binding["metadata"]["namespace"] = host::RELEASE.into();
    opened
        .create_as(&control, &binding)
        .refused(&["may not write rolebindings"]);
}

#[test]
fn control_runs_nothing_that_reaches_a_node() {
    let opened = Namespace::opened("test-policy-runs");
    opened.bind();
    let control = service("vcluster-control");
    let stateful = |pod: &Value| {
        opened.object(
            "apps/v1",
            "StatefulSet",
            "x",
            &json!({"spec": {
                "serviceName": "x", "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
            }}),
        )
    };
    let plain = json!({"containers": [{"name": "a", "image": "a"}]});
    opened.create_as(&control, &stateful(&plain)).ok();
    for reaching in [
        json!({"hostNetwork": true}),
        json!({"hostPID": true}),
        json!({"hostIPC": true}),
        json!({"serviceAccountName": "vcluster-sync"}),
        volume(json!({"hostPath": {"path": "/"}})),
        volume(json!({"nfs": {"server": "192.0.2.1", "path": "/"}})),
        container(json!({"securityContext": {"privileged": true}})),
        container(json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
        container(json!({"ports": [{"containerPort": 1, "hostPort": 1}]})),
        json!({"initContainers": [{"name": "i", "image": "a", "securityContext": {"privileged": true}}]}),
    ] {
        let mut pod = plain.clone();
        for (key, value) in reaching.as_object().into_iter().flatten() {
            pod[key] = value.clone();
        }
        opened
            .create_as(&control, &stateful(&pod))
            .refused(&["may not reach the host's node"]);
    }
    opened
        .create_as(
            &control,
            &opened.object("v1", "Pod", "x", &json!({"spec": plain})),
        )
        .refused(&["control makes no pods"]);
    for spec in [
        json!({"ports": [{"port": 1}], "externalIPs": ["192.0.2.1"]}),
        json!({"ports": [{"port": 1}], "type": "NodePort"}),
    ] {
        opened
            .create_as(
                &control,
                &opened.object("v1", "Service", "x", &json!({"spec": spec})),
            )
            .refused(&["only Services of type ClusterIP"]);
    }
    let token = json!({"type": "kubernetes.io/service-account-token"});
    let mut token = opened.object("v1", "Secret", "x", &token);
    token["metadata"]["annotations"] = json!({"kubernetes.io/service-account.name": "default"});
    opened
        .create_as(&control, &token)
        .refused(&["tokens of service accounts"]);
}

#[test]
fn what_was_made_without_the_label_can_be_deleted_by_control() {
    let closed = Namespace::create("test-policy-left", &json!({}));
    let cluster = closed.object(
        "vcluster.dev/v1alpha1",
        "VirtualCluster",
        "left",
        &json!({"spec": {}}),
    );
    closed.host.apply(&cluster.to_string());
    let args = format!(
        "-n {} delete virtualcluster left --dry-run=server --as={}",
        closed.name,
        service("vcluster-control")
    );
    closed.host.kubectl(&args).ok();
    let args = format!("-n {} delete virtualcluster left --wait=false", closed.name);
    closed.host.kubectl(&args).ok();
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
    let level = |level: Value| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    patch(&opened, &level("privileged".into())).refused(&["may not let pods reach the nodes"]);
    let fenced =
        json!({"vcluster.dev/host": "true", "pod-security.kubernetes.io/enforce": "restricted"});
    let fenced = Namespace::create("test-policy-fenced", &fenced);
    for lower in [Value::Null, "baseline".into()] {
        patch(&fenced, &level(lower)).refused(&["may not change the labels"]);
    }
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
    let applied = |status: &Value| {
        let args = format!(
            "apply --server-side --force-conflicts --subresource=status --dry-run=server -f - --as={sync}"
        );
        let (version, kind) = ("vcluster.dev/v1alpha1", "VirtualCluster");
        let object = place.object(version, kind, "first", &json!({ "status": status }));
        place.host.kubectl(&args).input(object.to_string())
    };
    for status in [
        json!({"phase": "Ready"}),
        json!({"endpoint": "https://192.0.2.1"}),
        json!({"message": "all is well"}),
        json!({"version": "1.37.9"}),
        json!({"observedGeneration": 7}),
        json!({"serviceCIDRs": ["192.0.2.0/28"]}),
        json!({"dnsAddress": "192.0.2.1"}),
    ] {
        applied(&status).refused(&["only the conditions SyncReady"]);
    }
    place
        .host
        .kubectl("-n test-policy-part delete virtualcluster first --wait=false")
        .ok();
}

/// A pod as sync makes them for tenants, with other labels and fields of its spec.
fn pod(place: &Namespace, labels: &Value, spec: &Value) -> Value {
    let mut pod = json!({
        "serviceAccountName": "vcluster-workload", "containers": [{"name": "a", "image": "a"}],
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    place.object("v1", "Pod", "p", &json!({"labels": labels, "spec": pod}))
}

/// That spec with a volume.
fn volume(mut source: Value) -> Value {
    source["name"] = "v".into();
    json!({"volumes": [source]})
}

/// That spec with a container.
fn container(mut part: Value) -> Value {
    part["name"] = "a".into();
    part["image"] = "a".into();
    json!({"containers": [part]})
}

fn context(context: &Value) -> Value {
    container(json!({"securityContext": context}))
}

fn claim(name: &str) -> Value {
    volume(json!({"persistentVolumeClaim": {"claimName": name}}))
}

#[test]
fn a_tenants_account_makes_powerless_pods_only() {
    let place = Namespace::opened("test-policy-powerless");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-powerless:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    for harmless in [
        json!({}),
        context(&json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}})),
        claim("data-x-shop-x-demo"),
        claim("data-0123456789abcdef0123"),
    ] {
        let pod = pod(&place, &workload, &harmless);
        place.create_as(tenant, &pod).ok();
    }
    place
        .create_as(tenant, &pod(&place, &json!({}), &json!({})))
        .refused(&["vcluster.dev/part=workload"]);
    let keys = "vcluster-pki";
    let (node, fences) = ("host's node", "fences");
    let (mounts, reads) = (
        "may not mount the control plane's Secrets",
        "may not read the control plane's Secrets",
    );
    let others = "only claims that were translated";
    for (spec, refusal) in [
        (
            json!({"serviceAccountName": "vcluster-sync"}),
            "vcluster-workload",
        ),
        (json!({"hostNetwork": true}), node),
        (json!({"hostPID": true}), node),
        (volume(json!({"hostPath": {"path": "/"}})), node),
        (
            context(&json!({"privileged": true})),
            "may not be privileged",
        ),
        (
            container(json!({"ports": [{"containerPort": 1, "hostPort": 1}]})),
            "nor open a port",
        ),
        (
            context(&json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
            fences,
        ),
        (
            context(&json!({"seccompProfile": {"type": "Unconfined"}})),
            fences,
        ),
        (
            context(&json!({"appArmorProfile": {"type": "Unconfined"}})),
            fences,
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            fences,
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            fences,
        ),
        (
            volume(json!({"nfs": {"server": "192.0.2.1", "path": "/"}})),
            "only volumes of the kinds",
        ),
        (volume(json!({"secret": {"secretName": keys}})), mounts),
        (
            volume(json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": keys}}})),
            mounts,
        ),
        (
            container(json!({"envFrom": [{"secretRef": {"name": keys}}]})),
            reads,
        ),
        (claim("data-demo-0"), others),
        (claim("somebody-s"), others),
    ] {
        let pod = pod(&place, &workload, &spec);
        place.create_as(tenant, &pod).refused(&[refusal]);
    }
}

#[test]
fn a_tenants_account_changes_translated_objects_only() {
    let place = Namespace::opened("test-policy-tenant");
    place.bind();
    let keys = place.object("v1", "Secret", "vcluster-pki", &json!({}));
    place.host.apply(&keys.to_string());
    let tenant = "system:serviceaccount:test-policy-tenant:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    let secret = |type_: &str| {
        let more = json!({"labels": workload, "type": type_});
        let mut secret = place.object("v1", "Secret", "s", &more);
        secret["metadata"]["annotations"] =
            json!({"kubernetes.io/service-account.name": "vcluster-sync"});
        secret
    };
    place.create_as(tenant, &secret("Opaque")).ok();
    place
        .create_as(tenant, &secret("kubernetes.io/service-account-token"))
        .refused(&["tokens of the host"]);
    let marked = json!({"metadata": {"labels": workload}});
    place
        .patch_as(tenant, "secret vcluster-pki", &marked)
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

#[test]
fn a_tenants_account_writes_no_object_that_reaches_beyond_the_tenant() {
    let place = Namespace::opened("test-policy-beyond");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-beyond:vcluster-sync";
    let written = |version: &str, kind: &str, spec: &Value| {
        let labels = json!({"vcluster.dev/part": "workload"});
        let object = place.object(version, kind, "o", &json!({"labels": labels, "spec": spec}));
        place.create_as(tenant, &object)
    };
    let claim = |more: Value| {
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        written("v1", "PersistentVolumeClaim", &spec)
    };
    let copy =
        |name: &str| claim(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": name}}));
    claim(json!({})).ok();
    copy("data-x-shop-x-demo").ok();
    copy("data-demo-0").refused(&["a copy only of what was translated"]);
    claim(json!({"volumeName": "somebody-s"})).refused(&["may not choose among"]);
    claim(json!({"selector": {"matchLabels": {"a": "b"}}})).refused(&["may not choose among"]);

    let service = |more: Value| {
        let mut spec = json!({"ports": [{"port": 1}]});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        written("v1", "Service", &spec)
    };
    service(json!({"selector": {"vcluster.dev/namespace": "shop"}})).ok();
    service(json!({"selector": {"app": "api"}})).refused(&["only translated pods"]);
    service(json!({"externalIPs": ["192.0.2.1"]})).refused(&["by externalIPs"]);

    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let rule = |host: Option<&str>| {
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        let mut rule = json!({"http": {"paths": paths}});
        if let Some(host) = host {
            rule["host"] = host.into();
        }
        json!({ "rules": [rule] })
    };
    let (networking, everybody) = (
        "networking.k8s.io/v1",
        ["may not take the requests of everybody"],
    );
    written(networking, "Ingress", &rule(Some("shop.example.com"))).ok();
    written(networking, "Ingress", &rule(None)).refused(&everybody);
    written(networking, "Ingress", &json!({"defaultBackend": backend})).refused(&everybody);

    let own = json!({"matchLabels": {"vcluster.dev/part": "workload"}});
    for (version, kind, key) in [
        (networking, "NetworkPolicy", "podSelector"),
        ("policy/v1", "PodDisruptionBudget", "selector"),
    ] {
        let named = |name: &str, spec: &Value| {
            let labels = json!({"vcluster.dev/part": "workload"});
            let object = place.object(
                version,
                kind,
                name,
                &json!({"labels": labels, "spec": spec}),
            );
            place.create_as(tenant, &object)
        };
        let translated = "o-x-shop-x-demo";
        named(translated, &json!({ key: own })).ok();
        named(translated, &json!({key: {}})).refused(&["may select only pods"]);
        if kind == "NetworkPolicy" {
            for reserved in ["vcluster-control-plane-egress", "vcluster-dns-ingress", "o"] {
                named(reserved, &json!({ key: own }))
                    .refused(&["network policies that were translated"]);
            }
        }
    }
}

#[test]
fn control_writes_no_network_policy_but_those_of_control_planes_and_dns_servers() {
    let place = Namespace::opened("test-policy-fences");
    // By the role that it binds for itself, RBAC lets it.
    place.bind();
    let control = service("vcluster-control");
    let policy = |name: &str, part: &str, kind: &str| {
        let selector = json!({"matchLabels": {"vcluster.dev/part": part}});
        let spec = json!({"podSelector": selector, "policyTypes": [kind]});
        let more = json!({ "spec": spec });
        let object = place.object("networking.k8s.io/v1", "NetworkPolicy", name, &more);
        place.create_as(&control, &object)
    };
    let (outward, inward) = ("vcluster-control-plane-egress", "vcluster-dns-ingress");
    policy(outward, "control-plane", "Egress").ok();
    policy(inward, "dns", "Ingress").ok();
    for (name, part, kind) in [
        (outward, "workload", "Egress"),
        (outward, "control-plane", "Ingress"),
        (inward, "control-plane", "Ingress"),
        (inward, "dns", "Egress"),
        ("another", "control-plane", "Egress"),
        ("web-x-shop-x-demo", "workload", "Ingress"),
    ] {
        policy(name, part, kind).refused(&["only the network policies of control planes"]);
    }
}

#[test]
fn a_tenants_account_writes_translated_service_accounts_only() {
    let place = Namespace::opened("test-policy-accounts");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-accounts:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    let translated = "builder-x-shop-x-demo";
    let account = |name: &str, more: &Value| {
        let labels = json!({"labels": workload, "automountServiceAccountToken": false});
        let mut account = place.object("v1", "ServiceAccount", name, &labels);
        for (key, value) in more.as_object().into_iter().flatten() {
            match key.as_str() {
                "annotations" => account["metadata"]["annotations"] = value.clone(),
                key => account[key] = value.clone(),
            }
        }
        place.create_as(tenant, &account)
    };
    let pulls = |secret: &str| json!({"imagePullSecrets": [{"name": secret}]});
    account(
        translated,
        &json!({"annotations": {"vcluster.dev/kind": "ServiceAccount"}}),
    )
    .ok();
    account(translated, &pulls("registry-x-shop-x-demo")).ok();
    account("builder", &json!({})).refused(&["only service accounts that were translated"]);
    for more in [
        json!({"automountServiceAccountToken": true}),
        json!({"secrets": [{"name": "vcluster-sync"}]}),
        pulls("vcluster-pki"),
    ] {
        account(translated, &more).refused(&["may hold no tokens"]);
    }
    let identity =
        json!({"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}});
    account(translated, &identity)
        .refused(&["only annotations that the host's administrator allows"]);
    for own in ["vcluster-sync", "vcluster-workload", "default"] {
        let marked = json!({"metadata": {"labels": workload}});
        place
            .patch_as(tenant, &format!("serviceaccount {own}"), &marked)
            .refused(&["a tenant may"]);
        let args = format!(
            "-n {} delete serviceaccount {own} --dry-run=server --as={tenant}",
            place.name
        );
        place.host.kubectl(&args).refused(&["a tenant may"]);
    }
    let named = |name: &str| pod(&place, &workload, &json!({"serviceAccountName": name}));
    place
        .create_as(tenant, &named("default"))
        .refused(&["vcluster-workload"]);
    place.host.apply(
        &place
            .object("v1", "ServiceAccount", translated, &json!({}))
            .to_string(),
    );
    place.create_as(tenant, &named(translated)).ok();
    let token = format!("-n {} create token {translated} --as={tenant}", place.name);
    place.host.kubectl(&token).refused(&["forbidden"]);
}

/// A PriorityClass of the host, removed with it.
struct Priority(Host, String);

impl Drop for Priority {
    fn drop(&mut self) {
        let args = format!("delete priorityclass {} --ignore-not-found", self.1);
        self.0.kubectl(&args).run();
    }
}

/// A class in no namespace, with the marks of a virtual cluster of `namespace`.
fn class(version: &str, kind: &str, namespace: &str, more: &Value) -> Value {
    let mut class = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {
            "name": format!("own.demo.{namespace}.vcluster.dev"),
            "labels": {"vcluster.dev/part": "workload"},
            "annotations": {"vcluster.dev/cluster-uid": "1", "vcluster.dev/host-namespace": namespace},
        },
    });
    let fields = more.as_object().expect("fields").clone();
    class.as_object_mut().expect("an object").extend(fields);
    class
}

#[test]
fn sync_writes_only_classes_of_virtual_clusters_as_far_as_the_chart_allows() {
    let place = Namespace::create("test-policy-classes", &json!({}));
    let sync = service("vcluster-sync");
    let (scheduling, storage) = ("scheduling.k8s.io/v1", "storage.k8s.io/v1");
    let priority = |more: &Value| {
        let mut class = class(
            scheduling,
            "PriorityClass",
            place.name,
            &json!({"value": 100, "preemptionPolicy": "Never"}),
        );
        let fields = more.as_object().expect("fields").clone();
        class.as_object_mut().expect("an object").extend(fields);
        class
    };
    place.create_as(&sync, &priority(&json!({}))).ok();
    for more in [
        json!({"value": 101}),
        json!({"globalDefault": true}),
        json!({"preemptionPolicy": "PreemptLowerPriority"}),
    ] {
        place
            .create_as(&sync, &priority(&more))
            .refused(&["sync.toHost.priorityClasses allows"]);
    }
    let mut unmarked = priority(&json!({}));
    unmarked["metadata"]["annotations"] = Value::Null;
    let mut anothers = priority(&json!({}));
    anothers["metadata"]["name"] = "own.demo.another.vcluster.dev".into();
    let mut plain = priority(&json!({}));
    plain["metadata"]["name"] = "own".into();
    for class in [unmarked, anothers, plain] {
        place
            .create_as(&sync, &class)
            .refused(&["the marks and the name of a virtual cluster's"]);
    }
    let provisioned = |more: &Value| {
        let mut class = class(
            storage,
            "StorageClass",
            place.name,
            &json!({"provisioner": "rancher.io/local-path"}),
        );
        let fields = more.as_object().expect("fields").clone();
        class.as_object_mut().expect("an object").extend(fields);
        place.create_as(&sync, &class)
    };
    provisioned(&json!({"parameters": {"type": "ssd"}})).ok();
    for more in [
        json!({"provisioner": "ebs.csi.aws.com"}),
        json!({"parameters": {"csi.storage.k8s.io/provisioner-secret-name": "admin"}}),
        json!({"mountOptions": ["suid"]}),
    ] {
        provisioned(&more).refused(&["only the provisioners that the chart allows"]);
    }

    // The host's own are nobody's to change.
    let own = Priority(Host::get(), "test-policy-own".to_owned());
    let metadata = json!({"name": own.1});
    own.0.apply(&json!({"apiVersion": scheduling, "kind": "PriorityClass", "metadata": metadata, "value": 7}).to_string());
    let marks = priority(&json!({}));
    let marks = json!({"metadata": {"labels": marks["metadata"]["labels"], "annotations": marks["metadata"]["annotations"]}});
    place
        .patch_as(&sync, &format!("priorityclass {}", own.1), &marks)
        .refused(&["sync may"]);
    let delete = format!(
        "delete priorityclass {} --dry-run=server --as={sync}",
        own.1
    );
    own.0
        .kubectl(&delete)
        .refused(&["sync may change or delete only classes"]);
}

#[test]
fn a_tenants_account_names_no_class_of_another_virtual_cluster() {
    let place = Namespace::opened("test-policy-class-names");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-class-names:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    for (namespace, allowed) in [
        (place.name, true),
        ("test-policy-other", false),
        ("names", false),
    ] {
        let made = class(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            namespace,
            &json!({"value": -1}),
        );
        let name = host::name(&made).to_owned();
        let made_by_admin = Priority(Host::get(), name.clone());
        made_by_admin.0.apply(&made.to_string());
        let pod = pod(&place, &workload, &json!({"priorityClassName": name}));
        let claim = json!({"labels": workload, "spec": {
            "storageClassName": name, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        }});
        let claim = place.object("v1", "PersistentVolumeClaim", "data-x-shop-x-demo", &claim);
        for object in [pod, claim] {
            let tried = place.create_as(tenant, &object);
            if allowed {
                tried.ok();
            } else {
                tried.refused(&["of another virtual cluster's"]);
            }
        }
    }
    // Nor does it write any.
    let own = class(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        place.name,
        &json!({"value": -1}),
    );
    place.create_as(tenant, &own).refused(&["forbidden"]);
}
