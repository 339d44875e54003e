//! Kinds other than pods, on the host and back.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

fn found(tenant: &Tenant, collection: &str, name: &str) -> Result<Value, String> {
    let all = tenant
        .host()
        .list(&format!("-n {} {collection}", tenant.namespace));
    let is_named = |object: &&Value| object["metadata"]["annotations"]["vcluster.dev/name"] == name;
    all.iter().find(is_named).cloned().ok_or_else(|| {
        format!(
            "no translation of {name:?} among {} {collection}",
            all.len()
        )
    })
}

/// The host object of a virtual one.
fn outside(tenant: &Tenant, collection: &str, name: &str) -> Value {
    eventually(&format!("{collection} {name} reaches the host"), || {
        found(tenant, collection, name)
    })
}

fn gone(tenant: &Tenant, collection: &str, name: &str) {
    eventually(
        &format!("{collection} {name} leaves the host"),
        || match found(tenant, collection, name) {
            Ok(left) => Err(format!("{left}")),
            Err(_) => Ok(()),
        },
    );
}

fn pods(namespace: &str, name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                        "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}],
                },
            },
        },
    })
}

fn ingress(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default", "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "30", "cert-manager.io/cluster-issuer": "x"}},
        "spec": {
            "tls": [{"hosts": ["shop.example.com"], "secretName": "cert"}],
            "rules": [{"host": "shop.example.com", "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}},
            }]}}],
        },
    })
}

#[test]
fn an_ingress_is_served_by_the_host_with_its_certificate_and_shows_its_address() {
    let tenant = Tenant::create("ingress");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": "default"},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""},
    });
    tenant.inside().apply(&secret.to_string());
    tenant.inside().apply(&ingress("web").to_string());
    let made = outside(&tenant, "ingresses", "web");
    let spec = &made["spec"];
    let path = &spec["rules"][0]["http"]["paths"][0];
    assert_eq!(
        path["backend"]["service"]["name"],
        "web-x-default-x-ingress"
    );
    assert_eq!(spec["tls"][0]["secretName"], "cert-x-default-x-ingress");
    let notes = &made["metadata"]["annotations"];
    assert_eq!(
        notes["nginx.ingress.kubernetes.io/proxy-read-timeout"],
        "30"
    );
    assert_eq!(notes["cert-manager.io/cluster-issuer"], Value::Null);
    let cert = outside(&tenant, "secrets", "cert");
    assert_eq!(cert["type"], "kubernetes.io/tls");

    // As a controller of the host would.
    let status =
        json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}).to_string();
    let args = [
        "-n",
        &tenant.namespace,
        "patch",
        "ingress",
        host::name(&made),
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    tenant.host().kubectl_args(&args).ok();
    eventually("the address comes up", || {
        let shown = tenant.kubectl("get ingress web -o json").json();
        let address = shown["status"]["loadBalancer"]["ingress"][0]["ip"].clone();
        (address == "192.0.2.7")
            .then_some(())
            .ok_or_else(|| shown["status"].to_string())
    });

    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": "from-a-controller", "namespace": tenant.namespace},
        "involvedObject": {
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "namespace": tenant.namespace,
            "name": host::name(&made), "uid": made["metadata"]["uid"],
        },
        "type": "Normal", "reason": "Sync", "message": format!("serves {}", host::name(&made)),
        "source": {"component": "controller"},
    });
    tenant.host().apply(&event.to_string());
    told(&tenant, "Ingress", "web", "serves web\"");

    tenant.kubectl("delete ingress web").ok();
    gone(&tenant, "ingresses", "web");
    gone(&tenant, "secrets", "cert");

    let mut greedy = ingress("greedy");
    greedy["spec"]["defaultBackend"] = json!({"service": {"name": "web", "port": {"number": 80}}});
    tenant.inside().apply(&greedy.to_string());
    told(&tenant, "Ingress", "greedy", "spec.defaultBackend");
}

/// Waits until an Event inside says why an object is not on the host.
fn told(tenant: &Tenant, kind: &str, name: &str, text: &str) {
    eventually(&format!("the tenant is told of {kind} {name}"), || {
        let events = tenant.kubectl(&format!(
            "get events --field-selector=involvedObject.kind={kind},involvedObject.name={name} -o json"
        ));
        let events = host::items(&events.json());
        let messages: Vec<_> = events
            .iter()
            .map(|event| event["message"].to_string())
            .collect();
        messages
            .iter()
            .any(|message| message.contains(text))
            .then_some(())
            .ok_or_else(|| messages.join("; "))
    });
}

#[test]
fn what_the_host_has_no_room_for_is_told_and_made_when_there_is_room() {
    let tenant = Tenant::create("room");
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": tenant.namespace},
        "spec": {"hard": {"count/ingresses.networking.k8s.io": "0"}},
    });
    tenant.host().apply(&quota.to_string());
    eventually("the quota counts", || {
        let quota = tenant
            .host()
            .kubectl(&format!("-n {} get quota few -o json", tenant.namespace));
        let status = quota.json()["status"]["hard"].clone();
        status.is_object().then_some(()).ok_or("not yet")
    });
    tenant.inside().apply(&ingress("web").to_string());
    told(&tenant, "Ingress", "web", "exceeded quota");
    tenant
        .host()
        .kubectl(&format!("-n {} delete quota few", tenant.namespace))
        .ok();
    outside(&tenant, "ingresses", "web");
}

#[test]
fn a_disruption_budget_holds_on_the_host_for_its_own_pods_only() {
    let tenant = Tenant::create("budget");
    tenant.kubectl("create namespace other").ok();
    let inside = tenant.inside();
    inside.apply(&pods("default", "web", 2).to_string());
    inside.apply(&pods("other", "web", 1).to_string());
    for namespace in ["default", "other"] {
        let args = format!("-n {namespace} rollout status deployment/web --timeout=120s");
        tenant.kubectl(&args).ok();
    }
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": "100%", "selector": {"matchLabels": {"app": "web"}}},
    });
    inside.apply(&budget.to_string());
    eventually("the host counts the budget's pods", || {
        let budget = found(&tenant, "poddisruptionbudgets", "web")?;
        let counted =
            budget["status"]["expectedPods"] == 2 && budget["status"]["currentHealthy"] == 2;
        assert_eq!(budget["spec"]["minAvailable"], 2);
        counted
            .then_some(())
            .ok_or_else(|| budget["status"].to_string())
    });
    let evict = |namespace: &str| {
        let all = tenant.host_pods();
        let pod = all
            .iter()
            .find(|pod| pod["metadata"]["annotations"]["vcluster.dev/namespace"] == namespace)
            .expect("it has a pod");
        let name = host::name(pod);
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": tenant.namespace},
        });
        let path = format!(
            "/api/v1/namespaces/{}/pods/{name}/eviction",
            tenant.namespace
        );
        let command = tenant.host().kubectl(&format!("create --raw {path} -f -"));
        command.input(eviction.to_string())
    };
    evict("default").refused(&["disruption budget"]);
    evict("other").ok();
}

#[test]
fn a_network_policy_stays_within_its_tenant() {
    let tenant = Tenant::create("policy");
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]},
    });
    tenant.inside().apply(&policy.to_string());
    let made = outside(&tenant, "networkpolicies", "web");
    let uid = &made["metadata"]["annotations"]["vcluster.dev/cluster-uid"];
    let peer = &made["spec"]["ingress"][0]["from"][0];
    assert_eq!(peer.get("namespaceSelector"), None);
    for selector in [&made["spec"]["podSelector"], &peer["podSelector"]] {
        assert_eq!(selector["matchLabels"]["vcluster.dev/part"], "workload");
        assert_eq!(&selector["matchLabels"]["vcluster.dev/cluster-uid"], uid);
    }
    // Not even by sync's own account.
    let account = format!(
        "--as=system:serviceaccount:{}:vcluster-sync",
        tenant.namespace
    );
    let wider = json!({"spec": {"podSelector": {"matchLabels": null}}}).to_string();
    let args = [
        "-n",
        &tenant.namespace,
        "patch",
        "networkpolicy",
        host::name(&made),
        "--type=merge",
        "-p",
        &wider,
        &account,
    ];
    tenant
        .host()
        .kubectl_args(&args)
        .refused(&["vcluster.dev/part=workload"]);
    tenant.kubectl("delete networkpolicy web").ok();
    gone(&tenant, "networkpolicies", "web");
}

/// A class of the host that goes with the test.
struct Class<'a>(&'a Tenant, String);

impl Drop for Class<'_> {
    fn drop(&mut self) {
        let args = format!("delete {} --ignore-not-found", self.1);
        self.0.host().kubectl(&args).run();
    }
}

#[test]
fn classes_of_the_host_are_shown_read_only_and_a_tenants_own_are_its_own() {
    let tenant = Tenant::create("classes");
    let name = tenant.namespace.clone();
    let of_host = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "csi.example.com", "allowVolumeExpansion": true,
        "parameters": {"type": "ssd", "csi.storage.k8s.io/provisioner-secret-name": "hidden"},
    });
    let mut own = of_host.clone();
    own["metadata"]["name"] = "my-own".into();
    let class = Class(&tenant, format!("storageclass {name}"));
    tenant.inside().apply(&own.to_string());
    tenant.host().apply(&of_host.to_string());
    let shown = |test: &dyn Fn(&Value) -> bool| {
        eventually("the class is shown", || {
            let all = tenant.kubectl("get storageclasses -o json").json();
            let all = host::items(&all);
            let found = all.iter().find(|class| host::name(class) == name);
            found
                .filter(|class| test(class))
                .cloned()
                .ok_or_else(|| format!("{found:?}"))
        })
    };
    let class_inside = shown(&|_| true);
    assert_eq!(class_inside["parameters"], json!({"type": "ssd"}));
    // Every class of the host is there.
    for collection in [
        "storageclasses",
        "ingressclasses",
        "runtimeclasses",
        "csidrivers",
        "csinodes",
    ] {
        let outside = tenant.host().list(collection);
        eventually(&format!("{collection} are shown"), || {
            let inside = host::items(&tenant.kubectl(&format!("get {collection} -o json")).json());
            let missing = |class: &&Value| {
                !inside
                    .iter()
                    .any(|found| host::name(found) == host::name(class))
            };
            outside
                .iter()
                .find(missing)
                .map_or(Ok(()), |class| Err(host::name(class).to_owned()))
        });
    }
    let patch = json!({"allowVolumeExpansion": false}).to_string();
    let args = ["patch", "storageclass", &name, "--type=merge", "-p", &patch];
    tenant
        .inside()
        .kubectl_args(&args)
        .refused(&["mirror the host"]);
    let patch = json!({"allowVolumeExpansion": false}).to_string();
    let args = ["patch", "storageclass", &name, "--type=merge", "-p", &patch];
    tenant.host().kubectl_args(&args).ok();
    shown(&|class| class["allowVolumeExpansion"] == false);
    drop(class);
    eventually("the class is gone inside", || {
        let left = tenant.kubectl("get storageclasses -o name").ok();
        (!left.contains(&name)).then_some(()).ok_or(left)
    });
    tenant.kubectl("get storageclass my-own").ok();
}
