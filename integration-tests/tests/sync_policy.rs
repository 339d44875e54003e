//! What `spec.sync` keeps inside, does not show, and maps.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const PAUSE_POD: &str = "docker.io/library/busybox:latest";

/// Merges this into `spec.sync`.
fn on_host(tenant: &Tenant, collection: &str, name: &str) -> Option<Value> {
    let all = tenant
        .host()
        .list(&format!("-n {} {collection}", tenant.namespace));
    all.into_iter()
        .find(|object| object["metadata"]["annotations"]["vcluster.dev/name"] == name)
}

fn reaches(tenant: &Tenant, collection: &str, name: &str) {
    eventually(&format!("{collection} {name} reaches the host"), || {
        on_host(tenant, collection, name).map(drop).ok_or("not yet")
    });
}

fn leaves(tenant: &Tenant, collection: &str, name: &str) {
    eventually(
        &format!("{collection} {name} leaves the host"),
        || match on_host(tenant, collection, name) {
            Some(left) => Err(left.to_string()),
            None => Ok(()),
        },
    );
}

/// Waits until an Event inside says so about the object.
fn told(tenant: &Tenant, kind: &str, name: &str, text: &str) {
    eventually(&format!("the tenant is told of {kind} {name}"), || {
        let events = tenant.kubectl(&format!(
            "get events --field-selector=involvedObject.kind={kind},involvedObject.name={name} -o json"
        ));
        let messages: Vec<_> = host::items(&events.json())
            .iter()
            .map(|event| event["message"].to_string())
            .collect();
        let said = messages.iter().any(|message| message.contains(text));
        said.then_some(()).ok_or_else(|| messages.join("; "))
    });
}

fn ingress(name: &str, class: Option<&str>) -> String {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "ingressClassName": class,
            "rules": [{"host": "policy.example.com", "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}},
            }]}}],
        },
    })
    .to_string()
}

fn pod(name: &str, spec: &Value) -> String {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": PAUSE_POD, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"]}],
        },
    });
    if let (Some(all), Some(more)) = (pod["spec"].as_object_mut(), spec.as_object()) {
        all.extend(more.clone());
    }
    pod.to_string()
}

fn claim(name: &str, class: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Mi"}}},
    })
    .to_string()
}

#[test]
fn a_kind_that_is_turned_off_leaves_the_host_and_what_runs_or_holds_something_stays() {
    let tenant = Tenant::create("narrow");
    let inside = tenant.inside();
    inside.apply(&ingress("web", None));
    inside.apply(&pod("stays", &json!({})));
    reaches(&tenant, "ingresses", "web");
    tenant
        .kubectl("wait --for=condition=Ready pod/stays --timeout=120s")
        .ok();
    let only = json!({"namespaces": ["other"]});
    tenant
        .patch_sync(
            &json!({"toHost": {"ingresses": {"enabled": false}, "pods": only, "services": only}}),
        )
        .ok();
    leaves(&tenant, "ingresses", "web");
    told(&tenant, "Ingress", "web", "spec.sync.toHost.ingresses");
    inside.apply(&pod("late", &json!({})));
    told(&tenant, "Pod", "late", "spec.sync.toHost.pods.namespaces");
    assert!(on_host(&tenant, "pods", "late").is_none());
    assert!(on_host(&tenant, "pods", "stays").is_some(), "it runs");
    tenant
        .kubectl("create service clusterip kept-inside --tcp=80:80")
        .refused(&["spec.sync.toHost.services", "headless"]);
    tenant
        .kubectl("create service clusterip headless --clusterip=None")
        .ok();
    tenant.patch_sync(&json!({"toHost": null})).ok();
    reaches(&tenant, "ingresses", "web");
    reaches(&tenant, "pods", "late");
}

#[test]
fn what_is_not_shown_of_the_host_cannot_be_used_and_nodes_are_shown_while_they_are_used() {
    let tenant = Tenant::create("shown");
    let class = tenant.host().list("storageclasses");
    let class = host::name(class.first().expect("the host has a class")).to_owned();
    eventually("the class is shown", || {
        let found = tenant.kubectl(&format!("get storageclass {class}")).run();
        found
            .succeeded()
            .then_some(())
            .ok_or_else(|| found.to_string())
    });
    tenant
        .patch_sync(&json!({"fromHost": {
            "storageclasses": {"selector": {"matchLabels": {"no": "such"}}},
            "nodes": {"policy": "Used"},
        }}))
        .ok();
    eventually("neither classes nor nodes are shown", || {
        let left = tenant.kubectl("get storageclasses,nodes -o name").ok();
        left.trim().is_empty().then_some(()).ok_or(left)
    });
    tenant.inside().apply(&claim("data", &class));
    told(
        &tenant,
        "PersistentVolumeClaim",
        "data",
        "spec.sync.fromHost.storageclasses",
    );
    tenant.inside().apply(&pod("web", &json!({})));
    tenant
        .kubectl("wait --for=condition=Ready pod/web --timeout=120s")
        .ok();
    let node = tenant.kubectl("get pod web -o json").json()["spec"]["nodeName"].clone();
    let shown = tenant.kubectl("get nodes -o json").json();
    assert_eq!(host::name(&host::items(&shown)[0]), node);
    tenant.kubectl("delete pod web --wait=true").ok();
    eventually("the node is not shown any more", || {
        let left = tenant.kubectl("get nodes -o name").ok();
        left.trim().is_empty().then_some(()).ok_or(left)
    });
}

#[test]
fn a_bad_policy_is_refused_by_field_before_it_is_stored() {
    let tenant = Tenant::unmade("bad");
    let host = tenant.host();
    host.kubectl(&format!("create namespace {}", tenant.namespace))
        .ok();
    host.kubectl(&format!(
        "label namespace {} vcluster.dev/host=true",
        tenant.namespace
    ))
    .ok();
    let place = json!({"namespace": "default", "name": "x"});
    let cases = [
        (
            json!({"toHost": {"ingress": {}}}),
            "only configmaps, ingresses, networkpolicies",
        ),
        (
            json!({"toHost": {"pods": {"enabled": false}}}),
            "pods cannot be turned off",
        ),
        (
            json!({"toHost": {"secrets": {"namespaces": ["Not_One"]}}}),
            "namespaces must be names",
        ),
        (
            json!({"toHost": {"secrets": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}}),
            "values must be given with In",
        ),
        (
            json!({"fromHost": {"nodes": {"enabled": false}}}),
            "nodes cannot be turned off",
        ),
        (
            json!({"fromHost": {"storageclasses": {"policy": "Used"}}}),
            "policy can be given for nodes only",
        ),
        (
            json!({"fromHost": {"secrets": {"mappings": [{"from": {"name": "vcluster-pki"}, "to": place}]}}}),
            "are the virtual cluster's own",
        ),
        (
            json!({"fromHost": {"secrets": {"enabled": true}}}),
            "are shown by mappings",
        ),
        (
            json!({"fromHost": {"nodes": {"mappings": [{"from": {"name": "a"}, "to": place}]}}}),
            "mappings can be given for",
        ),
    ];
    for (policy, words) in cases {
        let cluster = json!({
            "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "bad", "namespace": tenant.namespace},
            "spec": {"sync": policy},
        });
        let apply = host.kubectl("apply --dry-run=server -f -");
        apply.input(cluster.to_string()).refused(&[words]);
    }
}

/// An object of the host cluster that goes with the test.
struct Guest<'a>(&'a Tenant, String);

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let args = format!("delete {} --ignore-not-found --wait=false", self.1);
        self.0.host().kubectl(&args).run();
    }
}

#[test]
fn a_pod_takes_the_classes_of_the_host_that_are_shared_with_it() {
    let tenant = Tenant::create("podclass");
    let name = tenant.namespace.clone();
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": name, "labels": {"vcluster.dev/shareable": "true"}},
        "value": 1000, "preemptionPolicy": "Never",
    });
    let mut hidden = class.clone();
    hidden["metadata"] = json!({"name": format!("{name}-hidden")});
    let runtime = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": {"name": name, "labels": {"for": "all"}}, "handler": "runc",
    });
    let _guests = [
        Guest(&tenant, format!("priorityclass {name} {name}-hidden")),
        Guest(&tenant, format!("runtimeclass {name}")),
    ];
    for object in [&class, &hidden, &runtime] {
        tenant.host().apply(&object.to_string());
    }
    eventually("the classes are shown", || {
        let shown = tenant
            .kubectl("get priorityclasses,runtimeclasses -o name")
            .ok();
        assert!(!shown.contains("-hidden"), "{shown}");
        let count = shown.matches(&name).count();
        (count == 2).then_some(()).ok_or(shown)
    });
    let inside = tenant.inside();
    inside.apply(&pod("high", &json!({"priorityClassName": name})));
    reaches(&tenant, "pods", "high");
    let made = on_host(&tenant, "pods", "high").expect("it is there");
    assert_eq!(made["spec"]["priorityClassName"], name);
    assert_eq!(made["spec"]["priority"], 1000);
    inside.apply(&pod("fenced", &json!({"runtimeClassName": name})));
    reaches(&tenant, "pods", "fenced");
    let made = on_host(&tenant, "pods", "fenced").expect("it is there");
    assert_eq!(made["spec"]["runtimeClassName"], name);
    // A class of the tenant's own is none of the host's.
    let mut own = runtime.clone();
    own["metadata"] = json!({"name": "mine"});
    inside.apply(&own.to_string());
    inside.apply(&pod("unfenced", &json!({"runtimeClassName": "mine"})));
    told(&tenant, "Pod", "unfenced", "spec.runtimeClassName");
    assert!(on_host(&tenant, "pods", "unfenced").is_none());
}

fn map(kind: &str, name: &str, to: &str) -> Value {
    json!({kind: {"mappings": [{"from": {"name": name}, "to": {"namespace": "default", "name": to}}]}})
}

#[test]
fn configmaps_and_secrets_of_the_host_are_shown_follow_and_go() {
    let tenant = Tenant::create("mapped");
    let namespace = &tenant.namespace;
    let other = format!("{namespace}-infra");
    let on_host = |args: &str| tenant.host().kubectl(args).ok();
    let _guest = Guest(&tenant, format!("namespace {other}"));
    on_host(&format!("create namespace {other}"));
    on_host(&format!(
        "-n {namespace} create configmap shared --from-literal=a=b"
    ));
    on_host(&format!(
        "-n {other} create secret generic registry --from-literal=key=value"
    ));
    let mut policy = map("configmaps", "shared", "config");
    policy["secrets"] = json!({"mappings": [{
        "from": {"namespace": other, "name": "registry"},
        "to": {"namespace": "default", "name": "registry"},
    }]});
    tenant.patch_sync(&json!({"fromHost": policy})).ok();
    let data = |args: &str| {
        let found = tenant
            .kubectl(&format!("get {args} --ignore-not-found -o json"))
            .ok();
        let found: Value = serde_json::from_str(&found).unwrap_or_default();
        found["data"].clone()
    };
    let shows = |args: &str, wanted: Value| {
        eventually(&format!("{args} shows {wanted}"), || {
            let found = data(args);
            (found == wanted)
                .then_some(())
                .ok_or_else(|| found.to_string())
        });
    };
    shows("configmap config", json!({"a": "b"}));
    let says = |words: &str| {
        eventually(&format!("the condition says {words}"), || {
            let cluster = tenant.host().kubectl(&format!(
                "-n {namespace} get virtualcluster {} -o json",
                tenant.name
            ));
            let cluster = cluster.json();
            let all = cluster["status"]["conditions"].to_string();
            all.contains(words).then_some(()).ok_or(all)
        });
    };
    says("Role and a RoleBinding");
    on_host(&format!(
        "-n {other} create role share --verb=get --resource=secrets --resource-name=registry"
    ));
    on_host(&format!(
        "-n {other} create rolebinding share --role=share --serviceaccount={namespace}:vcluster-sync"
    ));
    says("vcluster.dev/shareable=true");
    on_host(&format!(
        "-n {other} label secret registry vcluster.dev/shareable=true"
    ));
    shows("secret registry", json!({"key": "dmFsdWU="}));
    tenant
        .kubectl("label configmap config mine=true")
        .refused(&["mirror the host"]);
    let patch = json!({"data": {"a": "c"}}).to_string();
    let args = [
        "-n",
        namespace,
        "patch",
        "configmap",
        "shared",
        "--type=merge",
        "-p",
        &patch,
    ];
    tenant.host().kubectl_args(&args).ok();
    shows("configmap config", json!({"a": "c"}));
    on_host(&format!("-n {namespace} delete configmap shared"));
    shows("configmap config", Value::Null);
    tenant.patch_sync(&json!({"fromHost": null})).ok();
    shows("secret registry", Value::Null);
}

/// A pod that serves its own name.
fn web() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": PAUSE_POD, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", "echo from-inside > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]}],
        },
    })
}

#[test]
fn services_are_mapped_in_and_out() {
    let tenant = Tenant::create("crossing");
    let namespace = &tenant.namespace;
    let inside = tenant.inside();
    let mut web = web();
    inside.apply(&web.to_string());
    tenant
        .kubectl("expose pod web --port=80 --target-port=8080")
        .ok();
    tenant
        .patch_sync(&json!({
            "toHost": {"services": {"mappings": [
                {"from": {"namespace": "default", "name": "web"}, "to": {"name": "plain"}},
            ]}},
            "fromHost": {"services": {"mappings": [
                {"from": {"name": "host-web"}, "to": {"namespace": "default", "name": "outer"}},
            ]}},
        }))
        .ok();
    // The host's own pod and Service, which the tenant reaches, and which reach the tenant's.
    web["metadata"] =
        json!({"name": "host-web", "namespace": namespace, "labels": {"app": "host-web"}});
    web["spec"]["containers"][0]["command"][2] =
        "echo from-outside > /tmp/index.html; exec httpd -f -p 8080 -h /tmp".into();
    tenant.host().apply(&web.to_string());
    tenant
        .host()
        .kubectl(&format!(
            "-n {namespace} expose pod host-web --port=80 --target-port=8080"
        ))
        .ok();
    eventually("the host's Service is shown with its address", || {
        let host = tenant
            .host()
            .kubectl(&format!("-n {namespace} get service host-web -o json"))
            .json();
        let found = tenant
            .kubectl("get service outer --ignore-not-found -o json")
            .ok();
        let found: Value = serde_json::from_str(&found).unwrap_or_default();
        let same = found["spec"]["clusterIP"] == host["spec"]["clusterIP"];
        same.then_some(()).ok_or_else(|| found.to_string())
    });
    tenant
        .kubectl("wait --for=condition=Ready pod/web --timeout=120s")
        .ok();
    eventually(
        "the tenant reaches the host's Service by its name inside",
        || {
            let answer = tenant
                .kubectl("exec web -- wget -qO- http://outer.default.svc.cluster.local")
                .run();
            let text = answer.to_string();
            text.contains("from-outside").then_some(()).ok_or(text)
        },
    );
    eventually(
        "the host reaches the tenant's Service by a plain name",
        || {
            let service = tenant
                .host()
                .kubectl(&format!("-n {namespace} get service plain -o json"))
                .run();
            if !service.succeeded() {
                return Err(service.to_string());
            }
            let address = tenant
                .host()
                .kubectl(&format!(
                    "-n {namespace} get service plain -o jsonpath={{.spec.clusterIP}}"
                ))
                .ok();
            let answer = tenant
                .host()
                .kubectl(&format!(
                    "-n {namespace} exec host-web -- wget -qO- http://{address}"
                ))
                .run();
            let text = answer.to_string();
            text.contains("from-inside").then_some(()).ok_or(text)
        },
    );
    tenant
        .patch_sync(&json!({"toHost": null, "fromHost": null}))
        .ok();
    eventually("both are gone", || {
        let outside = tenant
            .host()
            .kubectl(&format!(
                "-n {namespace} get service plain --ignore-not-found -o name"
            ))
            .ok();
        let inside = tenant
            .kubectl("get service outer --ignore-not-found -o name")
            .ok();
        let left = format!("{outside}{inside}");
        left.trim().is_empty().then_some(()).ok_or(left)
    });
}
