//! Volumes of a virtual cluster, provided by the host.

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

/// A StorageClass of the host, removed with the test.
struct Class {
    host: Host,
    name: String,
    object: Value,
}

impl Class {
    /// A class of the dev cluster's provisioner with other rules than its default.
    #[track_caller]
    fn create(purpose: &str, rules: &Value) -> Self {
        let host = Host::get();
        let name = format!("test-{purpose}-{}", std::process::id());
        let mut class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer",
        });
        for (key, value) in rules.as_object().into_iter().flatten() {
            class[key] = value.clone();
        }
        host.apply(&class.to_string());
        Self {
            host,
            name,
            object: class,
        }
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        let args = format!("delete storageclass {} --ignore-not-found", self.name);
        self.host.kubectl(&args).run();
    }
}

/// A PersistentVolume of the host, removed with the test.
struct Volume {
    host: Host,
    name: String,
}

impl Drop for Volume {
    fn drop(&mut self) {
        let args = format!(
            "delete persistentvolume {} --ignore-not-found --wait=false",
            self.name
        );
        self.host.kubectl(&args).run();
    }
}

fn claim(name: &str, spec: &Value) -> String {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        claim["spec"][key] = value.clone();
    }
    claim.to_string()
}

/// A pod that mounts a volume at `/data`.
fn pod(name: &str, volume: &Value) -> String {
    let mut volume = volume.clone();
    volume["name"] = "data".into();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container()],
            "volumes": [volume],
        },
    })
    .to_string()
}

fn container() -> Value {
    json!({
        "name": "main", "image": "docker.io/library/busybox:latest",
        "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    })
}

fn of_claim(name: &str) -> Value {
    json!({"persistentVolumeClaim": {"claimName": name}})
}

fn running(tenant: &Tenant, name: &str) {
    // A set that has not noticed yet that its pod is gone counts as rolled out.
    let made = format!("wait --for=create pod/{name} --timeout=120s");
    tenant.kubectl(&made).ok();
    let args = format!("wait --for=condition=Ready pod/{name} --timeout=120s");
    tenant.kubectl(&args).ok();
}

fn bound(tenant: &Tenant, name: &str) -> Value {
    let args = format!("wait --for=jsonpath={{.status.phase}}=Bound pvc/{name} --timeout=120s");
    tenant.kubectl(&args).ok();
    tenant.kubectl(&format!("get pvc {name} -o json")).json()
}

/// Runs a shell command in the host pod of a virtual pod of namespace `default`.
fn shell(tenant: &Tenant, name: &str, script: &str) -> String {
    let pods = tenant.host_pods();
    let pod = pods
        .iter()
        .find(|pod| pod["metadata"]["annotations"]["vcluster.dev/name"] == name)
        .expect("the pod runs");
    let args = [
        "-n",
        &tenant.namespace,
        "exec",
        host::name(pod),
        "--",
        "sh",
        "-c",
        script,
    ];
    tenant.host().kubectl_args(&args).ok()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn volumes(tenant: &Tenant) -> Vec<Value> {
    host::items(&tenant.kubectl("get persistentvolumes -o json").json())
}

fn host_claims(tenant: &Tenant) -> Vec<Value> {
    tenant.host().list(&format!(
        "-n {} persistentvolumeclaims -l vcluster.dev/part=workload",
        tenant.namespace
    ))
}

#[track_caller]
fn gone(from: &Host, what: &str) {
    eventually(&format!("{what} goes"), || {
        let output = from
            .kubectl(&format!("get {what} --ignore-not-found -o name"))
            .run();
        if output.succeeded() && output.stdout.is_empty() {
            Ok(())
        } else {
            Err(output)
        }
    });
}

/// Waits for an Event about an object of namespace `default`, or about a cluster-scoped one.
#[track_caller]
fn told(tenant: &Tenant, object: &str, reason: &str, words: &[&str]) {
    eventually(&format!("an Event {reason} about {object}"), || {
        let events = tenant.kubectl("get events -A -o json").json();
        let about = |event: &&Value| text(event, "/involvedObject/name") == object;
        let events: Vec<_> = host::items(&events);
        let said: Vec<_> = events
            .iter()
            .filter(about)
            .map(|event| format!("{}: {}", text(event, "/reason"), text(event, "/message")))
            .collect();
        let fits = |said: &&String| {
            said.starts_with(&format!("{reason}: ")) && words.iter().all(|word| said.contains(word))
        };
        said.iter()
            .find(fits)
            .map(|_| ())
            .ok_or_else(|| format!("{said:?}"))
    });
}

#[test]
fn a_stateful_set_keeps_its_data_and_its_claims_go_when_they_are_deleted() {
    let tenant = Tenant::create("stateful");
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container()]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
            }],
        },
    });
    tenant.inside().apply(&set.to_string());
    let rollout = || {
        let args = "rollout status statefulset/db --timeout=180s";
        tenant.kubectl(args).ok();
    };
    rollout();
    shell(&tenant, "db-0", "echo zero > /data/name");
    shell(&tenant, "db-1", "echo one > /data/name");

    // The claim is the host's in everything but its name.
    let inside = bound(&tenant, "data-db-0");
    let name = text(&inside, "/spec/volumeName").to_owned();
    let outside = host_claims(&tenant)
        .into_iter()
        .find(|claim| text(claim, "/spec/volumeName") == name)
        .expect("the host bound it");
    assert_eq!(host::name(&outside), "data-db-0-x-default-x-stateful");
    assert_eq!(inside["status"], outside["status"]);
    assert_eq!(
        inside["spec"]["storageClassName"],
        outside["spec"]["storageClassName"]
    );
    let shown = tenant.kubectl(&format!("get pv {name} -o json")).json();
    assert_eq!(shown["status"]["phase"], "Bound");
    assert_eq!(shown["spec"]["claimRef"]["uid"], inside["metadata"]["uid"]);
    let source = shown["spec"]["csi"].to_string();
    assert!(source.contains("host.vcluster.dev"), "{source}");
    assert!(!shown.to_string().contains(&tenant.namespace), "{shown}");
    assert_eq!(volumes(&tenant).len(), 2, "and nobody else's");

    // Data survive the pod.
    tenant.kubectl("delete pod db-0 --wait=true").ok();
    rollout();
    running(&tenant, "db-0");
    assert_eq!(shell(&tenant, "db-0", "cat /data/name"), "zero\n");

    // Claims survive scaling, and are found again.
    tenant.kubectl("scale statefulset/db --replicas=1").ok();
    gone(&tenant.inside(), "pod/db-1");
    bound(&tenant, "data-db-1");
    tenant.kubectl("scale statefulset/db --replicas=2").ok();
    rollout();
    running(&tenant, "db-1");
    assert_eq!(shell(&tenant, "db-1", "cat /data/name"), "one\n");

    // A claim in use waits for its pod; then everything of it goes, on both sides.
    let name = text(&bound(&tenant, "data-db-1"), "/spec/volumeName").to_owned();
    tenant.kubectl("delete pvc data-db-1 --wait=false").ok();
    assert_eq!(shell(&tenant, "db-1", "cat /data/name"), "one\n");
    tenant.kubectl("scale statefulset/db --replicas=1").ok();
    gone(&tenant.inside(), "pvc/data-db-1");
    gone(
        tenant.host(),
        &format!("-n {} pvc/data-db-1-x-default-x-stateful", tenant.namespace),
    );
    gone(tenant.host(), &format!("pv/{name}"));
    gone(&tenant.inside(), &format!("pv/{name}"));
    assert_eq!(shell(&tenant, "db-0", "cat /data/name"), "zero\n");

    // What the host's administrator deletes is deleted inside.
    tenant.kubectl("scale statefulset/db --replicas=0").ok();
    gone(&tenant.inside(), "pod/db-0");
    tenant
        .host()
        .kubectl(&format!(
            "-n {} delete pvc data-db-0-x-default-x-stateful --wait=false",
            tenant.namespace
        ))
        .ok();
    gone(&tenant.inside(), "pvc/data-db-0");
    eventually("no volume is left", || match volumes(&tenant) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn a_retained_volume_outlives_its_claim_and_says_so() {
    let class = Class::create("retain", &json!({"reclaimPolicy": "Retain"}));
    let tenant = Tenant::create("retain");
    let inside = tenant.inside();
    inside.apply(&claim("kept", &json!({"storageClassName": class.name})));
    inside.apply(&pod("keeper", &of_claim("kept")));
    running(&tenant, "keeper");
    let name = text(&bound(&tenant, "kept"), "/spec/volumeName").to_owned();
    let volume = Volume {
        host: tenant.host().clone(),
        name: name.clone(),
    };
    tenant.kubectl("delete pod keeper").ok();
    tenant.kubectl("delete pvc kept").ok();
    let phase = format!("wait --for=jsonpath={{.status.phase}}=Released pv/{name} --timeout=120s");
    tenant.host().kubectl(&phase).ok();
    tenant.kubectl(&phase).ok();
    let shown = tenant.kubectl(&format!("get pv {name} -o json")).json();
    assert_eq!(shown["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(shown["spec"]["claimRef"]["name"], "kept");

    // A new claim cannot take it: that is for the host's administrator.
    inside.apply(&claim(
        "again",
        &json!({"storageClassName": class.name, "volumeName": name}),
    ));
    told(
        &tenant,
        "again",
        "HostAccessRefused",
        &["spec.volumeName", &name],
    );

    // It goes with the host's.
    drop(volume);
    gone(&inside, &format!("pv/{name}"));
}

#[test]
fn the_host_s_volumes_cannot_be_chosen_and_are_not_shown() {
    let tenant = Tenant::create("foreign");
    let host = tenant.host();
    let volume = Volume {
        host: host.clone(),
        name: format!("test-foreign-{}", std::process::id()),
    };
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume.name},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nothing-here"}, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
        },
    });
    host.apply(&object.to_string());
    let inside = tenant.inside();
    let by_name = json!({"storageClassName": "", "volumeName": volume.name});
    inside.apply(&claim("by-name", &by_name));
    let by_label = json!({"storageClassName": "", "selector": {"matchLabels": {"any": "thing"}}});
    inside.apply(&claim("by-label", &by_label));
    told(
        &tenant,
        "by-name",
        "HostAccessRefused",
        &["spec.volumeName", "storage class"],
    );
    told(&tenant, "by-label", "HostAccessRefused", &["spec.selector"]);
    assert_eq!(volumes(&tenant), [] as [Value; 0], "it is not the tenant's");
    assert_eq!(host_claims(&tenant), [] as [Value; 0]);

    // One of the tenant's own, even of that very name, leads nowhere, and says so.
    object["metadata"]["labels"] = json!({"any": "thing"});
    inside.apply(&object.to_string());
    told(&tenant, &volume.name, "NotSupported", &["storage class"]);
    let free = host
        .kubectl(&format!(
            "get pv {} -o jsonpath={{.status.phase}}",
            volume.name
        ))
        .ok();
    assert_eq!(free, "Available");
    let pending = tenant.kubectl("get pvc -o jsonpath={.items[*].status.phase}");
    assert_eq!(pending.ok(), "Pending Pending");
}

#[test]
fn a_generic_ephemeral_volume_lives_as_long_as_its_pod() {
    let tenant = Tenant::create("ephemeral");
    let inside = tenant.inside();
    let ephemeral = json!({"ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}},
    }}}});
    inside.apply(&pod("scratch", &ephemeral));
    running(&tenant, "scratch");
    shell(&tenant, "scratch", "echo here > /data/file");
    let claims = host_claims(&tenant);
    assert_eq!(claims.len(), 1, "the host makes no second one: {claims:?}");
    assert_eq!(
        claims[0]["metadata"]["annotations"]["vcluster.dev/name"],
        "scratch-data"
    );
    tenant.kubectl("delete pod scratch").ok();
    gone(&inside, "pvc/scratch-data");
    eventually("the host's claim goes", || match host_claims(&tenant) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });

    // A claim that only bears the name is somebody else's.
    inside.apply(&claim("thief-data", &json!({})));
    inside.apply(&pod("thief", &ephemeral));
    told(&tenant, "thief", "InvalidObject", &["thief-data"]);
    assert!(tenant.host_pods().is_empty());
}

#[test]
fn what_the_host_says_of_a_claim_is_told_inside() {
    let tenant = Tenant::create("told");
    let host = tenant.host();
    let quota = |claims: &str| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "test", "namespace": tenant.namespace},
            "spec": {"hard": {"persistentvolumeclaims": claims}},
        })
        .to_string()
    };
    // The store's own.
    host.apply(&quota("1"));
    let used = format!(
        "-n {} wait --for=jsonpath={{.status.hard.persistentvolumeclaims}}=1 quota/test --timeout=60s",
        tenant.namespace
    );
    host.kubectl(&used).ok();
    tenant.inside().apply(&claim("one-more", &json!({})));
    told(&tenant, "one-more", "HostRefused", &["exceeded quota"]);
    host.apply(&quota("2"));
    // Sync tries again by itself.
    told(&tenant, "one-more", "WaitForFirstConsumer", &[]);
    let nowhere = json!({"storageClassName": "no-such-class"});
    host.apply(&quota("3"));
    tenant.inside().apply(&claim("nowhere", &nowhere));
    told(&tenant, "nowhere", "ProvisioningFailed", &["no-such-class"]);
}

#[test]
fn two_tenants_with_the_same_claim_have_each_their_own_volume() {
    let tenants = ["mine", "thine"].map(Tenant::create);
    for tenant in &tenants {
        let inside = tenant.inside();
        inside.apply(&claim("data", &json!({})));
        inside.apply(&pod("writer", &of_claim("data")));
    }
    for tenant in &tenants {
        running(tenant, "writer");
        let script = format!(
            "test ! -e /data/owner && echo {} > /data/owner",
            tenant.name
        );
        shell(tenant, "writer", &script);
    }
    let mut names = Vec::new();
    for tenant in &tenants {
        let owner = shell(tenant, "writer", "cat /data/owner");
        assert_eq!(owner.trim(), tenant.name);
        let shown = volumes(tenant);
        assert_eq!(shown.len(), 1, "its own alone: {shown:?}");
        names.push(host::name(&shown[0]).to_owned());
    }
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_claim_that_grows_grows_on_the_host_and_shows_what_became_of_it() {
    let class = Class::create("grow", &json!({"allowVolumeExpansion": true}));
    let tenant = Tenant::create("grow");
    let inside = tenant.inside();
    // The virtual API server asks its own class whether claims may grow. Refused, if the host's is shown already.
    let same = class.object.to_string();
    inside.kubectl("apply -f -").input(same).run();
    tenant
        .kubectl(&format!("get storageclass {}", class.name))
        .ok();
    inside.apply(&claim("data", &json!({"storageClassName": class.name})));
    inside.apply(&pod("user", &of_claim("data")));
    running(&tenant, "user");
    let name = text(&bound(&tenant, "data"), "/spec/volumeName").to_owned();
    inside.apply(&claim(
        "data",
        &json!({"storageClassName": class.name, "resources": {"requests": {"storage": "32Mi"}}}),
    ));
    eventually("the host's claim asks for more", || {
        let size = text(&host_claims(&tenant)[0], "/spec/resources/requests/storage").to_owned();
        if size == "32Mi" { Ok(()) } else { Err(size) }
    });
    // The dev cluster's provisioner does not expand: what a driver would write, we do.
    let host = tenant.host();
    let patch = |what: &str, subresource: &str, patch: &Value| {
        let patch = patch.to_string();
        let mut args = vec![
            "patch",
            "--type=merge",
            "-n",
            &tenant.namespace,
            "-p",
            &patch,
        ];
        args.extend(what.split(' '));
        if !subresource.is_empty() {
            args.extend(["--subresource", subresource]);
        }
        host.kubectl_args(&args).ok();
    };
    let size = json!({"storage": "32Mi"});
    patch(
        &format!("pv {name}"),
        "",
        &json!({"spec": {"capacity": size}}),
    );
    let waiting = json!({"type": "FileSystemResizePending", "status": "True", "reason": "Test",
        "message": "claim data-x-default-x-grow waits for its pod", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"capacity": size, "conditions": [waiting]}});
    patch("pvc data-x-default-x-grow", "status", &status);
    eventually("the size comes up", || {
        let shown = tenant.kubectl("get pvc data -o json").json();
        let capacity = text(&shown, "/status/capacity/storage") == "32Mi";
        let message =
            text(&shown, "/status/conditions/0/message") == "claim data waits for its pod";
        if capacity && message {
            Ok(())
        } else {
            Err(shown["status"].to_string())
        }
    });
    eventually("the volume's too", || {
        let shown = tenant.kubectl(&format!("get pv {name} -o json")).json();
        let size = text(&shown, "/spec/capacity/storage").to_owned();
        if size == "32Mi" { Ok(()) } else { Err(size) }
    });
}
