//! Services of a virtual cluster: their addresses, their names, and what the host gives and refuses.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
const NGINX: &str = "docker.io/library/nginx:latest";

fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"]}],
        },
    })
}

fn web(namespace: &str) -> Value {
    let mut pod = pod(namespace, "web");
    pod["spec"]["containers"] =
        json!([{"name": "main", "image": NGINX, "imagePullPolicy": "IfNotPresent"}]);
    pod
}

fn service(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

fn selecting(app: &str) -> Value {
    json!({"selector": {"app": app}, "ports": [{"port": 80}]})
}

fn apply(tenant: &Tenant, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    tenant.inside().apply(&list.to_string());
}

fn ready(tenant: &Tenant, namespace: &str) {
    tenant
        .kubectl(&format!(
            "-n {namespace} wait --for=condition=Ready pod --all --timeout=180s"
        ))
        .ok();
}

fn get(tenant: &Tenant, namespace: &str, name: &str) -> Value {
    tenant
        .kubectl(&format!("-n {namespace} get service {name} -o json"))
        .json()
}

/// Host Services that were translated from this cluster.
fn outside(tenant: &Tenant) -> Vec<Value> {
    let args = format!(
        "-n {} services -l vcluster.dev/part=workload",
        tenant.namespace
    );
    tenant.host().list(&args)
}

fn outside_named(tenant: &Tenant, namespace: &str, name: &str) -> Option<Value> {
    outside(tenant).into_iter().find(|service| {
        let notes = &service["metadata"]["annotations"];
        notes["vcluster.dev/name"] == name && notes["vcluster.dev/namespace"] == namespace
    })
}

/// Runs a script in the host pod of a virtual pod, again until it succeeds: names and addresses need a moment.
fn ask(tenant: &Tenant, namespace: &str, name: &str, script: &str) -> String {
    let pod = format!("{name}-x-{namespace}-x-{}", tenant.name);
    let args = [
        "-n",
        &tenant.namespace,
        "exec",
        &pod,
        "--",
        "sh",
        "-c",
        script,
    ];
    eventually(script, || {
        let output = tenant.host().kubectl_args(&args).run();
        if output.succeeded() {
            Ok(output.stdout)
        } else {
            Err(output)
        }
    })
}

#[test]
fn pods_reach_services_by_name_and_address_as_in_any_cluster() {
    let tenant = Tenant::create("svc");
    tenant.kubectl("create namespace shop").ok();
    apply(
        &tenant,
        &[
            web("shop"),
            service("shop", "web", &selecting("web")),
            service(
                "shop",
                "db",
                &json!({"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 5432}]}),
            ),
            service(
                "shop",
                "alias",
                &json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
            ),
            stateful("shop", "db"),
        ],
    );
    // After the Service, so that it has its variables.
    apply(&tenant, &[pod("shop", "client")]);
    tenant
        .kubectl("-n shop rollout status statefulset/db --timeout=180s")
        .ok();
    ready(&tenant, "shop");

    let inside = get(&tenant, "shop", "web");
    let ip = inside["spec"]["clusterIP"].as_str().unwrap();
    let host = outside_named(&tenant, "shop", "web").expect("it has a host Service");
    assert_eq!(host["spec"]["clusterIP"], ip, "both sides show one address");
    eventually("the reservation is taken over", || {
        let host = outside_named(&tenant, "shop", "web").ok_or_else(|| "gone".to_owned())?;
        let notes = &host["metadata"]["annotations"];
        let owned = notes["vcluster.dev/uid"] == inside["metadata"]["uid"]
            && notes.get("vcluster.dev/reserved-until").is_none();
        if owned {
            Ok(())
        } else {
            Err(notes.to_string())
        }
    });

    let client = |script: &str| ask(&tenant, "shop", "client", script);
    for place in [ip, "web", "web.shop", "web.shop.svc.cluster.local", "alias"] {
        assert!(
            client(&format!("wget -qO- http://{place}/")).contains("nginx"),
            "{place}"
        );
    }
    let env = client("env");
    assert!(env.contains(&format!("WEB_SERVICE_HOST={ip}\n")), "{env}");
    assert!(
        env.contains(&format!("WEB_PORT_80_TCP=tcp://{ip}:80\n")),
        "{env}"
    );

    // A pod of a StatefulSet by its host name, and names of addresses.
    let db = tenant.kubectl("-n shop get pod db-0 -o json").json();
    let db = db["status"]["podIP"].as_str().unwrap().to_owned();
    assert!(client("nslookup db-0.db.shop.svc.cluster.local").contains(&db));
    assert!(client(&format!("nslookup {db}")).contains("db-0.db.shop.svc.cluster.local"));
    let dashed = format!("{}.shop.pod.cluster.local", db.replace('.', "-"));
    assert!(client(&format!("nslookup {dashed}")).contains(&db));
    assert!(client(&format!("nslookup {ip}")).contains("web.shop.svc.cluster.local"));

    // The API server by its name is the virtual one.
    let api = get(&tenant, "default", "kubernetes");
    let api = api["spec"]["clusterIP"].as_str().unwrap();
    assert!(client("nslookup kubernetes.default.svc.cluster.local").contains(api));
    let host_api = tenant
        .host()
        .kubectl("-n default get service kubernetes -o json")
        .json();
    assert_ne!(host_api["spec"]["clusterIP"], api);
    assert!(
        env.contains(&format!("KUBERNETES_SERVICE_HOST={api}\n")),
        "{env}"
    );
    let dns = get(&tenant, "kube-system", "kube-dns");
    let cluster = tenant
        .host()
        .kubectl(&format!(
            "-n {} get virtualcluster svc -o json",
            tenant.namespace
        ))
        .json();
    assert_eq!(dns["spec"]["clusterIP"], cluster["status"]["dnsAddress"]);

    tenant.kubectl("-n shop delete service web db alias").ok();
    eventually("the host Services go", || match outside(&tenant) {
        left if left.is_empty() => Ok(()),
        left => Err(format!(
            "{:?}",
            left.iter().map(host::name).collect::<Vec<_>>()
        )),
    });
}

fn stateful(namespace: &str, name: &str) -> Value {
    let pod = pod(namespace, name);
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod["spec"]},
        },
    })
}

#[test]
fn a_service_changes_its_type_in_place_and_a_node_port_answers_on_the_node() {
    let tenant = Tenant::create("types");
    apply(
        &tenant,
        &[
            web("default"),
            pod("default", "client"),
            service("default", "web", &selecting("web")),
        ],
    );
    ready(&tenant, "default");
    let change = |spec: &Value| {
        let patch = json!({ "spec": spec }).to_string();
        tenant
            .inside()
            .kubectl_args(&["patch", "service", "web", "--type=merge", "-p", &patch])
            .ok();
        get(&tenant, "default", "web")
    };
    let same = |inside: &Value| {
        eventually("the host Service is as the virtual one", || {
            let host = outside_named(&tenant, "default", "web")
                .ok_or_else(|| "there is none".to_owned())?;
            let alike = ["type", "clusterIP", "ports"]
                .iter()
                .all(|field| host["spec"][*field] == inside["spec"][*field]);
            if alike {
                Ok(())
            } else {
                Err(host["spec"].to_string())
            }
        });
    };
    let first = get(&tenant, "default", "web");
    same(&first);

    let exposed = change(&json!({"type": "NodePort"}));
    same(&exposed);
    assert_eq!(exposed["spec"]["clusterIP"], first["spec"]["clusterIP"]);
    let port = exposed["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    let node = tenant.kubectl("get nodes -o json").json();
    let addresses = node["items"][0]["status"]["addresses"]
        .as_array()
        .unwrap()
        .clone();
    let node = addresses
        .iter()
        .find(|address| address["type"] == "InternalIP")
        .unwrap();
    let url = format!(
        "wget -qO- http://{}:{port}/",
        node["address"].as_str().unwrap()
    );
    assert!(ask(&tenant, "default", "client", &url).contains("nginx"));

    let balanced = change(&json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}));
    same(&balanced);
    assert_eq!(balanced["spec"]["ports"][0]["nodePort"], port);
    let health = &balanced["spec"]["healthCheckNodePort"];
    assert!(health.as_u64().is_some_and(|port| port > 0), "{health}");
    let host = outside_named(&tenant, "default", "web").unwrap();
    assert_eq!(&host["spec"]["healthCheckNodePort"], health);

    same(&change(
        &json!({"type": "ClusterIP", "externalTrafficPolicy": null}),
    ));
    change(
        &json!({"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null}),
    );
    eventually(
        "what only DNS answers is not on the host",
        || match outside_named(&tenant, "default", "web") {
            None => Ok(()),
            Some(host) => Err(host["spec"].to_string()),
        },
    );
    let again = change(&json!({"type": "ClusterIP", "externalName": null}));
    same(&again);
    let ip = again["spec"]["clusterIP"].as_str().unwrap();
    assert!(
        ask(
            &tenant,
            "default",
            "client",
            &format!("wget -qO- http://{ip}/")
        )
        .contains("nginx")
    );
}

#[test]
fn a_client_stays_with_the_pod_that_answered_it_first_where_the_service_says_so() {
    let tenant = Tenant::create("affinity");
    let backend = |name: &str| {
        let mut pod = pod("default", name);
        pod["metadata"]["labels"]["app"] = "web".into();
        let serve = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www";
        pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", serve]);
        pod
    };
    let names = ["one", "two", "three"];
    let mut objects: Vec<_> = names.into_iter().map(backend).collect();
    objects.push(pod("default", "client"));
    let mut spec = selecting("web");
    objects.push(service("default", "spread", &spec));
    spec["sessionAffinity"] = "ClientIP".into();
    objects.push(service("default", "sticky", &spec));
    apply(&tenant, &objects);
    ready(&tenant, "default");
    let answers = |service: &str| {
        let script = format!(
            "set -e; for i in $(seq 40); do wget -qO- http://{service}/; done | sort -u | grep ."
        );
        let said = ask(&tenant, "default", "client", &script);
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Who answers is drawn for each connection: forty times the same one is no chance.
    eventually("every pod answers where nothing binds a client", || {
        let answers = answers("spread");
        let all = answers.len() == names.len();
        all.then_some(()).ok_or_else(|| format!("{answers:?}"))
    });
    assert_eq!(answers("sticky").len(), 1);
    let patch = json!({"spec": {"sessionAffinity": "None"}}).to_string();
    let change = ["patch", "service", "sticky", "--patch", &patch];
    tenant.inside().kubectl_args(&change).ok();
    eventually("it is spread once it says so", || {
        let answers = answers("sticky");
        let all = answers.len() == names.len();
        all.then_some(()).ok_or_else(|| format!("{answers:?}"))
    });
}

#[test]
fn what_the_host_refuses_is_told_plainly_and_leaves_nothing() {
    let tenant = Tenant::create("refusals");
    let host_api = tenant
        .host()
        .kubectl("-n default get service kubernetes -o json")
        .json();
    let taken = host_api["spec"]["clusterIP"].clone();
    let create = |spec: &Value, args: &str| {
        let object = service("default", "web", spec).to_string();
        tenant
            .kubectl(&format!("create -f - {args}"))
            .input(&object)
    };
    let mut spec = selecting("web");
    create(&spec, "--dry-run=server").ok();
    assert!(outside(&tenant).is_empty(), "a dry run makes nothing");

    spec["clusterIP"] = taken;
    create(&spec, "").refused(&["clusterIP", "already allocated"]);
    spec["clusterIP"] = "203.0.113.7".into();
    create(&spec, "").refused(&["clusterIP", "203.0.113.7"]);
    spec["clusterIP"] = "None".into();
    spec["externalIPs"] = json!(["203.0.113.7"]);
    create(&spec, "").refused(&["spec.externalIPs", "not allowed"]);
    assert!(
        outside(&tenant).is_empty(),
        "what is refused leaves nothing"
    );

    // The administrator inside neither sees what asks the host nor can remove it.
    for kind in [
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
    ] {
        let seen = tenant.kubectl(&format!("get {kind} -o json")).json();
        assert!(host::items(&seen).is_empty(), "{seen}");
    }
    tenant
        .kubectl("delete mutatingwebhookconfiguration services.vcluster.dev.static.k8s.io")
        .refused(&["not found"]);
    tenant
        .kubectl("-n kube-system delete service kube-dns")
        .refused(&["vcluster.dev/managed"]);
}

#[test]
fn services_of_two_tenants_with_the_same_names_do_not_meet() {
    let (one, two) = (Tenant::create("twin"), Tenant::create("twin"));
    for tenant in [&one, &two] {
        apply(
            tenant,
            &[
                web("default"),
                pod("default", "client"),
                service("default", "web", &selecting("web")),
            ],
        );
    }
    for tenant in [&one, &two] {
        ready(tenant, "default");
    }
    let address = |tenant: &Tenant| get(tenant, "default", "web")["spec"]["clusterIP"].clone();
    assert_ne!(address(&one), address(&two));
    for (tenant, other) in [(&one, &two), (&two, &one)] {
        let found = ask(
            tenant,
            "default",
            "client",
            "nslookup web.default.svc.cluster.local",
        );
        assert!(found.contains(address(tenant).as_str().unwrap()), "{found}");
        assert!(!found.contains(address(other).as_str().unwrap()), "{found}");
    }
    one.kubectl("delete service web").ok();
    eventually("one is gone", || {
        outside_named(&one, "default", "web").map_or(Ok(()), |found| Err(found.to_string()))
    });
    assert!(ask(&two, "default", "client", "wget -qO- http://web/").contains("nginx"));
}
