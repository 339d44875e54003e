//! The loop against a host that keeps objects and can fail at any request.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::Method;
use prometheus_client::registry::Registry;
use serde_json::json;
use vcluster_chassis::testing::ManualClock;
use vcluster_resources::cluster::Phase;
use vcluster_resources::condition::{self, Type};
use vcluster_resources::label;
use vcluster_resources::ownership::CONTROL_FINALIZER;

use super::*;
use crate::distro::Images;
use crate::isolation::{Isolation, Options};
use crate::pki::Shared;

mod host;

use host::{CLUSTER, Host, NAMESPACE};

const ROOTS: &str = "/api/v1/namespaces/vcluster-system/secrets/vcluster-ca-";
const SERVICE: &str = "/api/v1/namespaces/team-a/services/demo";

/// The same for every reconciler, as it is for every replica.
static SHARED: LazyLock<Arc<Shared>> =
    LazyLock::new(|| Arc::new(Shared::sample("2026-06-01T00:00:00Z".parse().unwrap())));

fn reconciler(host: &Host) -> Reconciler {
    let client = host.server().client();
    let installation = Installation {
        namespace: "vcluster-system".to_owned(),
        control_account: "vcluster-control".to_owned(),
        sync_account: "vcluster-sync".to_owned(),
        images: Images {
            kube_apiserver: "a".to_owned(),
            kube_controller_manager: "c".to_owned(),
            kine: "k".to_owned(),
            coredns: "d".to_owned(),
            pull_policy: None,
        },
        isolation: Some(Isolation::new(&Options::default()).unwrap()),
    };
    let observer = Observer::new(
        client.clone(),
        "vcluster-system".to_owned(),
        Vec::new(),
        Arc::clone(&SHARED).into(),
    );
    let metrics = Metrics::register(&mut Registry::default());
    let clock = Arc::new(ManualClock::at("2026-06-01T00:00:00Z".parse().unwrap()));
    Reconciler::new(
        client,
        observer,
        installation,
        metrics,
        clock,
        "test".to_owned(),
    )
}

async fn go(host: &Host) -> Result<Duration, Error> {
    let Some(cluster) = host.cluster() else {
        return Ok(plan::RESYNC);
    };
    reconciler(host)
        .reconcile("team-a", "demo", &cluster, Failing::default())
        .await
}

/// After goes that have failed for so long.
async fn go_failing_for(host: &Host, lasts: Duration) -> Result<Duration, Error> {
    let cluster = host.cluster().unwrap();
    let failing = Failing { attempt: 9, lasts };
    reconciler(host)
        .reconcile("team-a", "demo", &cluster, failing)
        .await
}

async fn built() -> Host {
    let host = Host::new();
    go(&host).await.unwrap();
    host
}

/// Has somebody else have a pod in the namespace.
fn intrude(host: &Host) {
    let pod = json!({ "metadata": { "name": "web", "uid": "web" } });
    host.state()
        .objects
        .insert(format!("{NAMESPACE}/pods/web"), pod);
}

fn whole() -> BTreeSet<String> {
    let core = "/api/v1/namespaces/team-a";
    let apps = "/apis/apps/v1/namespaces/team-a";
    let net = "/apis/networking.k8s.io/v1/namespaces/team-a";
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a";
    [
        format!("{core}/configmaps/vcluster-admission"),
        format!("{core}/configmaps/vcluster-dns"),
        format!("{core}/secrets/vcluster-dns"),
        format!("{core}/services/vcluster-dns"),
        format!("{apps}/deployments/vcluster-dns"),
        format!("{core}/secrets/vcluster-gateway"),
        format!("{core}/secrets/vcluster-kubeconfig"),
        format!("{core}/secrets/vcluster-pki"),
        format!("{core}/secrets/vcluster-sync"),
        format!("{core}/serviceaccounts/vcluster-sync"),
        format!("{core}/serviceaccounts/vcluster-workload"),
        format!("{core}/services/demo"),
        format!("{apps}/statefulsets/demo"),
        format!("{net}/networkpolicies/vcluster-control-plane-egress"),
        format!("{net}/networkpolicies/vcluster-dns-ingress"),
        format!("{rbac}/rolebindings/vcluster-tenant"),
        format!("{rbac}/rolebindings/vcluster-tenant-token"),
        format!("{ROOTS}0d3b6f5e-7c1a-4d58-9f0e-1a2b3c4d5e6f"),
    ]
    .into()
}

#[tokio::test]
async fn a_new_cluster_is_built_in_one_go() {
    let host = built().await;
    assert_eq!(host.ours(), whole());
    let cluster = host.cluster().unwrap();
    assert_eq!(
        cluster.metadata.finalizers,
        Some(vec![CONTROL_FINALIZER.to_owned()])
    );
    let status = cluster.status.unwrap();
    assert!(condition::is_true(
        &status.conditions,
        Type::CertificatesReady
    ));
    assert!(condition::is_true(
        &status.conditions,
        Type::ControlPlaneReady
    ));
    assert!(condition::is_true(&status.conditions, Type::DnsReady));
    assert_eq!(status.service_cidrs, ["10.96.0.0/20"]);
    assert_eq!(status.dns_address.as_deref(), Some("10.96.0.99"));
    let uid = "0d3b6f5e-7c1a-4d58-9f0e-1a2b3c4d5e6f";
    let namespace = host.state().objects[NAMESPACE].clone();
    assert_eq!(
        namespace["metadata"]["annotations"][label::CREATED_FOR],
        uid
    );
}

#[tokio::test]
async fn at_rest_nothing_is_written() {
    let host = built().await;
    host.state().writes.clear();
    go(&host).await.unwrap();
    assert_eq!(host.state().writes, []);
}

#[tokio::test]
async fn writes_are_forced_only_over_a_known_object_and_deletes_always_name_one() {
    let host = built().await;
    let binding =
        "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings/vcluster-tenant";
    host.state().objects.get_mut(binding).unwrap()["subjects"] = json!([]);
    go(&host).await.unwrap();
    assert_eq!(
        host.state().objects[binding]["subjects"]
            .as_array()
            .unwrap()
            .len(),
        2,
        "repaired"
    );
    host.delete_cluster();
    go(&host).await.unwrap();
    let state = host.state();
    for (method, path, query, body) in &state.writes {
        if query.contains("force=true") && !path.ends_with("/status") {
            assert!(body["metadata"]["uid"].is_string(), "{path}");
        }
        if *method == Method::DELETE {
            assert!(body["preconditions"]["uid"].is_string(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_deleted_cluster_leaves_nothing() {
    let host = built().await;
    host.delete_cluster();
    go(&host).await.unwrap();
    assert_eq!(host.ours(), BTreeSet::new());
    assert!(host.cluster().is_none());
    let state = host.state();
    assert!(state.objects[NAMESPACE]["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn somebody_elses_things_keep_the_namespace() {
    let host = built().await;
    intrude(&host);
    host.delete_cluster();
    go(&host).await.unwrap();
    assert!(host.cluster().is_none());
    assert!(host.state().objects[NAMESPACE]["metadata"]["deletionTimestamp"].is_null());
    let told = host
        .state()
        .writes
        .iter()
        .any(|(_, _, _, body)| body["reason"] == "HostNamespaceKept");
    assert!(told);
}

#[tokio::test]
async fn killed_at_any_request_it_still_builds_the_same() {
    for request in 0.. {
        let host = Host::new();
        host.state().dies_after = Some(request);
        let died = go(&host).await;
        let exhausted = host.state().dies_after != Some(0);
        host.state().dies_after = None;
        let roots = find_roots(&host);
        go(&host)
            .await
            .unwrap_or_else(|error| panic!("after {request} requests: {error}"));
        assert_eq!(host.ours(), whole(), "after {request} requests");
        if let Some(roots) = roots {
            assert_eq!(find_roots(&host), Some(roots), "roots are made once");
        }
        if exhausted {
            assert!(died.is_ok() && request > 50);
            return;
        }
    }
}

#[tokio::test]
async fn killed_at_any_request_it_still_removes_everything() {
    let whole = built().await;
    whole.delete_cluster();
    for request in 0.. {
        let host = whole.fork();
        host.state().dies_after = Some(request);
        let died = go(&host).await;
        let exhausted = host.state().dies_after != Some(0);
        host.state().dies_after = None;
        go(&host)
            .await
            .unwrap_or_else(|error| panic!("after {request} requests: {error}"));
        assert_eq!(host.ours(), BTreeSet::new(), "after {request} requests");
        assert!(host.cluster().is_none());
        if exhausted {
            assert!(died.is_ok() && request > 50);
            return;
        }
    }
}

fn find_roots(host: &Host) -> Option<serde_json::Value> {
    let state = host.state();
    let found = state
        .objects
        .iter()
        .find(|(path, _)| path.starts_with(ROOTS));
    found.map(|(_, secret)| secret["data"].clone())
}

#[tokio::test]
async fn a_taken_address_is_passed_over() {
    let free = built().await;
    let first = free.state().objects[SERVICE]["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .to_owned();
    let host = Host::new();
    host.state().taken.insert(first.clone());
    go(&host).await.unwrap();
    assert_ne!(
        host.state().objects[SERVICE]["spec"]["clusterIP"],
        json!(first)
    );
    assert_eq!(host.ours(), whole());
}

#[tokio::test]
async fn while_control_may_not_look_at_secrets_no_keys_are_made() {
    let host = Host::new();
    host.state()
        .forbidden
        .push("/api/v1/namespaces/team-a/secrets".to_owned());
    let again = go(&host).await.unwrap();
    assert!(again < Duration::from_secs(1), "the role counts soon");
    assert_eq!(find_roots(&host), None);
    host.state().forbidden.clear();
    go(&host).await.unwrap();
    assert_eq!(host.ours(), whole());
}

const ACCOUNT: &str = "/api/v1/namespaces/team-a/serviceaccounts/vcluster-workload";

#[tokio::test]
async fn a_refused_step_is_told_once_and_tried_again_in_the_next_go() {
    let host = Host::new();
    host.state().stalled = true;
    host.refuse(&Method::PATCH, ACCOUNT, usize::MAX);
    for _ in 0..2 {
        let refused = go(&host).await;
        assert!(
            matches!(&refused, Err(Error::Refused { step: "apply", text }) if text == "exceeded quota"),
            "{refused:?}"
        );
        let status = host.cluster().unwrap().status.unwrap();
        assert_eq!(status.phase, Some(Phase::Failed));
        assert_eq!(status.message.as_deref(), Some("exceeded quota"));
        assert_eq!(host.events("Refused"), 1);
        assert!(!host.state().objects.contains_key(ACCOUNT));
    }
    host.state().refused.clear();
    go(&host).await.unwrap();
    assert!(host.state().objects.contains_key(ACCOUNT));
    let status = host.cluster().unwrap().status.unwrap();
    assert_eq!(status.phase, Some(Phase::Pending), "it waits for its pod");
}

#[tokio::test]
async fn what_was_refused_at_first_and_then_taken_is_no_failure() {
    let host = Host::new();
    host.state().stalled = true;
    host.refuse(&Method::PATCH, ACCOUNT, 1);
    go(&host).await.unwrap();
    assert!(host.state().objects.contains_key(ACCOUNT));
    let status = host.cluster().unwrap().status.unwrap();
    assert_eq!(status.phase, Some(Phase::Pending));
    assert_eq!(
        status.message.as_deref(),
        Some("waits for the control plane to start")
    );
    assert_eq!(host.events("Refused"), 0);
}

#[tokio::test]
async fn what_somebody_else_made_after_a_refusal_is_no_failure() {
    let host = Host::new();
    host.state().stalled = true;
    go(&host).await.unwrap();
    let account = host.state().objects.remove(ACCOUNT).unwrap();
    host.refuse(&Method::PATCH, ACCOUNT, 1);
    host.state().after_refusal = Some((ACCOUNT.to_owned(), account));
    go(&host).await.unwrap();
    assert_eq!(host.events("Refused"), 0);
}

#[tokio::test]
async fn a_deletion_goes_on_where_control_may_not_write_any_more() {
    let host = built().await;
    host.delete_cluster();
    // The namespace was made by somebody else, who has taken its label away.
    for marks in ["labels", "annotations"] {
        host.state().objects.get_mut(NAMESPACE).unwrap()["metadata"][marks] = json!({});
    }
    for path in host.ours() {
        if path.contains("/namespaces/team-a/") {
            host.refuse(&Method::DELETE, &path, usize::MAX);
        }
    }
    go(&host).await.unwrap();
    assert!(host.cluster().is_none());
}

#[tokio::test]
async fn a_running_cluster_stays_what_it_is_while_a_look_fails_and_is_unknown_once_that_lasts() {
    let host = built().await;
    host.sync_is_ready();
    go(&host).await.unwrap();
    let before = host.cluster().unwrap().status.unwrap();
    assert_eq!(before.phase, Some(Phase::Ready));
    for broken in [
        NAMESPACE.to_owned(),
        format!("{NAMESPACE}/secrets/vcluster-sync"),
        "/apis/apps/v1/namespaces/team-a/statefulsets/demo".to_owned(),
        "/apis/apps/v1/namespaces/team-a/deployments/vcluster-dns".to_owned(),
    ] {
        host.state().broken = BTreeSet::from([broken.clone()]);
        host.state().writes.clear();
        let doubt = go(&host).await;
        assert!(matches!(doubt, Err(Error::Doubt(_))), "{broken}: {doubt:?}");
        assert_eq!(host.state().writes, [], "{broken}");
        assert_eq!(host.cluster().unwrap().status.unwrap(), before, "{broken}");
        let doubt = go_failing_for(&host, Duration::from_mins(1)).await;
        assert!(matches!(doubt, Err(Error::Doubt(_))), "{broken}: {doubt:?}");
        let status = host.cluster().unwrap().status.unwrap();
        let ready = condition::find(&status.conditions, Type::Ready).unwrap();
        assert_eq!(ready.status, "Unknown", "{broken}");
        assert_eq!(status.phase, Some(Phase::Ready), "{broken}");
        assert_eq!(host.events("Degraded"), 0, "{broken}");
        host.state().broken.clear();
        go(&host).await.unwrap();
        let after = host.cluster().unwrap().status.unwrap();
        assert_eq!(after.phase, Some(Phase::Ready), "{broken}");
    }
}

#[tokio::test]
async fn last_words_are_told_once_and_not_while_the_cluster_stays() {
    let host = built().await;
    intrude(&host);
    host.delete_cluster();
    host.refuse(&Method::PATCH, CLUSTER, usize::MAX);
    for _ in 0..2 {
        let refused = go(&host).await;
        assert!(
            matches!(
                refused,
                Err(Error::Refused {
                    step: "remove_finalizer",
                    ..
                })
            ),
            "{refused:?}"
        );
        let status = host.cluster().unwrap().status.unwrap();
        assert_eq!(status.message.as_deref(), Some("exceeded quota"));
    }
    assert_eq!(host.events("HostNamespaceKept"), 0);
    host.state().refused.clear();
    go(&host).await.unwrap();
    assert!(host.cluster().is_none());
    assert_eq!(host.events("HostNamespaceKept"), 1);
}

#[tokio::test]
async fn a_cluster_that_is_gone_needs_nothing() {
    let host = Host::new();
    let cluster = host.cluster().unwrap();
    host.state().objects.remove(CLUSTER);
    let reconciler = reconciler(&host);
    assert!(
        reconciler
            .reconcile("team-a", "demo", &cluster, Failing::default())
            .await
            .is_ok()
    );
    assert_eq!(host.state().writes, []);
}
