//! What the services themselves may do on the host: each attempt to exceed it is refused.

use integration_tests::{Forward, Host, Tenant, host};
use serde_json::json;

fn acting_as(service: &str) -> String {
    format!("--as=system:serviceaccount:{}:{service}", host::RELEASE)
}

#[test]
fn no_service_holds_power_over_the_host() {
    let host = Host::get();
    let forbidden = [
        "* *",
        "get nodes --subresource=proxy",
        "create nodes --subresource=proxy",
        "get secrets -A",
        "list secrets -A",
        "create serviceaccounts --subresource=token -A",
        "impersonate users",
        "escalate clusterroles",
        "bind clusterroles/cluster-admin",
        "create clusterrolebindings",
        "create pods -A",
        "list deployments -A",
        "create deployments -A",
        "delete nodes",
        "create pods --subresource=exec -A",
    ];
    for service in host::SERVICES {
        for what in forbidden {
            let output = host
                .kubectl(&format!("auth can-i {what} {}", acting_as(service)))
                .run();
            assert_eq!(output.stdout.trim(), "no", "{service}: {what}\n{output}");
        }
    }
}

#[test]
fn control_writes_only_where_virtual_clusters_may_live() {
    let host = Host::get();
    let namespace = "test-not-opened";
    host.apply(
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            .to_string(),
    );
    let control = acting_as("vcluster-control");
    for (kind, body) in [
        (
            "Secret",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vcluster-pki", "namespace": namespace}}),
        ),
        (
            "ConfigMap",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vcluster-admission", "namespace": namespace}}),
        ),
        (
            "ServiceAccount",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "vcluster-sync", "namespace": namespace}}),
        ),
        (
            "Namespace",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test-unlabelled"}}),
        ),
    ] {
        let output = host
            .kubectl(&format!(
                "apply --server-side --field-manager=vcluster-control -f - {control}"
            ))
            .input(body.to_string())
            .run();
        assert!(
            !output.succeeded(),
            "control made a {kind} where it may not:\n{output}"
        );
        assert!(
            output.stderr.to_lowercase().contains("forbidden") || output.stderr.contains("denied"),
            "{output}"
        );
    }
    let stateful = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x", "namespace": "kube-system"},
        "spec": {"serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}},
    });
    host.kubectl(&format!("apply --server-side -f - {control}"))
        .input(stateful.to_string())
        .refused(&["orbidden"]);
    host.kubectl(&format!(
        "label namespace kube-system vcluster.dev/host=true {control}"
    ))
    .refused(&["orbidden"]);
    host.kubectl(&format!("delete namespace {namespace} {control}"))
        .refused(&["orbidden"]);
    host.kubectl(&format!("delete namespace {namespace}")).ok();
}

#[test]
fn control_binds_nothing_but_the_charts_two_roles() {
    let tenant = Tenant::create("binds");
    let control = acting_as("vcluster-control");
    for role in ["cluster-admin", "admin", "edit", "vcluster-control"] {
        let args = format!(
            "-n {} create rolebinding sneaky --clusterrole={role} --user=eve {control}",
            tenant.namespace
        );
        tenant.host().kubectl(&args).refused(&["orbidden"]);
    }
}

#[test]
fn a_tenants_identity_ends_at_its_namespace() {
    let tenant = Tenant::create("ends");
    let account = format!(
        "--as=system:serviceaccount:{}:vcluster-sync",
        tenant.namespace
    );
    let host = tenant.host();
    let can = |what: &str| {
        host.kubectl(&format!("auth can-i {what} {account}"))
            .run()
            .stdout
            .trim()
            .to_owned()
    };
    assert_eq!(can(&format!("create pods -n {}", tenant.namespace)), "yes");
    for what in [
        "create pods -n default",
        "list pods -A",
        "get secrets -n kube-system",
        "get nodes",
    ] {
        assert_eq!(can(what), "no", "{what}");
    }
    assert_eq!(
        can(&format!("create rolebindings -n {}", tenant.namespace)),
        "no"
    );
}

/// What a service answers to a call past the gateway, with the headers in which that tells who calls, and without its
/// certificate.
async fn forged(port: u16, domain: String, roots: String, method: &'static str) -> tonic::Status {
    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(roots))
        .domain_name(domain);
    let channel = tonic::transport::Endpoint::from_shared(format!("https://127.0.0.1:{port}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .expect("it is an address");
    let mut client = tonic::client::Grpc::new(channel.connect().await.expect("it listens"));
    client.ready().await.expect("it listens");
    let mut request = tonic::Request::new(());
    for (key, value) in [
        ("x-remote-user", "admin"),
        ("x-remote-group", "system:masters"),
    ] {
        let value = tonic::metadata::MetadataValue::from_static(value);
        request.metadata_mut().insert(key, value);
    }
    let path = http::uri::PathAndQuery::from_static(method);
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    match client.unary(request, path, codec).await {
        Ok(_) => tonic::Status::ok("answered"),
        Err(status) => status,
    }
}

#[test]
fn services_take_a_callers_identity_from_nobody_but_the_gateway() {
    let host = Host::get();
    let gateway = host.kubectl("-n kube-public get configmap vcluster-gateway -o json");
    let roots = gateway.json()["data"]["ca.crt"].as_str().map(str::to_owned);
    let roots = roots.expect("the gateway's roots are published");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for (service, method) in [
        (
            "vcluster-control",
            "/vcluster.control.v1.ControlService/ListVirtualClusters",
        ),
        ("vcluster-sync", "/vcluster.sync.v1.SyncService/ListTenants"),
    ] {
        let target = format!("svc/{service}");
        let forward = Forward::to(
            host.kubeconfig(),
            "true",
            &["-n", host::RELEASE, &target, ":8443"],
        );
        let domain = format!("{service}.{}.svc", host::RELEASE);
        let status = runtime.block_on(forged(forward.port(), domain, roots.clone(), method));
        assert_eq!(
            status.code(),
            tonic::Code::Unauthenticated,
            "{service}: {status}"
        );
    }
}
