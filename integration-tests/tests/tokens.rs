//! Tokens of ServiceAccounts in pods that run for long.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// The shortest life that Kubernetes gives.
const LIFE: u64 = 600;
/// When sync means to renew a token, on the Secret that holds it.
const RENEW_AT: &str = "vcluster.dev/renew-at";

fn token(tenant: &Tenant) -> String {
    let args = ["exec", "long", "--", "cat", "/token/vault"];
    tenant.inside().kubectl_args(&args).ok()
}

fn claim(token: &str, name: &str) -> u64 {
    let payload = token.trim().split('.').nth(1).expect("three parts");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64");
    let payload: Value = serde_json::from_slice(&payload).expect("JSON");
    payload[name].as_u64().expect("a number")
}

fn is_accepted(tenant: &Tenant, token: &str) -> bool {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token.trim(), "audiences": ["vault"]},
    });
    let answer = tenant
        .kubectl("create -o json -f -")
        .input(review.to_string());
    answer.json()["status"]["authenticated"] == json!(true)
}

/// The host Secret that holds the pod's tokens.
fn secret(tenant: &Tenant) -> Value {
    let name = format!("long-x-default-x-{}.token", tenant.name);
    let args = format!("-n {} get secret {name} -o json", tenant.namespace);
    tenant.host().kubectl(&args).json()
}

#[test]
fn a_token_is_renewed_in_the_running_pod_before_it_ends() {
    let tenant = Tenant::create("tokens");
    let source = json!({"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": LIFE}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "long", "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            // Who gets it may read it, whatever the mode of other files.
            "securityContext": {"runAsUser": 1000, "runAsNonRoot": true},
            "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"], "volumeMounts": [{"name": "token", "mountPath": "/token"}]}],
            "volumes": [{"name": "token", "projected": {"defaultMode": 0o400, "sources": [source]}}],
        },
    });
    tenant.inside().apply(&pod.to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/long --timeout=120s")
        .ok();
    let first = token(&tenant);
    assert!(is_accepted(&tenant, &first));
    let (issued, ends) = (claim(&first, "iat"), claim(&first, "exp"));
    assert_eq!(ends - issued, LIFE, "it ends when it was asked to");
    let before = secret(&tenant);
    let due = &before["metadata"]["annotations"][RENEW_AT];
    assert!(due.is_string(), "{due}");

    // Sync reads from the Secret when the token is due whenever it takes a virtual cluster up: after a restart, or a
    // change of its policy. So eight minutes pass without anybody waiting for them.
    let name = host::name(&before);
    let past = format!("{RENEW_AT}=2026-01-01T00:00:00Z");
    let args = format!(
        "-n {} annotate --overwrite secret {name} {past}",
        tenant.namespace
    );
    tenant.host().kubectl(&args).ok();
    let policy = json!({"toHost": {"ingresses": {"enabled": false}}});
    tenant.patch_sync(&policy).ok();
    let second = eventually("the pod reads another token", || {
        let found = token(&tenant);
        (found != first).then_some(found).ok_or("the same")
    });
    assert!(claim(&second, "exp") > ends);
    assert!(is_accepted(&tenant, &second));
    let after = secret(&tenant);
    assert_eq!(
        after["metadata"]["uid"], before["metadata"]["uid"],
        "the same Secret"
    );
    let pod = tenant.kubectl("get pod long -o json").json();
    assert_eq!(
        pod["status"]["containerStatuses"][0]["restartCount"], 0,
        "it ran all the time"
    );
}
