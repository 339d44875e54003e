//! NetworkPolicies, proved by packets: who connects to whom, in a virtual cluster, between two of
//! them, from outside, and to the services.

use std::{fmt::Write as _, thread};

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

fn pod(namespace: &str, name: &str) -> Value {
    // Of both families, where the pod has both.
    let script = match name {
        "web" => "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
        _ => "exec sleep 3600",
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"is": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
        }]},
    })
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn policy(name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
    .to_string()
}

/// A pod to connect from, as the host knows it.
#[derive(Debug, Clone)]
struct From {
    what: &'static str,
    namespace: String,
    pod: String,
}

impl From {
    fn tenant(what: &'static str, tenant: &Tenant, namespace: &str, name: &str) -> Self {
        Self {
            what,
            namespace: tenant.namespace.clone(),
            pod: format!("{name}-x-{namespace}-x-{}", tenant.name),
        }
    }

    fn run(&self, script: &str) -> integration_tests::Output {
        let args = [
            "-n",
            &self.namespace,
            "exec",
            &self.pod,
            "--",
            "sh",
            "-c",
            script,
        ];
        Host::get().kubectl_args(&args).run()
    }

    /// Of each `address port`, whether a connection comes about.
    fn connects(&self, targets: &[String]) -> Result<Vec<bool>, String> {
        let mut script = String::new();
        for target in targets {
            // Writing to a String does not fail.
            let _ = writeln!(
                script,
                "nc -w 2 {target} < /dev/null > /dev/null 2>&1 && echo open || echo shut"
            );
        }
        let output = self.run(&script);
        if !output.succeeded() {
            return Err(output.to_string());
        }
        Ok(output.stdout.lines().map(|line| line == "open").collect())
    }
}

/// Waits until everybody connects to exactly what is expected. Each is asked again as long as any is
/// wrong, so what is shut at the end was shut while the rest was open.
#[track_caller]
fn expect(when: &str, targets: &[String], table: &[(&From, &[bool])]) {
    eventually(when, || {
        let seen = thread::scope(|scope| {
            let asked: Vec<_> = table
                .iter()
                .map(|(from, _)| scope.spawn(|| from.connects(targets)))
                .collect();
            let answers = asked.into_iter().map(thread::ScopedJoinHandle::join);
            answers
                .collect::<Result<Vec<_>, _>>()
                .expect("no thread panics")
        });
        let mut wrong = String::new();
        for ((from, wanted), seen) in table.iter().zip(seen) {
            if seen.as_deref() != Ok(*wanted) {
                let _ = write!(wrong, "{}: {seen:?}, not {wanted:?}; ", from.what);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}

/// Where a pod's web server is connected to: at an address of each family that the host has.
fn addresses(tenant: &Tenant, pod: &str) -> Vec<String> {
    let pod = tenant.kubectl(&format!("get pod {pod} -o json")).json();
    let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
    let found: Vec<_> = ips
        .filter_map(|ip| Some(format!("{} 80", ip["ip"].as_str()?)))
        .collect();
    assert!(!found.is_empty(), "{pod}");
    found
}

/// A host namespace that is no tenant's, with one pod.
struct Bystander {
    name: String,
}

impl Bystander {
    fn create(labels: &Value) -> Self {
        let host = Host::get();
        let id = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("bystander-{}", &id[..6]);
        let mut pod = pod(&name, "main");
        pod["metadata"]["labels"] = labels.clone();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        host.apply(&list(&[namespace]));
        eventually("its account is there", || {
            let account = host
                .kubectl(&format!("-n {name} get serviceaccount default"))
                .run();
            if account.succeeded() {
                Ok(())
            } else {
                Err(account)
            }
        });
        host.apply(&list(&[pod]));
        host.kubectl(&format!(
            "-n {name} wait --for=condition=Ready pod/main --timeout=120s"
        ))
        .ok();
        Self { name }
    }

    fn from(&self) -> From {
        From {
            what: "a pod of the host",
            namespace: self.name.clone(),
            pod: "main".to_owned(),
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let delete = format!("delete namespace {} --wait=false", self.name);
        let _ = Host::get().kubectl(&delete).run();
    }
}

const OPEN: bool = true;
const SHUT: bool = false;

/// Pods in `default`, one in another namespace, one on the second node, and a web server.
fn populate(tenant: &Tenant) {
    tenant.kubectl("create namespace other").ok();
    let mut far = pod("default", "far");
    far["spec"]["tolerations"] = json!([{"key": "vcluster.dev/second-node", "operator": "Exists"}]);
    far["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "node-2"});
    tenant.inside().apply(&list(&[
        pod("default", "web"),
        pod("default", "friend"),
        pod("default", "stranger"),
        far,
        pod("other", "guest"),
    ]));
    for namespace in ["default", "other"] {
        tenant
            .kubectl(&format!(
                "-n {namespace} wait --for=condition=Ready pod --all --timeout=180s"
            ))
            .ok();
    }
}

/// What the API server of a virtual cluster reaches, it reaches as it reaches webhooks.
fn api_server_reaches(tenant: &Tenant, pod: &str) -> bool {
    let path = format!("get --raw /api/v1/namespaces/default/pods/{pod}:80/proxy/");
    tenant.kubectl(&path).run().succeeded()
}

/// Two virtual clusters with the same pods, and those who connect to the web server of each.
struct Two {
    red: Tenant,
    blue: Tenant,
    /// A friend, a stranger, a pod on the second node and one of another namespace, all of red;
    /// blue's friend; a pod of the host.
    everybody: [From; 6],
    webs: [Vec<String>; 2],
    _bystander: Bystander,
}

type Table = [[bool; 2]; 6];

impl Two {
    fn create() -> Self {
        let (red, blue) = thread::scope(|scope| {
            let blue = scope.spawn(|| {
                let blue = Tenant::create("blue");
                populate(&blue);
                blue
            });
            let red = Tenant::create("red");
            populate(&red);
            (red, blue.join().expect("blue is made"))
        });
        let bystander = Bystander::create(&json!({"is": "friend"}));
        let everybody = [
            From::tenant("red friend", &red, "default", "friend"),
            From::tenant("red stranger", &red, "default", "stranger"),
            From::tenant("red on node-2", &red, "default", "far"),
            From::tenant("red guest", &red, "other", "guest"),
            From::tenant("blue friend", &blue, "default", "friend"),
            bystander.from(),
        ];
        Self {
            webs: [addresses(&red, "web"), addresses(&blue, "web")],
            red,
            blue,
            everybody,
            _bystander: bystander,
        }
    }

    /// Who of everybody connects to red's web server, and to blue's.
    #[track_caller]
    fn check(&self, when: &str, wanted: &Table) {
        let of_each = |wanted: &[bool; 2]| -> Vec<bool> {
            let webs = self.webs.iter().zip(wanted);
            webs.flat_map(|(web, open)| web.iter().map(|_| *open))
                .collect()
        };
        let wanted: Vec<Vec<bool>> = wanted.iter().map(of_each).collect();
        let table: Vec<(&From, &[bool])> = self
            .everybody
            .iter()
            .zip(&wanted)
            .map(|(from, wanted)| (from, wanted.as_slice()))
            .collect();
        expect(when, &self.webs.concat(), &table);
    }

    /// Applies red's policy of the pods in `default`, under one name.
    fn red(&self, rest: &Value) {
        self.red.inside().apply(&policy("rules", rest));
    }

    fn asks_dns(&self) -> integration_tests::Output {
        self.everybody[0].run("nslookup kubernetes.default.svc.cluster.local")
    }
}

/// A policy of every pod, in both directions.
fn of_all(ingress: &Value, egress: &Value) -> Value {
    json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress})
}

const ONLY_FRIEND: Table = [
    [OPEN, SHUT],
    [SHUT, SHUT],
    [SHUT, SHUT],
    [SHUT, OPEN],
    [SHUT, OPEN],
    [SHUT, OPEN],
];

#[test]
fn policies_of_a_virtual_cluster_stop_packets_within_it_and_never_touch_another() {
    let two = Two::create();
    two.check("without policies everybody connects", &[[OPEN, OPEN]; 6]);

    two.red(&of_all(&json!([]), &json!([])));
    let mut table = ONLY_FRIEND;
    table[0] = [SHUT, SHUT];
    two.check(
        "a default deny holds within its namespace, and for nobody else's pods",
        &table,
    );
    assert!(!two.asks_dns().succeeded(), "DNS is shut like the rest");
    assert!(api_server_reaches(&two.red, "web"), "webhooks still work");

    let everywhere = json!([{"namespaceSelector": {}}]);
    two.red(&of_all(
        &json!([{"from": everywhere}]),
        &json!([{"to": everywhere}]),
    ));
    table[..3].fill([OPEN, SHUT]);
    table[3] = [OPEN, OPEN];
    two.check(
        "every namespace is every namespace of the own cluster",
        &table,
    );
    eventually("the own DNS server answers", || {
        let asked = two.asks_dns();
        if asked.succeeded() {
            Ok(())
        } else {
            Err(asked)
        }
    });

    let friends = json!([{"from": [{"podSelector": {"matchLabels": {"is": "friend"}}}], "ports": [{"port": 80}]}]);
    two.red(&of_all(&friends, &json!([{"to": everywhere}])));
    two.check("labels mean the own pods with them", &ONLY_FRIEND);

    another_neither_opens_nor_shuts(&two);

    two.red.kubectl("delete networkpolicy rules").ok();
    let mut table = [[OPEN, SHUT]; 6];
    table[4] = [SHUT, SHUT];
    two.check(
        "without policies of its own everybody connects again",
        &table,
    );
}

/// Whatever blue says, red's stay as they are.
fn another_neither_opens_nor_shuts(two: &Two) {
    let blue = |rest: &Value| two.blue.inside().apply(&policy("rules", rest));
    blue(&of_all(&json!([{}]), &json!([{}])));
    eventually("blue's policy is on the host", || {
        let made = Host::get().list(&format!("-n {} networkpolicies", two.blue.namespace));
        if made.is_empty() {
            Err("not yet")
        } else {
            Ok(())
        }
    });
    two.check(
        "what another cluster opens opens nothing here",
        &ONLY_FRIEND,
    );

    blue(&of_all(&json!([]), &json!([])));
    let mut table = [[SHUT, SHUT]; 6];
    table[0] = [OPEN, SHUT];
    two.check("what another cluster shuts shuts nothing here", &table);
}

/// `address port` of each port of a service's pod, by the port's name.
fn ports(service: &str, wanted: &[&str]) -> Vec<String> {
    let args = format!(
        "-n {} pods -l app.kubernetes.io/name=vcluster-{service}",
        host::RELEASE
    );
    let pods = Host::get().list(&args);
    let pod = pods.first().expect("the service runs");
    let ip = pod["status"]["podIP"].as_str().expect("it has an address");
    let declared = pod["spec"]["containers"][0]["ports"].as_array();
    let number = |name: &&str| {
        let port = declared?.iter().find(|port| port["name"] == **name)?;
        Some(format!("{ip} {}", port["containerPort"]))
    };
    let found: Vec<String> = wanted.iter().filter_map(number).collect();
    assert_eq!(found.len(), wanted.len(), "{pod}");
    found
}

#[test]
fn only_those_whom_the_services_serve_connect_to_them() {
    let installed = Host::get().list(&format!("-n {} networkpolicies", host::RELEASE));
    assert!(
        !installed.is_empty(),
        "install with --set networkPolicies.enabled=true, as `cargo xtask test` does"
    );
    let tenant = Tenant::create("curious");
    let mut pretender = pod("default", "pretender");
    pretender["metadata"]["labels"]["vcluster.dev/part"] = "control-plane".into();
    tenant
        .inside()
        .apply(&list(&[pod("default", "main"), pretender]));
    tenant
        .kubectl("wait --for=condition=Ready pod --all --timeout=180s")
        .ok();
    // The label alone is not enough: the namespace must be open to virtual clusters.
    let bystander = Bystander::create(&json!({"vcluster.dev/part": "control-plane"}));
    let main = From::tenant("a tenant's pod", &tenant, "default", "main");
    let pretender = From::tenant(
        "a tenant's pod in disguise",
        &tenant,
        "default",
        "pretender",
    );
    let outsider = bystander.from();

    let mut targets = ports("connect", &["api", "admin"]);
    targets.extend(ports("control", &["admin", "api"]));
    targets.extend(ports("sync", &["admin", "api", "kubelet", "webhook"]));
    let wanted = [OPEN, OPEN, OPEN, SHUT, OPEN, SHUT, SHUT, SHUT];
    expect(
        "the gateway is for everybody, and the rest for those who need it",
        &targets,
        &[
            (&main, wanted.as_slice()),
            (&pretender, &wanted),
            (&outsider, &wanted),
        ],
    );

    // Those who need it: the gateway, and virtual API servers.
    tenant.host().vcluster("list -A").ok();
    tenant
        .kubectl("create service clusterip made --tcp=80")
        .ok();
    tenant.kubectl("logs main").ok();
}
