//! The DNS server of a virtual cluster, and the keys that control keeps for it and for sync.

use integration_tests::{Host, Tenant, container, eventually, host};
use serde_json::{Value, json};

const DNS: &str = "vcluster-dns";

fn object(tenant: &Tenant, kind_and_name: &str) -> Value {
    let args = format!("-n {} get {kind_and_name} -o json", tenant.namespace);
    tenant.host().kubectl(&args).json()
}

fn cluster(tenant: &Tenant) -> Value {
    object(tenant, &format!("virtualcluster {}", tenant.name))
}

/// Control reads Secrets when it looks at a cluster; this is what makes it look now.
fn touch(tenant: &Tenant, with: &str) {
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let args = format!(
        "-n {namespace} annotate virtualcluster {name} --overwrite example.com/touched={with}"
    );
    tenant.host().kubectl(&args).ok();
}

fn digest(tenant: &Tenant, workload: &str) -> Value {
    let template = &object(tenant, workload)["spec"]["template"]["metadata"];
    template["annotations"]["vcluster.dev/config-hash"].clone()
}

/// Asks the tenant's DNS server from a pod inside: those of others get no answer.
fn ask(inside: &Host, name: &str, server: &str) -> String {
    let args = ["exec", "ask", "--", "nslookup", name, server];
    let output = inside.kubectl_args(&args).run();
    format!("{}{}", output.stdout, output.stderr)
}

fn asker(inside: &Host) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ask", "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "main", "image": "docker.io/library/busybox:latest",
             "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]},
    });
    inside.apply(&pod.to_string());
    inside
        .kubectl("wait --for=condition=Ready pod/ask --timeout=60s")
        .ok();
}

#[test]
fn the_dns_server_knows_the_virtual_cluster_and_nothing_of_the_host() {
    let tenant = Tenant::create("names");
    tenant.wait_for("DNSReady");
    let status = &cluster(&tenant)["status"];
    let address = object(&tenant, &format!("service {DNS}"))["spec"]["clusterIP"].clone();
    assert_eq!(status["dnsAddress"], address);
    let ranges = tenant.host().list("servicecidrs");
    assert_eq!(status["serviceCIDRs"], ranges[0]["spec"]["cidrs"]);

    let inside = tenant.inside();
    asker(&inside);
    let server = address.as_str().expect("it has one");
    let api = tenant
        .kubectl("-n default get service kubernetes -o json")
        .json();
    let api = api["spec"]["clusterIP"].as_str().expect("it has one");
    let answer = ask(&inside, "kubernetes.default.svc.cluster.local", server);
    assert!(answer.contains(api), "{answer}");
    let foreign = format!("vcluster-control.{}.svc.cluster.local", host::RELEASE);
    let answer = ask(&inside, &foreign, server);
    assert!(answer.contains("NXDOMAIN"), "{answer}");
    // The node has no resolvers here: it is said at once that nobody knows.
    let answer = ask(&inside, "example.com", server);
    assert!(answer.contains("SERVFAIL"), "{answer}");
}

#[test]
fn a_deleted_dns_server_comes_back() {
    let tenant = Tenant::create("again");
    let host = tenant.host();
    let namespace = &tenant.namespace;
    for kind in ["deployment", "service", "secret", "configmap"] {
        let uid = |value: &Value| value["metadata"]["uid"].clone();
        let before = uid(&object(&tenant, &format!("{kind} {DNS}")));
        host.kubectl(&format!("-n {namespace} delete {kind} {DNS}"))
            .ok();
        touch(&tenant, kind);
        eventually(&format!("the {kind} comes back"), || {
            let args = format!("-n {namespace} get {kind} {DNS} -o json");
            let output = host.kubectl(&args).run();
            let found: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
            if output.succeeded() && uid(&found) != before {
                Ok(())
            } else {
                Err(output)
            }
        });
    }
    tenant.wait_for("DNSReady");
    let address = object(&tenant, &format!("service {DNS}"))["spec"]["clusterIP"].clone();
    eventually("its new address is told", || {
        let told = cluster(&tenant)["status"]["dnsAddress"].clone();
        if told == address { Ok(()) } else { Err(told) }
    });
}

#[test]
fn more_dns_servers_are_had_by_asking() {
    let tenant = Tenant::create("more");
    tenant
        .patch(&json!({"spec": {"dns": {"replicas": 2}}}))
        .ok();
    eventually("there are two", || {
        let ready =
            object(&tenant, &format!("deployment {DNS}"))["status"]["readyReplicas"].clone();
        if ready == json!(2) {
            Ok(())
        } else {
            Err(ready)
        }
    });
}

#[test]
fn damaged_keys_are_made_again_and_who_read_them_is_started_again() {
    let tenant = Tenant::create("rotate");
    let (host, namespace) = (tenant.host(), &tenant.namespace);
    let control_plane = format!("statefulset {}", tenant.name);
    let deployment = format!("deployment {DNS}");
    let before = (
        digest(&tenant, &control_plane),
        digest(&tenant, &deployment),
    );
    let patch = |secret: &str, data: Value| {
        let patch = json!({ "data": data }).to_string();
        host.kubectl_args(&[
            "-n",
            namespace,
            "patch",
            "secret",
            secret,
            "--type=merge",
            "-p",
            &patch,
        ])
        .ok();
    };
    // As a cluster looks that was made before there were such files.
    let none = json!({"sync-client.crt": null, "sync-client.key": null, "platform-ca.crt": null});
    patch("vcluster-pki", none);
    patch(DNS, json!({"tls.crt": "Z2FyYmFnZQ=="}));
    touch(&tenant, "damaged");
    eventually("both are started again", || {
        let after = (
            digest(&tenant, &control_plane),
            digest(&tenant, &deployment),
        );
        if after.0 != before.0 && after.1 != before.1 {
            Ok(())
        } else {
            Err(format!("{after:?}"))
        }
    });
    let keys = object(&tenant, "secret vcluster-pki")["data"].clone();
    for key in ["sync-client.crt", "sync-client.key", "platform-ca.crt"] {
        assert!(keys[key].is_string(), "{key}");
    }
    host.kubectl(&format!(
        "-n {namespace} rollout status {deployment} --timeout=180s"
    ))
    .ok();
    host.kubectl(&format!(
        "-n {namespace} rollout status {control_plane} --timeout=180s"
    ))
    .ok();
    tenant.wait_for("Ready");
    tenant.kubectl("get namespaces").ok();
}

#[test]
fn a_dns_server_that_dies_is_started_again() {
    let tenant = Tenant::create("dies");
    let uid = &cluster(&tenant)["metadata"]["uid"];
    let uid = uid.as_str().expect("it has one");
    let selector = format!("vcluster.dev/cluster-uid={uid},vcluster.dev/part=dns");
    container::kill(tenant.host(), &tenant.namespace, &selector);
    eventually("its container is another one", || {
        let pods = tenant
            .host()
            .list(&format!("-n {} pods -l {selector}", tenant.namespace));
        let status = &pods[0]["status"]["containerStatuses"][0];
        let again = status["restartCount"].as_i64() > Some(0) && status["ready"] == true;
        if again {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    tenant.wait_for("DNSReady");
}
