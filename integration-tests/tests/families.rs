//! IPv4 and IPv6: on a host with both, Services and pods of a virtual cluster have an address of each, on both sides the
//! same; on one with IPv4 alone what asks for both is refused or gets the one.

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
const IP: &str = "IPv4";
const IP6: &str = "IPv6";

/// Whether the host's Services can have both.
fn both(tenant: &Tenant) -> bool {
    let ranges = tenant.host().list("servicecidrs");
    ranges.iter().any(|range| {
        host::name(range) == "kubernetes" && range["spec"]["cidrs"].to_string().contains("::")
    })
}

fn service(name: &str, spec: &Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        service["spec"][key] = value.clone();
    }
    service
}

fn pod(name: &str, command: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": command,
        }]},
    })
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn addresses(object: &Value, pointer: &str) -> Vec<String> {
    let all = object.pointer(pointer).and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|one| one["ip"].as_str().or(one.as_str()))
        .map(str::to_owned)
        .collect()
}

fn families(addresses: &[String]) -> Vec<&'static str> {
    let of = |address: &String| if address.contains(':') { IP6 } else { IP };
    addresses.iter().map(of).collect()
}

fn service_addresses(service: &Value) -> Vec<String> {
    addresses(service, "/spec/clusterIPs")
}

/// The host's object of this name inside.
fn outside(tenant: &Tenant, collection: &str, name: &str) -> Option<Value> {
    let all = tenant
        .host()
        .list(&format!("-n {} {collection}", tenant.namespace));
    let named = |object: &Value| object["metadata"]["annotations"]["vcluster.dev/name"] == name;
    all.into_iter().find(named)
}

/// Waits until the Service has the same addresses on both sides, of these families.
fn has(tenant: &Tenant, name: &str, wanted: &[&str]) -> Vec<String> {
    eventually(
        &format!("Service {name} has {wanted:?} on both sides"),
        || {
            let inside = tenant
                .kubectl(&format!("get service {name} -o json"))
                .json();
            let (inside, outside) = (
                service_addresses(&inside),
                outside(tenant, "services", name),
            );
            let outside = outside.as_ref().map(service_addresses).unwrap_or_default();
            if families(&inside) == wanted && inside == outside {
                Ok(inside)
            } else {
                Err(format!("inside {inside:?}, on the host {outside:?}"))
            }
        },
    )
}

fn client(tenant: &Tenant, script: &str) -> integration_tests::Output {
    let args = ["exec", "client", "--", "sh", "-c", script];
    tenant.inside().kubectl_args(&args).run()
}

fn says(tenant: &Tenant, script: &str, expected: &str) {
    eventually(&format!("{script} says {expected}"), || {
        let output = client(tenant, script);
        let there = output.stdout.lines().any(|line| line.contains(expected));
        there.then_some(()).ok_or(output)
    });
}

fn connection(address: &str, port: u16) -> String {
    format!("nc -w 2 {address} {port} < /dev/null > /dev/null 2>&1 && echo open || echo shut")
}

#[test]
fn services_and_pods_have_the_families_of_the_host() {
    let tenant = Tenant::create("families");
    let required = service("required", &json!({"ipFamilyPolicy": "RequireDualStack"}));
    let preferred = service("preferred", &json!({"ipFamilyPolicy": "PreferDualStack"}));
    tenant.inside().apply(&preferred.to_string());
    if both(&tenant) {
        services(&tenant, &required);
        packets(&tenant);
        foreign_addresses_are_left_out(&tenant);
        policies_hold_for_both(&tenant);
    } else {
        has(&tenant, "preferred", &[IP]);
        let create = || tenant.kubectl("create -f -");
        create()
            .input(required.to_string())
            .refused(&["spec.ipFamilyPolicy", "not configured for dual-stack"]);
        let six = service("six", &json!({"ipFamilies": [IP6]}));
        create()
            .input(six.to_string())
            .refused(&["spec.ipFamilies", "not configured on this cluster"]);
    }
}

fn services(tenant: &Tenant, required: &Value) {
    let reversed = json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": [IP6, IP]});
    let headless = json!({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "None"});
    tenant.inside().apply(&list(&[
        required.clone(),
        service("reversed", &reversed),
        service("headless", &headless),
        service("six", &json!({"ipFamilies": [IP6]})),
        service("changed", &json!({"ipFamilyPolicy": "SingleStack"})),
        pod("web", &json!(["httpd", "-f", "-p", "80"])),
        pod("client", &json!(["sleep", "3600"])),
    ]));
    for (name, wanted) in [
        ("preferred", &[IP, IP6] as &[_]),
        ("required", &[IP, IP6]),
        ("reversed", &[IP6, IP]),
        ("six", &[IP6]),
    ] {
        has(tenant, name, wanted);
    }
    tenant
        .kubectl("wait --for=condition=Ready pod/web pod/client --timeout=180s")
        .ok();
}

fn packets(tenant: &Tenant) {
    let web = tenant.kubectl("get pod web -o json").json();
    let ips = addresses(&web, "/status/podIPs");
    assert_eq!(families(&ips), [IP, IP6], "{ips:?}");
    let same = outside(tenant, "pods", "web").expect("it runs");
    assert_eq!(ips, addresses(&same, "/status/podIPs"));
    // Each address leads to the pod, over the host's kube-proxy.
    let mut targets = ips.clone();
    for (name, wanted) in [
        ("preferred", &[IP, IP6] as &[_]),
        ("reversed", &[IP6, IP]),
        ("six", &[IP6]),
    ] {
        targets.extend(has(tenant, name, wanted));
    }
    let before = has(tenant, "changed", &[IP]);
    let policy = |policy: &str| {
        let patch = json!({"spec": {"ipFamilyPolicy": policy}}).to_string();
        let args = ["patch", "service", "changed", "--type=merge", "-p", &patch];
        tenant.inside().kubectl_args(&args).ok();
    };
    policy("PreferDualStack");
    let now = has(tenant, "changed", &[IP, IP6]);
    assert_eq!(now[..1], before, "the address that it had stays");
    targets.extend(now);
    for address in &targets {
        says(tenant, &connection(address, 80), "open");
    }
    policy("SingleStack");
    assert_eq!(has(tenant, "changed", &[IP]), before);
    says(tenant, &connection("$KUBERNETES_SERVICE_HOST", 443), "open");

    // A record of each family, by the virtual cluster's own DNS server, from slices of each.
    eventually("headless has slices of both families", || {
        let slices = "get endpointslices -l kubernetes.io/service-name=headless -o json";
        let slices = tenant.kubectl(slices).json();
        let kinds: Vec<_> = host::items(&slices)
            .iter()
            .map(|slice| slice["addressType"].clone())
            .collect();
        let both = [IP, IP6]
            .iter()
            .all(|kind| kinds.iter().any(|found| found == kind));
        both.then_some(()).ok_or_else(|| format!("{kinds:?}"))
    });
    for (kind, ip) in ["a", "aaaa"].iter().zip(&ips) {
        says(
            tenant,
            &format!("nslookup -type={kind} headless.default.svc.cluster.local"),
            ip,
        );
    }
}

/// An address of the host's Services is nobody's endpoint, in either family.
fn foreign_addresses_are_left_out(tenant: &Tenant) {
    let get = format!(
        "-n {} get virtualcluster {} -o json",
        tenant.namespace, tenant.name
    );
    let status = tenant.host().kubectl(&get).json();
    let ranges = addresses(&status, "/status/serviceCIDRs");
    assert!(families(&ranges).contains(&IP6), "{ranges:?}");
    let taken = &has(tenant, "required", &[IP, IP6])[1];
    let mut bare = service(
        "bare",
        &json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": [IP6]}),
    );
    if let Some(spec) = bare["spec"].as_object_mut() {
        spec.remove("selector");
    }
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": IP6,
        "metadata": {"name": "bare", "labels": {"kubernetes.io/service-name": "bare"}},
        "endpoints": [{"addresses": [taken]}], "ports": [{"port": 80}],
    });
    tenant.inside().apply(&list(&[bare, slice]));
    eventually("the slice is told of what is left out", || {
        let events = tenant
            .kubectl("get events --field-selector reason=HostAccessRefused -o json")
            .json();
        let told = host::items(&events)
            .iter()
            .any(|event| event["message"].to_string().contains(taken.as_str()));
        told.then_some(()).ok_or(events)
    });
    let same = outside(tenant, "endpointslices", "bare").expect("the rest of it is on the host");
    assert!(
        same["endpoints"].as_array().is_none_or(Vec::is_empty),
        "{same}"
    );
}

/// What isolates a pod isolates each address of it, the one of its link included.
fn policies_hold_for_both(tenant: &Tenant) {
    let local = [
        "exec", "web", "--", "ip", "-6", "addr", "show", "dev", "eth0",
    ];
    let local = tenant.inside().kubectl_args(&local).ok();
    let local = local
        .split_whitespace()
        .find_map(|word| word.strip_prefix("fe80:"));
    let local = local.and_then(|rest| rest.split('/').next());
    let local = local
        .map(|rest| format!("fe80:{rest}%eth0"))
        .expect("it has one");
    let web = tenant.kubectl("get pod web -o json").json();
    let mut targets = addresses(&web, "/status/podIPs");
    targets.push(local);
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    });
    tenant.inside().apply(&policy.to_string());
    for address in &targets {
        says(tenant, &connection(address, 80), "shut");
    }
}
