//! Kinds that go to the host only where a VirtualCluster asks for it.

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

fn set(tenant: &Tenant, policy: &Value) {
    let body = json!({"spec": {"sync": policy}}).to_string();
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let args = [
        "-n",
        namespace,
        "patch",
        "virtualcluster",
        name,
        "--type=merge",
        "-p",
        &body,
    ];
    tenant.host().kubectl_args(&args).ok();
}

fn on_host(tenant: &Tenant, collection: &str, name: &str) -> Option<Value> {
    let all = tenant
        .host()
        .list(&format!("-n {} {collection}", tenant.namespace));
    all.into_iter()
        .find(|object| object["metadata"]["annotations"]["vcluster.dev/name"] == name)
}

fn pod(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceAccountName": account, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"]}],
        },
    })
}

fn account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "builder", "namespace": "default",
            "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}},
        "imagePullSecrets": [{"name": "registry"}],
    })
}

/// What a token found in the pod says of whose it is.
fn subject(tenant: &Tenant, pod: &str) -> String {
    let script = "cat /var/run/secrets/kubernetes.io/serviceaccount/token";
    let token = tenant
        .inside()
        .kubectl_args(&["exec", pod, "--", "sh", "-c", script])
        .ok();
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let review = review.to_string();
    let of = |cluster: &Host| {
        let answer = cluster.kubectl("create -o json -f -").input(&*review);
        answer.json()["status"].clone()
    };
    assert_ne!(of(tenant.host())["authenticated"], json!(true));
    let status = of(&tenant.inside());
    status["user"]["username"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_pod_has_a_host_account_of_its_own_that_may_do_nothing_where_its_cluster_asks_for_it() {
    let tenant = Tenant::create("accounts");
    let inside = tenant.inside();
    inside.apply(&account().to_string());
    inside.apply(&pod("before", "builder").to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/before --timeout=120s")
        .ok();
    let runs_as = |name: &str| {
        let pod = on_host(&tenant, "pods", name).unwrap_or_default();
        pod["spec"]["serviceAccountName"].clone()
    };
    assert_eq!(runs_as("before"), "vcluster-workload");
    assert_eq!(on_host(&tenant, "serviceaccounts", "builder"), None);

    set(
        &tenant,
        &json!({"toHost": {"serviceaccounts": {"enabled": true}}}),
    );
    let made = eventually("the account is on the host", || {
        on_host(&tenant, "serviceaccounts", "builder").ok_or("not yet")
    });
    inside.apply(&pod("after", "builder").to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/after --timeout=120s")
        .ok();
    assert_eq!(runs_as("after"), "builder-x-default-x-accounts");
    assert_eq!(runs_as("before"), "vcluster-workload", "it runs");
    assert_eq!(host::name(&made), "builder-x-default-x-accounts");
    assert_eq!(made["automountServiceAccountToken"], false);
    assert_eq!(
        made["imagePullSecrets"],
        json!([{"name": "registry-x-default-x-accounts"}])
    );
    let annotations = &made["metadata"]["annotations"];
    assert_eq!(annotations.get("eks.amazonaws.com/role-arn"), None);
    eventually("the tenant is told", || {
        let events = tenant.kubectl("get events -o json").json().to_string();
        let said = events.contains("AnnotationsKeptInside")
            && events.contains("eks.amazonaws.com/role-arn");
        said.then_some(()).ok_or(events)
    });
    assert_eq!(
        on_host(&tenant, "serviceaccounts", "attachdetach-controller"),
        None,
        "no pod uses it"
    );

    // The token is the virtual cluster's; of the host there is none, and the account has no right there.
    assert_eq!(
        subject(&tenant, "after"),
        "system:serviceaccount:default:builder"
    );
    let pod = on_host(&tenant, "pods", "after").expect("it is on the host");
    assert!(!pod.to_string().contains("serviceAccountToken"), "{pod}");
    let account = format!(
        "--as=system:serviceaccount:{}:builder-x-default-x-accounts",
        tenant.namespace
    );
    for right in ["get secrets", "list pods", "create pods"] {
        let args = format!("auth can-i {right} -n {} {account}", tenant.namespace);
        let answer = tenant.host().kubectl(&args).run();
        assert_eq!(answer.stdout.trim(), "no", "{right}: {answer}");
    }

    // With the last pod that uses it, it goes.
    tenant.kubectl("delete pod before after --wait=true").ok();
    eventually("the account leaves the host", || {
        match on_host(&tenant, "serviceaccounts", "builder") {
            None => Ok(()),
            Some(left) => Err(left.to_string()),
        }
    });
}
