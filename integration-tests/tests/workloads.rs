//! Pods of a virtual cluster on the host's nodes.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

fn deployment(namespace: &str, name: &str, replicas: u32) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{"name": "web", "image": "docker.io/library/nginx:latest",
                        "imagePullPolicy": "IfNotPresent"}],
                },
            },
        },
    })
    .to_string()
}

fn sleeper(namespace: &str, name: &str, rest: &Value) -> String {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}],
        },
    });
    merge(&mut pod, rest);
    pod.to_string()
}

/// RFC 7396, but lists are merged item by item so that a test can add to the one container.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if into.len() == from.len() => {
            for (into, from) in into.iter_mut().zip(from) {
                merge(into, from);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn rollout(tenant: &Tenant, namespace: &str, name: &str) {
    tenant
        .kubectl(&format!(
            "-n {namespace} rollout status deployment/{name} --timeout=120s"
        ))
        .ok();
}

fn host_pod(tenant: &Tenant, namespace: &str, name: &str) -> Value {
    eventually("the host pod is there", || {
        tenant
            .host_pods()
            .into_iter()
            .find(|pod| {
                let notes = &pod["metadata"]["annotations"];
                notes["vcluster.dev/name"] == name && notes["vcluster.dev/namespace"] == namespace
            })
            .ok_or("no such pod yet")
    })
}

fn running(tenant: &Tenant, namespace: &str, name: &str) {
    tenant
        .kubectl(&format!(
            "-n {namespace} wait --for=condition=Ready pod/{name} --timeout=120s"
        ))
        .ok();
}

/// Runs a shell command in the host pod of a virtual pod.
fn shell(tenant: &Tenant, namespace: &str, name: &str, script: &str) -> String {
    let pod = host_pod(tenant, namespace, name);
    let args = [
        "-n",
        &tenant.namespace,
        "exec",
        host::name(&pod),
        "--",
        "sh",
        "-c",
        script,
    ];
    tenant.host().kubectl_args(&args).ok()
}

#[test]
fn a_deployment_runs_on_the_host_and_shows_only_as_pods_there() {
    let tenant = Tenant::create("deploy");
    tenant.kubectl("create namespace demo-nginx").ok();
    tenant.inside().apply(&deployment("demo-nginx", "nginx", 2));
    rollout(&tenant, "demo-nginx", "nginx");

    let host = tenant.host();
    host.kubectl("get namespace demo-nginx")
        .refused(&["not found"]);
    let outside = host.list(&format!("-n {} deployments", tenant.namespace));
    let names: Vec<&str> = outside.iter().map(host::name).collect();
    assert_eq!(names, ["vcluster-dns"], "only the control plane's own");
    let inside = host::items(&tenant.kubectl("-n demo-nginx get pods -o json").json());
    assert_eq!(inside.len(), 2);
    for pod in &inside {
        let outside = host_pod(&tenant, "demo-nginx", host::name(pod));
        let expected = format!("{}-x-demo-nginx-x-deploy", host::name(pod));
        assert_eq!(host::name(&outside), expected);
        for field in ["podIP", "phase", "hostIP"] {
            assert_eq!(pod["status"][field], outside["status"][field], "{field}");
        }
        assert_eq!(pod["spec"]["nodeName"], outside["spec"]["nodeName"]);
    }

    // From above: scaling down removes the host pods.
    tenant
        .kubectl("-n demo-nginx scale deployment/nginx --replicas=0")
        .ok();
    eventually("the host pods go", || match tenant.host_pods() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{} left", left.len())),
    });
}

#[test]
fn nodes_bear_the_host_nodes_names() {
    let tenant = Tenant::create("nodes");
    let names = |list: Vec<Value>| -> Vec<String> {
        list.iter()
            .map(|node| host::name(node).to_owned())
            .collect()
    };
    let outside = names(tenant.host().list("nodes"));
    let inside = eventually("the nodes appear", || {
        let inside = names(host::items(&tenant.kubectl("get nodes -o json").json()));
        if inside.len() == outside.len() {
            Ok(inside)
        } else {
            Err(format!("{inside:?}"))
        }
    });
    assert_eq!(inside, outside);
    tenant
        .kubectl("wait --for=condition=Ready node --all --timeout=60s")
        .ok();
    // The node's ports are the host's: nobody inside reaches them through the API server.
    let proxy = format!(
        "get --raw /api/v1/nodes/https:{}:6443/proxy/version",
        inside[0]
    );
    tenant.kubectl(&proxy).refused(&["host cluster"]);
}

#[test]
fn a_pod_sees_its_virtual_self() {
    let tenant = Tenant::create("self");
    let inside = tenant.inside();
    inside.apply(
        r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"default"},"data":{"colour":"green"}},
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"keys","namespace":"default"},"stringData":{"key":"s3cret"}}]}"#,
    );
    let container = json!({
        "env": [
            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
        ],
        "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
    });
    let pod = json!({"spec": {
        "containers": [container],
        "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
    }});
    inside.apply(&sleeper("default", "me", &pod));
    running(&tenant, "default", "me");

    let uid = tenant
        .kubectl("get pod me -o jsonpath={.metadata.uid}")
        .ok();
    let seen = shell(
        &tenant,
        "default",
        "me",
        "echo $COLOUR $NAME $NAMESPACE $UID $ACCOUNT; cat /keys/key; echo; hostname",
    );
    assert_eq!(
        seen,
        format!("green me default {uid} default\ns3cret\nme\n")
    );

    // Its token is the virtual cluster's, for the virtual service account.
    let token = shell(
        &tenant,
        "default",
        "me",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token",
    );
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    })
    .to_string();
    let reviewed = tenant
        .kubectl("create -o json -f -")
        .input(review.clone())
        .json();
    assert_eq!(
        reviewed["status"]["user"]["username"],
        "system:serviceaccount:default:default"
    );
    let outside = tenant
        .host()
        .kubectl("create -o json -f -")
        .input(review)
        .json();
    assert_ne!(outside["status"]["authenticated"], json!(true));

    // The address that it is told is the virtual API server's.
    let told = shell(&tenant, "default", "me", "echo $KUBERNETES_SERVICE_HOST");
    let service = tenant.host().kubectl(&format!(
        "-n {} get service {} -o jsonpath={{.spec.clusterIP}}",
        tenant.namespace, tenant.name
    ));
    assert_eq!(told.trim(), service.ok());
}

#[test]
fn a_pod_that_the_host_evicts_is_replaced_and_drain_needs_no_force() {
    let tenant = Tenant::create("drain");
    tenant.inside().apply(&deployment("default", "web", 1));
    rollout(&tenant, "default", "web");
    let before = tenant.host_pods();
    let node = before[0]["spec"]["nodeName"]
        .as_str()
        .expect("it runs")
        .to_owned();
    let host = tenant.host();
    // Only this tenant's workload is drained: the machine has one node.
    host.kubectl(&format!(
        "drain {node} --ignore-daemonsets --delete-emptydir-data --timeout=90s \
         --pod-selector=vcluster.dev/part=workload,vcluster.dev/cluster=drain"
    ))
    .ok();
    host.kubectl(&format!("uncordon {node}")).ok();
    rollout(&tenant, "default", "web");
    let after = eventually("another pod took its place", || {
        tenant
            .host_pods()
            .into_iter()
            .find(|pod| host::name(pod) != host::name(&before[0]))
            .ok_or("not yet")
    });
    assert!(after["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn a_pod_deleted_on_the_host_is_replaced_by_its_controller() {
    let tenant = Tenant::create("gone");
    tenant.inside().apply(&deployment("default", "web", 1));
    rollout(&tenant, "default", "web");
    let before = tenant.host_pods();
    let name = host::name(&before[0]);
    tenant
        .host()
        .kubectl(&format!(
            "-n {} delete pod {name} --force --grace-period=0",
            tenant.namespace
        ))
        .ok();
    eventually("a new pod runs", || {
        let pods = tenant.host_pods();
        let runs = |p: &&Value| host::name(p) != name && p["status"]["phase"] == "Running";
        pods.iter()
            .find(runs)
            .map(|_| ())
            .ok_or_else(|| format!("{} pods", pods.len()))
    });
    rollout(&tenant, "default", "web");
}

#[test]
fn names_that_could_meet_stay_apart() {
    let tenant = Tenant::create("apart");
    for namespace in ["b", "x-b"] {
        tenant
            .kubectl(&format!("create namespace {namespace}"))
            .ok();
    }
    let inside = tenant.inside();
    inside.apply(&sleeper("b", "a-x", &json!({})));
    inside.apply(&sleeper("x-b", "a", &json!({})));
    running(&tenant, "b", "a-x");
    running(&tenant, "x-b", "a");
    let long = "n".repeat(200);
    inside.apply(&sleeper("b", &long, &json!({})));
    running(&tenant, "b", &long);
    assert_eq!(tenant.host_pods().len(), 3);
}

#[test]
fn the_api_servers_own_service_bears_the_address_of_the_hosts() {
    let tenant = Tenant::create("api");
    let address = tenant
        .kubectl("get service kubernetes -o jsonpath={.spec.clusterIP}")
        .ok();
    let host = tenant.host().kubectl(&format!(
        "-n {} get service {} -o jsonpath={{.spec.clusterIP}}",
        tenant.namespace, tenant.name
    ));
    assert_eq!(address, host.ok());
    // The administrator of the virtual cluster neither sees nor removes what guards it.
    for kind in [
        "validatingadmissionpolicies",
        "mutatingwebhookconfigurations",
    ] {
        let found = tenant.kubectl(&format!("get {kind} -o json")).json();
        assert!(host::items(&found).is_empty(), "{kind}");
    }
}

#[test]
fn cluster_first_pods_do_not_get_the_host_clusters_dns() {
    let tenant = Tenant::create("dns");
    tenant
        .inside()
        .apply(&sleeper("default", "resolver", &json!({})));
    running(&tenant, "default", "resolver");
    let pod = host_pod(&tenant, "default", "resolver");
    let cluster = tenant
        .host()
        .kubectl(&format!(
            "-n {} get virtualcluster dns -o json",
            tenant.namespace
        ))
        .json();
    assert_eq!(pod["spec"]["dnsPolicy"], "None");
    assert_eq!(
        pod["spec"]["dnsConfig"]["nameservers"],
        json!([cluster["status"]["dnsAddress"]])
    );
}

#[test]
fn what_cannot_be_translated_is_told_on_the_pod() {
    let tenant = Tenant::create("told");
    let pod = json!({"spec": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}});
    tenant.inside().apply(&sleeper("default", "greedy", &pod));
    eventually("an event tells why", || {
        let events = tenant
            .kubectl("get events --field-selector=involvedObject.name=greedy -o json")
            .json();
        let told = |event: &Value| {
            event["message"]
                .as_str()
                .is_some_and(|m| m.contains("hostPath"))
        };
        if host::items(&events).iter().any(told) {
            Ok(())
        } else {
            Err(events.to_string())
        }
    });
    assert!(tenant.host_pods().is_empty());
}

#[test]
fn host_events_of_a_pod_come_up() {
    let tenant = Tenant::create("events");
    tenant
        .inside()
        .apply(&sleeper("default", "noisy", &json!({})));
    running(&tenant, "default", "noisy");
    eventually("the kubelet's events are seen", || {
        let events = tenant
            .kubectl("get events --field-selector=involvedObject.name=noisy -o json")
            .json();
        let started = |event: &Value| event["reason"] == "Started";
        if host::items(&events).iter().any(started) {
            Ok(())
        } else {
            Err(events.to_string())
        }
    });
}

#[test]
fn a_pod_whose_label_an_outsider_removes_is_kept_and_found_again() {
    let tenant = Tenant::create("label");
    tenant
        .inside()
        .apply(&sleeper("default", "marked", &json!({})));
    running(&tenant, "default", "marked");
    let before = host_pod(&tenant, "default", "marked");
    let (name, namespace) = (host::name(&before), &tenant.namespace);
    let uid = tenant
        .kubectl("get pod marked -o jsonpath={.metadata.uid}")
        .ok();
    tenant
        .host()
        .kubectl(&format!(
            "-n {namespace} label pod {name} vcluster.dev/part-"
        ))
        .ok();
    let after = host_pod(&tenant, "default", "marked");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let still = tenant.kubectl("get pod marked -o jsonpath={.metadata.uid}");
    assert_eq!(still.ok(), uid);
}
