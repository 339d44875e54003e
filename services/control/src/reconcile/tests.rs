//! The loop against a host that keeps objects and can fail at any request.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::Method;
use prometheus_client::registry::Registry;
use serde_json::json;
use vcluster_chassis::testing::ManualClock;
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
        .reconcile("team-a", "demo", &cluster, 0)
        .await
}

async fn built() -> Host {
    let host = Host::new();
    go(&host).await.unwrap();
    host
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
    let pod = json!({ "metadata": { "name": "web", "uid": "web" } });
    host.state()
        .objects
        .insert(format!("{NAMESPACE}/pods/web"), pod);
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

#[tokio::test]
async fn a_refused_step_is_told_and_tried_again_later() {
    let host = Host::new();
    host.state()
        .forbidden
        .push("/api/v1/namespaces/team-a/serviceaccounts/vcluster-workload".to_owned());
    let account = "/api/v1/namespaces/team-a/serviceaccounts/vcluster-workload";
    // It may be looked at, and not be written.
    let result = go(&host).await;
    assert!(
        result.is_ok(),
        "what cannot be seen is not written: {result:?}"
    );
    assert!(!host.state().objects.contains_key(account));
}

#[tokio::test]
async fn a_cluster_that_is_gone_needs_nothing() {
    let host = Host::new();
    let cluster = host.cluster().unwrap();
    host.state().objects.remove(CLUSTER);
    let reconciler = reconciler(&host);
    assert!(
        reconciler
            .reconcile("team-a", "demo", &cluster, 0)
            .await
            .is_ok()
    );
    assert_eq!(host.state().writes, []);
}
