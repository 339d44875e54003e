//! Services without selector: where their EndpointSlices lead, and where they may not.

use integration_tests::{Tenant, eventually};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
const NGINX: &str = "docker.io/library/nginx:latest";

fn apply(tenant: &Tenant, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    tenant.inside().apply(&list.to_string());
}

fn pod(name: &str, container: Value) -> Value {
    let mut container = container;
    container["name"] = "main".into();
    container["imagePullPolicy"] = "IfNotPresent".into();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]},
    })
}

fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-hand"), "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
    })
}

/// What the selector of a Service had found, before it lost it, can be taken away inside: what the host's controllers had
/// found by themselves nobody there could see, and its addresses become other tenants'.
fn leads_nowhere_without_its_selector(tenant: &Tenant, web: &str) {
    tenant.kubectl("label pod web app=web").ok();
    let mut changing = service("changing");
    changing["spec"]["selector"] = json!({"app": "web"});
    apply(tenant, &[changing]);
    comes_to_lead_to(tenant, "changing", &[web]);
    let patch = json!({"spec": {"selector": null}}).to_string();
    tenant
        .inside()
        .kubectl_args(&["patch", "service", "changing", "-p", &patch])
        .ok();
    // As on any cluster, somebody has to (kubernetes/kubernetes#91072).
    for what in [
        "endpoints changing",
        "endpointslices -l kubernetes.io/service-name=changing",
    ] {
        tenant.kubectl(&format!("delete {what}")).ok();
    }
    comes_to_lead_to(tenant, "changing", &[]);
    apply(tenant, &[slice("changing", &[web])]);
    comes_to_lead_to(tenant, "changing", &[web]);
}

/// Addresses to which the host Service of a virtual Service leads.
fn leads_to(tenant: &Tenant, service: &str) -> Vec<String> {
    let slices = tenant.host().list(&format!(
        "-n {} endpointslices -l kubernetes.io/service-name={service}-x-default-x-{}",
        tenant.namespace, tenant.name
    ));
    let endpoints = slices
        .iter()
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten();
    endpoints
        .filter_map(|endpoint| endpoint["addresses"][0].as_str().map(str::to_owned))
        .collect()
}

fn comes_to_lead_to(tenant: &Tenant, service: &str, addresses: &[&str]) {
    eventually(&format!("{service} leads to {addresses:?}"), || {
        let found = leads_to(tenant, service);
        if found == addresses {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

/// What the tenant is told of a slice.
fn told(tenant: &Tenant, slice: &str, part: &str) {
    eventually(&format!("{slice} is told {part:?}"), || {
        let selector = format!("involvedObject.name={slice},reason=HostAccessRefused");
        let events = tenant
            .inside()
            .list(&format!("events --field-selector {selector}"));
        let messages: Vec<_> = events
            .iter()
            .filter_map(|event| event["message"].as_str())
            .collect();
        if messages.iter().any(|message| message.contains(part)) {
            Ok(())
        } else {
            Err(format!("{messages:?}"))
        }
    });
}

fn address(host: &integration_tests::Host, args: &str) -> String {
    host.kubectl(args).ok().trim().to_owned()
}

#[test]
fn a_service_without_selector_leads_to_own_pods_and_nowhere_into_the_host_cluster() {
    let tenant = Tenant::create("endpoints");
    apply(
        &tenant,
        &[
            pod("web", json!({"image": NGINX})),
            pod(
                "client",
                json!({"image": BUSYBOX, "command": ["sleep", "3600"]}),
            ),
            service("mirrored"),
            service("by-hand"),
        ],
    );
    tenant
        .kubectl("wait --for=condition=Ready pod --all --timeout=180s")
        .ok();
    let web = address(&tenant.inside(), "get pod web -o jsonpath={.status.podIP}");
    // As Patroni and other operators do: Endpoints, which the virtual controller-manager mirrors.
    apply(
        &tenant,
        &[json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mirrored"},
            "subsets": [{"addresses": [{"ip": web}], "ports": [{"port": 80}]}],
        })],
    );
    comes_to_lead_to(&tenant, "mirrored", &[&web]);
    leads_nowhere_without_its_selector(&tenant, &web);
    eventually("the Service answers", || {
        let output = tenant
            .kubectl("exec client -- wget -q -O - http://mirrored")
            .run();
        if output.succeeded() && output.stdout.contains("nginx") {
            Ok(())
        } else {
            Err(output)
        }
    });

    let host = tenant.host();
    let node = address(
        host,
        "get nodes -o jsonpath={.items[0].status.addresses[0].address}",
    );
    let api = address(
        host,
        "-n default get service kubernetes -o jsonpath={.spec.clusterIP}",
    );
    let other = address(
        host,
        "-n kube-system get pods -l k8s-app=kube-dns -o jsonpath={.items[0].status.podIP}",
    );
    let outside = "203.0.113.9";
    for forbidden in [&node, &api, &other] {
        apply(&tenant, &[slice("by-hand", &[forbidden, &web, outside])]);
        told(
            &tenant,
            "by-hand-hand",
            &format!("endpoints[0].addresses[0]: {forbidden} is not"),
        );
        comes_to_lead_to(&tenant, "by-hand", &[&web, outside]);
    }

    tenant.kubectl("delete pod web --wait=false").ok();
    comes_to_lead_to(&tenant, "by-hand", &[outside]);
    comes_to_lead_to(&tenant, "mirrored", &[]);
    tenant.kubectl("delete endpointslice by-hand-hand").ok();
    comes_to_lead_to(&tenant, "by-hand", &[]);
}

#[test]
fn the_tenant_s_identity_on_the_host_cannot_point_the_control_plane_s_service_elsewhere() {
    let tenant = Tenant::create("hijack");
    let identity = format!("system:serviceaccount:{}:vcluster-sync", tenant.namespace);
    let apply = |service: &str, address: &str| {
        let mut slice = slice(service, &[address]);
        slice["metadata"]["name"] = "hijack".into();
        slice["metadata"]["namespace"] = tenant.namespace.as_str().into();
        slice["metadata"]["labels"]["vcluster.dev/part"] = "workload".into();
        let as_tenant = ["create", "--as", &identity, "--dry-run=server", "-f", "-"];
        let command = tenant.host().kubectl_args(&as_tenant);
        command.input(slice.to_string()).run()
    };
    let refused = apply(&tenant.name, "203.0.113.9");
    assert!(
        !refused.succeeded() && refused.stderr.contains("only to a translated Service"),
        "{refused}"
    );
    let service = format!("web-x-default-x-{}", tenant.name);
    let allowed = apply(&service, "203.0.113.9");
    assert!(allowed.succeeded(), "{allowed}");
    let refused = apply(&service, "169.254.169.254");
    assert!(!refused.succeeded(), "{refused}");
}
