//! What people run on Kubernetes, unchanged: the manifests are those for any cluster (`manifests/`), the charts are the
//! projects' own.

use std::{env, path::PathBuf};

use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

/// Names the folder of the charts that `cargo xtask cluster up --with` has made.
const CHARTS: &str = "VCLUSTER_TEST_CHARTS";

fn apply(tenant: &Tenant, manifest: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("manifests")
        .join(manifest);
    let text = std::fs::read_to_string(&path).expect("the manifests lie beside the tests");
    // A webhook that has just started may not be reached yet.
    eventually(&format!("{manifest} is applied"), || {
        let output = tenant.kubectl("apply -f -").input(&text).run();
        output.succeeded().then_some(()).ok_or(output)
    });
}

fn ready(tenant: &Tenant, what: &str) {
    tenant
        .kubectl(&format!("wait --for=condition=Ready {what} --timeout=180s"))
        .ok();
}

/// Runs a statement in the client's pod.
fn sql(tenant: &Tenant, statement: &str) -> String {
    let args = [
        "exec",
        "client",
        "--",
        "psql",
        "--no-psqlrc",
        "-v",
        "ON_ERROR_STOP=1",
        "-qtAc",
        statement,
    ];
    tenant.inside().kubectl_args(&args).ok().trim().to_owned()
}

#[test]
fn postgresql_keeps_its_data_when_its_pod_is_deleted() {
    let tenant = Tenant::create("postgres");
    apply(&tenant, "postgres.yaml");
    let rollout = || {
        tenant
            .kubectl("rollout status statefulset/postgres --timeout=180s")
            .ok();
    };
    rollout();
    ready(&tenant, "pod/client");
    sql(
        &tenant,
        "CREATE TABLE orders (id int PRIMARY KEY, what text)",
    );
    sql(
        &tenant,
        "INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 1000) n",
    );
    let count = "SELECT count(*), max(what) FROM orders";
    assert_eq!(sql(&tenant, count), "1000|order 999");
    let uid = || {
        let pod = tenant.kubectl("get pod postgres-0 -o jsonpath={.metadata.uid}");
        pod.run()
    };
    let first = uid().stdout;
    tenant.kubectl("delete pod postgres-0").ok();
    // A set that has not noticed yet that its pod is gone counts as rolled out.
    eventually("another pod is made", || {
        let other = uid();
        (other.succeeded() && other.stdout != first)
            .then_some(())
            .ok_or(other)
    });
    rollout();
    // The name leads to the new pod once DNS has seen it.
    eventually("the new server answers by its name", || {
        let args = ["exec", "client", "--", "psql", "-qtAc", count];
        let output = tenant.inside().kubectl_args(&args).run();
        (output.stdout.trim() == "1000|order 999")
            .then_some(())
            .ok_or(output)
    });
    // A wrong password is refused: it is the Secret's that opened the door.
    let wrong = [
        "exec",
        "client",
        "--",
        "env",
        "PGPASSWORD=wrong",
        "psql",
        "-c",
        "SELECT 1",
    ];
    tenant
        .inside()
        .kubectl_args(&wrong)
        .refused(&["password authentication failed"]);
}

#[test]
fn cert_manager_issues_certificates_and_its_webhook_refuses_wrong_ones() {
    let charts = env::var_os(CHARTS)
        .unwrap_or_else(|| panic!("{CHARTS} is not set: run this test by `cargo xtask test`"));
    let chart = PathBuf::from(charts).join("cert-manager");
    let tenant = Tenant::create("certs");
    let chart = chart.to_string_lossy();
    let install = [
        "install",
        "cert-manager",
        &chart,
        "--namespace",
        "cert-manager",
        "--create-namespace",
        "--set",
        "installCRDs=true",
        "--set",
        "startupapicheck.enabled=false",
        "--wait",
        "--timeout",
        "4m",
    ];
    tenant.inside().program("helm", &install).ok();
    apply(&tenant, "certificates.yaml");
    ready(
        &tenant,
        "certificate/root certificate/web certificate/shop-tls",
    );
    ready(&tenant, "pod/web");
    let served = tenant.kubectl("exec web -- ls /tls").ok();
    assert_eq!(
        served.split_whitespace().collect::<Vec<_>>(),
        ["ca.crt", "tls.crt", "tls.key"]
    );
    let shown = tenant.kubectl("exec web -- head -n 1 /tls/tls.crt").ok();
    assert_eq!(shown.trim(), "-----BEGIN CERTIFICATE-----");

    // The certificate that the Ingress ordered is with the Ingress on the host.
    let certificate = eventually("the Ingress's certificate reaches the host", || {
        let secrets = tenant
            .host()
            .list(&format!("-n {} secrets", tenant.namespace));
        let named =
            |secret: &&Value| secret["metadata"]["annotations"]["vcluster.dev/name"] == "shop-tls";
        secrets.iter().find(named).cloned().ok_or("no such Secret")
    });
    assert_eq!(certificate["type"], "kubernetes.io/tls");
    let ingresses = tenant
        .host()
        .list(&format!("-n {} ingresses", tenant.namespace));
    assert_eq!(
        ingresses[0]["spec"]["tls"][0]["secretName"],
        host::name(&certificate)
    );

    // Reached by a Service reference, as the project's own chart registers it.
    let wrong = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "wrong"},
        "spec": {"secretName": "wrong", "dnsNames": ["a.example.com"], "duration": "1m",
            "issuerRef": {"name": "root"}},
    });
    tenant
        .kubectl("create -f -")
        .input(wrong.to_string())
        .refused(&["webhook.cert-manager.io", "denied the request", "duration"]);
}
