//! What a pod of a virtual cluster is and does, as it is and does on any cluster.

use std::collections::BTreeSet;

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// A container that runs a script, for ever if it says nothing else.
fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", format!("trap 'exit 0' TERM; {script}")],
    })
}

const FOR_EVER: &str = "sleep 3600 & wait";

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [container("main", FOR_EVER)]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn ready(tenant: &Tenant, name: &str) {
    tenant
        .kubectl(&format!(
            "wait --for=condition=Ready pod/{name} --timeout=120s"
        ))
        .ok();
}

fn inside(tenant: &Tenant, name: &str) -> Value {
    tenant.kubectl(&format!("get pod {name} -o json")).json()
}

fn outside(tenant: &Tenant, name: &str) -> Value {
    eventually("the host pod is there", || {
        let pods = tenant.host_pods();
        let mut of = pods
            .into_iter()
            .filter(|pod| pod["metadata"]["annotations"]["vcluster.dev/name"] == name);
        of.next().ok_or("no such pod yet")
    })
}

/// Runs a shell command in the main container of a virtual pod.
fn shell(tenant: &Tenant, name: &str, script: &str) -> String {
    let pod = outside(tenant, name);
    let pod = host::name(&pod);
    let args = [
        "-n",
        &tenant.namespace,
        "exec",
        pod,
        "-c",
        "main",
        "--",
        "sh",
        "-c",
        script,
    ];
    tenant.host().kubectl_args(&args).ok()
}

/// Waits until a value of the virtual pod is as wanted.
fn becomes(tenant: &Tenant, name: &str, pointer: &str, wanted: impl Fn(&Value) -> bool) {
    eventually(&format!("{pointer} of {name}"), || {
        let pod = inside(tenant, name);
        match pod.pointer(pointer) {
            Some(found) if wanted(found) => Ok(()),
            found => Err(format!("{found:?} in {}", pod["status"])),
        }
    });
}

#[test]
fn containers_start_and_end_in_the_order_of_the_pod() {
    let tenant = Tenant::create("order");
    let work = json!([{"name": "work", "mountPath": "/shared"}]);
    let with = |mut container: Value| {
        container["volumeMounts"] = work.clone();
        container
    };
    let mut sidecar = with(container(
        "sidecar",
        &format!("echo sidecar >> /shared/order; {FOR_EVER}"),
    ));
    sidecar["restartPolicy"] = "Always".into();
    sidecar["startupProbe"] = json!({
        "exec": {"command": ["grep", "sidecar", "/shared/order"]}, "periodSeconds": 1,
    });
    let main = with(container(
        "main",
        &format!("echo main >> /shared/order; {FOR_EVER}"),
    ));
    tenant.inside().apply(
        &pod(
            "ordered",
            &json!({
                "initContainers": [with(container("first", "echo first >> /shared/order")), sidecar],
                "containers": [main],
                "volumes": [{"name": "work", "emptyDir": {}}],
            }),
        )
        .to_string(),
    );
    ready(&tenant, "ordered");
    assert_eq!(
        shell(&tenant, "ordered", "cat /shared/order"),
        "first\nsidecar\nmain\n"
    );
    let found = inside(&tenant, "ordered");
    let init = |index: usize| &found["status"]["initContainerStatuses"][index];
    assert_eq!(init(0)["state"]["terminated"]["reason"], "Completed");
    assert_eq!(init(1)["started"], true);
    assert_eq!(found["status"]["qosClass"], "BestEffort");
    assert_eq!(
        found["status"]["observedGeneration"],
        found["metadata"]["generation"]
    );
}

#[test]
fn a_pod_is_resized_in_place_and_takes_a_container_for_debugging() {
    let tenant = Tenant::create("change");
    let mut main = container("main", FOR_EVER);
    main["resources"] = json!({
        "requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"},
    });
    tenant
        .inside()
        .apply(&pod("changing", &json!({"containers": [main]})).to_string());
    ready(&tenant, "changing");
    let before = outside(&tenant, "changing");

    let resize = json!({"spec": {"containers": [{"name": "main", "resources": {
        "requests": {"cpu": "30m"}, "limits": {"cpu": "150m"},
    }}]}});
    let inside_ = tenant.inside();
    let patch = resize.to_string();
    inside_
        .kubectl_args(&[
            "patch",
            "pod",
            "changing",
            "--subresource=resize",
            "-p",
            &patch,
        ])
        .ok();
    becomes(
        &tenant,
        "changing",
        "/status/containerStatuses/0/resources/limits/cpu",
        |cpu| cpu == "150m",
    );
    let after = outside(&tenant, "changing");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(
        after["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "30m"
    );
    assert_eq!(
        inside(&tenant, "changing")["status"]["containerStatuses"][0]["restartCount"],
        0
    );

    let debug = [
        "debug",
        "changing",
        "--image",
        BUSYBOX,
        "--image-pull-policy=IfNotPresent",
        "-c",
        "look",
        "--target=main",
        "--profile=general",
        "--attach=false",
        "--",
        "sleep",
        "3600",
    ];
    inside_.kubectl_args(&debug).ok();
    becomes(
        &tenant,
        "changing",
        "/status/ephemeralContainerStatuses/0/state",
        |state| state["running"].is_object(),
    );
}

#[test]
fn a_readiness_gate_is_opened_from_inside() {
    let tenant = Tenant::create("gate");
    let gates = json!({"readinessGates": [{"conditionType": "example.com/gate"}]});
    tenant.inside().apply(&pod("gated", &gates).to_string());
    becomes(&tenant, "gated", "/status/phase", |phase| {
        phase == "Running"
    });
    let condition = |pod: &Value, type_: &str| {
        let all = pod["status"]["conditions"].as_array();
        all.into_iter()
            .flatten()
            .find(|condition| condition["type"] == type_)
            .map(|condition| condition["status"].clone())
    };
    eventually("its containers are ready and it is not", || {
        let found = inside(&tenant, "gated");
        let of = |type_| condition(&found, type_);
        if of("ContainersReady") == Some(json!("True")) && of("Ready") == Some(json!("False")) {
            Ok(())
        } else {
            Err(found["status"]["conditions"].to_string())
        }
    });
    let open = json!({"status": {"conditions": [
        {"type": "example.com/gate", "status": "True", "reason": "Opened"},
    ]}})
    .to_string();
    tenant
        .inside()
        .kubectl_args(&["patch", "pod", "gated", "--subresource=status", "-p", &open])
        .ok();
    ready(&tenant, "gated");
    let found = inside(&tenant, "gated");
    assert_eq!(condition(&found, "example.com/gate"), Some(json!("True")));

    // A pod that its own controllers hold back is not made on the host, and is when they let go.
    let held = json!({"schedulingGates": [{"name": "example.com/quota"}]});
    tenant.inside().apply(&pod("held", &held).to_string());
    becomes(&tenant, "held", "/status/conditions/0/reason", |reason| {
        reason == "SchedulingGated"
    });
    assert_eq!(tenant.host_pods().len(), 1);
    tenant
        .inside()
        .kubectl_args(&[
            "patch",
            "pod",
            "held",
            "-p",
            r#"{"spec":{"schedulingGates":null}}"#,
        ])
        .ok();
    ready(&tenant, "held");
}

#[test]
fn a_pod_that_the_host_lost_is_told_to_have_failed_to_those_who_hold_it() {
    let tenant = Tenant::create("lost");
    let mut held = pod("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    tenant.inside().apply(&held.to_string());
    ready(&tenant, "held");
    let lost = outside(&tenant, "held");
    let args = format!(
        "-n {} delete pod {} --force --grace-period=0",
        tenant.namespace,
        host::name(&lost)
    );
    tenant.host().kubectl(&args).ok();
    // As a Job waits for it before it makes another.
    becomes(&tenant, "held", "/status/phase", |phase| phase == "Failed");
    let found = inside(&tenant, "held");
    assert_eq!(
        found.pointer("/status/containerStatuses/0/state/terminated/exitCode"),
        Some(&json!(137))
    );
    let free = json!({"metadata": {"finalizers": null}}).to_string();
    tenant
        .inside()
        .kubectl_args(&["patch", "pod", "held", "--type=merge", "-p", &free])
        .ok();
    tenant
        .kubectl("wait --for=delete pod/held --timeout=60s")
        .ok();
}

#[test]
fn a_pod_learns_of_itself_what_the_virtual_cluster_says() {
    let tenant = Tenant::create("downward");
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let mut main = container("main", FOR_EVER);
    main["resources"] = json!({
        "requests": {"cpu": "10m"}, "limits": {"cpu": "2", "memory": "64Mi"},
    });
    main["env"] = json!([
        {"name": "TIER", "valueFrom": field("metadata.labels['tier']")},
        {"name": "NOTE", "valueFrom": field("metadata.annotations['example.com/note']")},
        {"name": "NODE", "valueFrom": field("spec.nodeName")},
        {"name": "IP", "valueFrom": field("status.podIP")},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ]);
    main["volumeMounts"] = json!([
        {"name": "info", "mountPath": "/info"}, {"name": "token", "mountPath": "/token"},
    ]);
    let items = json!([
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        {"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}},
    ]);
    let token = json!({"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}});
    let mut made = pod(
        "me",
        &json!({
            "containers": [main],
            "volumes": [
                {"name": "info", "downwardAPI": {"items": items}},
                {"name": "token", "projected": {"sources": [token]}},
            ],
        }),
    );
    made["metadata"]["labels"] = json!({"tier": "front", "app.kubernetes.io/name": "me"});
    made["metadata"]["annotations"] = json!({"example.com/note": "two\nlines"});
    tenant.kubectl("create -f -").input(made.to_string()).ok();
    ready(&tenant, "me");
    let found = inside(&tenant, "me");
    let text = |pointer: &str| {
        found
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    assert_eq!(
        shell(&tenant, "me", "echo \"$TIER|$NOTE|$NODE|$IP|$CPU\""),
        format!(
            "front|two\nlines|{}|{}|2\n",
            text("/spec/nodeName"),
            text("/status/podIP")
        )
    );
    assert_eq!(
        shell(
            &tenant,
            "me",
            "cat /info/labels; echo; cat /info/annotations; echo; cat /info/uid /info/memory"
        ),
        format!(
            "app.kubernetes.io/name=\"me\"\ntier=\"front\"\nexample.com/note=\"two\\nlines\"\n{}67108864",
            text("/metadata/uid")
        )
    );
    // The token is for the audience that was asked for, and for no other.
    let token = shell(&tenant, "me", "cat /token/vault");
    let review = |audiences: Value| {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        });
        let answer = tenant
            .kubectl("create -o json -f -")
            .input(review.to_string());
        answer.json()["status"]["authenticated"] == json!(true)
    };
    assert!(review(json!(["vault"])));
    assert!(!review(json!([])));
}

#[test]
fn controllers_of_the_virtual_cluster_get_what_they_ask_for() {
    let tenant = Tenant::create("batch");
    let template = |labels: Value, restart: &str, script: &str| {
        json!({"metadata": {"labels": labels}, "spec": {
            "restartPolicy": restart, "terminationGracePeriodSeconds": 5,
            "containers": [container("main", script)],
        }})
    };
    let job = json!({"completions": 2, "parallelism": 2, "template": template(json!({}), "Never", "exit 0")});
    let agent = json!({"app": "agent"});
    let mut everywhere = template(agent.clone(), "Always", FOR_EVER);
    everywhere["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "default"}, "spec": job},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "often", "namespace": "default"},
         "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}},
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "default"},
         "spec": {"selector": {"matchLabels": agent}, "template": everywhere}},
    ]});
    tenant.inside().apply(&list.to_string());
    tenant.kubectl("create job now --from=cronjob/often").ok();
    for job in ["once", "now"] {
        tenant
            .kubectl(&format!(
                "wait --for=condition=Complete job/{job} --timeout=120s"
            ))
            .ok();
    }
    tenant
        .kubectl("rollout status daemonset/agent --timeout=120s")
        .ok();
    let nodes: BTreeSet<_> = tenant
        .host()
        .list("nodes")
        .iter()
        .map(|node| host::name(node).to_owned())
        .collect();
    let agents = host::items(&tenant.kubectl("get pods -l app=agent -o json").json());
    let on = |pod: &Value| pod["spec"]["nodeName"].as_str().map(str::to_owned);
    let agents: BTreeSet<_> = agents.iter().filter_map(on).collect();
    assert_eq!(agents, nodes);
}

#[test]
fn a_pod_of_a_stateful_set_knows_its_qualified_name() {
    let tenant = Tenant::create("stateful");
    let labels = json!({"app": "db"});
    let template = json!({"metadata": {"labels": labels}, "spec": {
        "terminationGracePeriodSeconds": 5,
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["elsewhere"]}],
        "containers": [container("main", FOR_EVER)],
    }});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "default"},
         "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 80}]}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
         "spec": {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": labels}, "template": template}},
    ]});
    tenant.inside().apply(&list.to_string());
    tenant
        .kubectl("rollout status statefulset/db --timeout=120s")
        .ok();
    let found = inside(&tenant, "db-0");
    let ip = found["status"]["podIP"].as_str().expect("it runs");
    assert_eq!(
        shell(
            &tenant,
            "db-0",
            "hostname; hostname -f; hostname -i; grep elsewhere /etc/hosts"
        ),
        format!("db-0\ndb-0.db.default.svc.cluster.local\n{ip}\n192.0.2.1\telsewhere\n")
    );
    // Nothing inside tells how.
    assert!(!found.to_string().contains("vcluster-hosts"), "{found}");
    let events = tenant.kubectl("get events -o json").json();
    assert!(!events.to_string().contains("vcluster-hosts"), "{events}");
}

#[test]
fn pods_reach_the_host_only_where_its_administrator_lets_them() {
    let tenant = Tenant::unmade("reach");
    let host = tenant.host();
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    host.kubectl(&format!("create namespace {namespace}")).ok();
    host.kubectl(&format!(
        "label namespace {namespace} vcluster.dev/host=true pod-security.kubernetes.io/enforce=privileged"
    ))
    .ok();
    host.vcluster(&format!("create {name} -n {namespace} --timeout 180s"))
        .ok();
    tenant.connect();
    let near = json!({
        "hostNetwork": true,
        "dnsPolicy": "Default",
        "volumes": [{"name": "proc", "hostPath": {"path": "/proc"}}],
    });
    tenant.inside().apply(&pod("near", &near).to_string());
    ready(&tenant, "near");
    let found = inside(&tenant, "near");
    assert_eq!(found["status"]["podIP"], found["status"]["hostIP"]);
}

#[test]
fn what_reaches_the_host_is_refused_by_field_and_says_what_helps() {
    let tenant = Tenant::create("refuse");
    let unconfined = json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}});
    for (name, spec, field) in [
        ("network", json!({"hostNetwork": true}), "spec.hostNetwork"),
        (
            "fence",
            unconfined,
            "spec.securityContext.seccompProfile.type",
        ),
    ] {
        tenant.inside().apply(&pod(name, &spec).to_string());
        becomes(&tenant, name, "/status/conditions", |conditions| {
            let all = conditions.as_array();
            all.into_iter().flatten().any(|condition| {
                let message = condition["message"].as_str().unwrap_or_default();
                message.contains(field) && message.contains("pod-security.kubernetes.io/enforce")
            })
        });
    }
    assert!(tenant.host_pods().is_empty());
}
