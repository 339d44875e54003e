//! More than one node: traffic between them, and what becomes of pods when one is cordoned, drained
//! or lost.
//!
//! The second node is tainted, so that nobody but these scenarios has pods on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use integration_tests::{Host, Tenant, eventually, host};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
const NGINX: &str = "docker.io/library/nginx:latest";
const SECOND: &str = "node-2";

/// One at a time: they take the same node away from each other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A template whose pods may be on the second node.
fn template(name: &str, image: &str, more: &Value) -> Value {
    let mut container = json!({"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"});
    if image == BUSYBOX {
        container["command"] = json!(["sleep", "3600"]);
    }
    let mut spec = json!({
        "terminationGracePeriodSeconds": 1, "containers": [container],
        "tolerations": [{"key": "vcluster.dev/second-node", "operator": "Exists"}],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"labels": {"app": name}}, "spec": spec})
}

fn object(kind: &str, version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn controller(kind: &str, name: &str, template: &Value) -> Value {
    let spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
    object(kind, "apps/v1", name, &spec)
}

fn pods(tenant: &Tenant, app: &str) -> Vec<Value> {
    host::items(
        &tenant
            .kubectl(&format!("get pods -l app={app} -o json"))
            .json(),
    )
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

/// The kubelet of the second node, which stands still while this value lives: as a node that lost
/// its network, or its power.
struct Frozen {
    kubelet: Pid,
}

impl Frozen {
    fn freeze() -> Self {
        let host = Host::get();
        let state = host.kubeconfig().parent().expect("it is in a folder");
        let text = std::fs::read(state.join("pid/node-2-kubelet.json"))
            .expect("the cluster was brought up --with second-node");
        let recorded: Value = serde_json::from_slice(&text).expect("JSON");
        let pid = recorded["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok());
        let kubelet = pid.and_then(Pid::from_raw).expect("a pid");
        kill_process(kubelet, Signal::STOP).expect("it runs");
        Self { kubelet }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.kubelet, Signal::CONT);
    }
}

/// Uncordons the second node however the scenario ends.
struct Cordon;

impl Drop for Cordon {
    fn drop(&mut self) {
        let _ = Host::get().kubectl(&format!("uncordon {SECOND}")).run();
    }
}

#[test]
fn pods_on_two_nodes_meet_by_address_service_and_port_and_answer_the_kubelet_endpoint() {
    let _turn = alone();
    let tenant = Tenant::create("across");
    let service = json!({"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]});
    tenant.inside().apply(
        &json!({"apiVersion": "v1", "kind": "List", "items": [
            controller("DaemonSet", "web", &template("web", NGINX, &json!({}))),
            object("Service", "v1", "web", &service),
        ]})
        .to_string(),
    );
    tenant
        .kubectl("rollout status daemonset/web --timeout=180s")
        .ok();
    let pods = eventually("there is a pod on each node", || {
        let pods = pods(&tenant, "web");
        let mut on: Vec<_> = pods.iter().map(node).collect();
        on.sort_unstable();
        if on == ["node-1", SECOND] {
            Ok(pods)
        } else {
            Err(format!("{on:?}"))
        }
    });

    let port = tenant.kubectl("get service web -o json").json();
    let port = port["spec"]["ports"][0]["nodePort"].to_string();
    let nodes = host::items(&tenant.kubectl("get nodes -o json").json());
    let internal = |node: &Value| {
        let addresses = node["status"]["addresses"].as_array()?;
        let one = addresses
            .iter()
            .find(|address| address["type"] == "InternalIP")?;
        Some(format!("{}:{port}", one["address"].as_str()?))
    };
    let mut targets: Vec<String> = nodes.iter().filter_map(internal).collect();
    assert_eq!(targets.len(), 2, "every node has an address");
    targets.extend(["web".to_owned(), "web.default.svc.cluster.local".to_owned()]);
    targets.extend(
        pods.iter()
            .filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_owned)),
    );
    for pod in &pods {
        for target in &targets {
            // By the virtual cluster's own kubelet endpoint, for a pod on either node.
            let ask = format!("exec {} -- wget -q -O- http://{target}/", host::name(pod));
            eventually(&format!("{} reaches {target}", node(pod)), || {
                let answer = tenant.kubectl(&ask).run();
                if answer.stdout.contains("nginx") {
                    Ok(())
                } else {
                    Err(answer)
                }
            });
        }
        let logs = tenant.kubectl(&format!("logs {}", host::name(pod))).ok();
        assert!(logs.contains("GET / HTTP"), "{logs}");
    }
}

#[test]
fn a_node_that_is_cordoned_or_drained_on_the_host_is_so_inside_and_its_pods_move() {
    let _turn = alone();
    let tenant = Tenant::create("moves");
    let host = tenant.host();
    let near = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [SECOND]}]},
    }]}}});
    tenant
        .inside()
        .apply(&controller("Deployment", "web", &template("web", NGINX, &near)).to_string());
    tenant
        .kubectl("rollout status deployment/web --timeout=180s")
        .ok();
    assert_eq!(
        pods(&tenant, "web").iter().map(node).collect::<Vec<_>>(),
        [SECOND]
    );

    let _cordon = Cordon;
    let drained = host
        .kubectl(&format!(
            "drain {SECOND} --ignore-daemonsets --delete-emptydir-data --timeout=100s \
             --pod-selector=vcluster.dev/part=workload"
        ))
        .run();
    eventually("the cordon shows inside", || {
        let node = tenant.kubectl(&format!("get node {SECOND} -o json")).json();
        if node["spec"]["unschedulable"] == true {
            Ok(())
        } else {
            Err("not yet")
        }
    });
    eventually("the pod has moved", || {
        let pods = pods(&tenant, "web");
        let live = pods
            .iter()
            .find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        match live {
            Some(pod) if node(pod) == "node-1" && pod["status"]["phase"] == "Running" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(drained.succeeded(), "{drained}");
}

#[test]
fn a_lost_node_is_lost_inside_too_and_does_not_hold_a_name_for_ever() {
    let _turn = alone();
    let tenant = Tenant::create("lost");
    let on = |node: &str| {
        let pinned = json!({"nodeSelector": {"kubernetes.io/hostname": node}});
        let mut pod = template("db", BUSYBOX, &pinned);
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "db".into();
        pod["metadata"]["namespace"] = "default".into();
        pod.to_string()
    };
    let running = || {
        tenant
            .kubectl("wait --for=condition=Ready pod/db --timeout=120s")
            .ok();
        let pod = tenant.kubectl("get pod db -o json").json();
        let uid = pod["metadata"]["uid"].as_str().expect("it is stored");
        (node(&pod).to_owned(), uid.to_owned())
    };
    tenant.inside().apply(&on(SECOND));
    let (first, uid) = running();
    assert_eq!(first, SECOND);

    let frozen = Frozen::freeze();
    eventually("the node is lost inside as on the host", || {
        let node = tenant.kubectl(&format!("get node {SECOND} -o json")).json();
        let conditions = node["status"]["conditions"].as_array().cloned();
        let ready = conditions
            .unwrap_or_default()
            .into_iter()
            .find(|condition| condition["type"] == "Ready");
        match ready {
            Some(condition) if condition["status"] != "True" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    tenant.kubectl("delete pod db --wait=false").ok();
    // Nobody confirms the end of a pod on a lost node: as on any cluster, it takes force.
    tenant
        .kubectl("delete pod db --force --grace-period=0")
        .ok();
    tenant.inside().apply(&on("node-1"));
    let (second, new) = running();
    assert_eq!(second, "node-1");
    assert_ne!(new, uid);

    drop(frozen);
    eventually(
        "what is left of the old pod goes when its node is back",
        || {
            let left = tenant.host_pods();
            let on: Vec<_> = left.iter().map(node).collect();
            if on == ["node-1"] {
                Ok(())
            } else {
                Err(format!("{on:?}"))
            }
        },
    );
    let (same, still) = running();
    assert_eq!((same.as_str(), still), ("node-1", new));
    tenant
        .host()
        .kubectl(&format!(
            "wait --for=condition=Ready node/{SECOND} --timeout=120s"
        ))
        .ok();
}
