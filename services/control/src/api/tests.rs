//! The six calls against a small host.

use futures::StreamExt as _;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;
use vcluster_resources::label;

mod host;

use host::{Host, MALLORY};

use super::*;

const ID: &str = "0d3b6f5e-7c1a-4d58-9f0e-1a2b3c4d5e6f";
const DEMO: &str = "/apis/vcluster.dev/v1alpha1/namespaces/team-a/virtualclusters/demo";

fn service(host: &Host) -> Service {
    let client = host.server().client();
    let authorizer = Authorizer::new(client.clone());
    Service::new(
        client,
        authorizer,
        "vcluster-system".to_owned(),
        Shutdown::new(),
    )
}

fn enabled() -> Host {
    let host = Host::default();
    host.namespace("team-a", &json!({ (label::HOST): label::HOST_VALUE }));
    host
}

fn by<T>(user: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Identity::user(user));
    request
}

fn order(id: &str) -> wire::CreateVirtualClusterRequest {
    wire::CreateVirtualClusterRequest {
        virtual_cluster: Some(wire::VirtualCluster {
            name: "demo".to_owned(),
            host_namespace: "team-a".to_owned(),
            ..Default::default()
        }),
        request_id: id.to_owned(),
        validate_only: false,
    }
}

async fn create(
    host: &Host,
    order: wire::CreateVirtualClusterRequest,
) -> Result<wire::VirtualCluster, Status> {
    let answer = service(host)
        .create_virtual_cluster(by("alice", order))
        .await?;
    Ok(answer.into_inner().virtual_cluster.unwrap())
}

fn reason(status: &Status) -> String {
    let info = status
        .get_details_error_info()
        .expect("every error has a reason");
    assert_eq!(info.domain, "vcluster.dev");
    info.reason
}

#[tokio::test]
async fn a_created_cluster_tells_who_made_it_and_by_which_call() {
    let host = enabled();
    let cluster = create(&host, order(ID)).await.unwrap();
    assert_eq!(
        (cluster.name.as_str(), cluster.etag.is_empty()),
        ("demo", false)
    );
    let annotations = &host.get(DEMO).unwrap()["metadata"]["annotations"];
    assert_eq!(annotations[label::CREATED_BY], "alice");
    assert_eq!(annotations[label::REQUEST_ID], ID);
    assert_eq!(host.reviews(), ["create virtualclusters team-a/demo"]);
}

#[tokio::test]
async fn the_same_call_again_gives_the_same_cluster_and_another_one_under_its_id_is_refused() {
    let host = enabled();
    let first = create(&host, order(ID)).await.unwrap();
    assert_eq!(create(&host, order(ID)).await.unwrap(), first);
    let mut other = order(ID);
    other
        .virtual_cluster
        .as_mut()
        .unwrap()
        .labels
        .insert("a".to_owned(), "b".to_owned());
    let refused = create(&host, other).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "REQUEST_ID_REUSED")
    );
    let taken = create(&host, order("")).await.unwrap_err();
    assert_eq!(
        (taken.code(), reason(&taken).as_str()),
        (Code::AlreadyExists, "VIRTUAL_CLUSTER_EXISTS")
    );
}

#[tokio::test]
async fn a_namespace_holds_one_cluster_only() {
    let host = enabled();
    create(&host, order(ID)).await.unwrap();
    let mut second = order("");
    second.virtual_cluster.as_mut().unwrap().name = "second".to_owned();
    let refused = create(&host, second).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "HOST_NAMESPACE_OCCUPIED");
}

#[tokio::test]
async fn a_namespace_without_the_label_is_refused_and_left_as_it_is() {
    let host = Host::default();
    host.namespace("team-a", &json!({}));
    let refused = create(&host, order(ID)).await.unwrap_err();
    assert_eq!(reason(&refused), "HOST_NAMESPACE_NOT_ENABLED");
    assert_eq!(
        host.get("/api/v1/namespaces/team-a").unwrap()["metadata"]["labels"],
        json!({})
    );
}

#[tokio::test]
async fn a_missing_namespace_is_made_for_those_who_may() {
    let host = Host::default();
    create(&host, order(ID)).await.unwrap();
    let namespace = host.get("/api/v1/namespaces/team-a").unwrap();
    assert_eq!(namespace["metadata"]["labels"][label::HOST], "true");
    assert_eq!(
        namespace["metadata"]["annotations"][label::CREATED_FOR],
        "name/demo"
    );
    assert!(
        host.reviews()
            .contains(&"create namespaces /team-a".to_owned())
    );
}

#[tokio::test]
async fn a_missing_namespace_is_not_made_for_others() {
    let host = Host::default();
    host.deny("create namespaces");
    let refused = create(&host, order(ID)).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::PermissionDenied, "PERMISSION_DENIED")
    );
    assert_eq!(host.get("/api/v1/namespaces/team-a"), None);
}

#[tokio::test]
async fn a_trial_writes_nothing() {
    for host in [enabled(), Host::default()] {
        let before = host.get("/api/v1/namespaces/team-a");
        let trial = wire::CreateVirtualClusterRequest {
            validate_only: true,
            ..order(ID)
        };
        create(&host, trial).await.unwrap();
        assert_eq!(host.get(DEMO), None);
        assert_eq!(host.get("/api/v1/namespaces/team-a"), before);
    }
}

#[tokio::test]
async fn bad_input_is_told_by_field_before_anybody_is_asked() {
    let host = enabled();
    let mut bad = order("not a uuid");
    bad.virtual_cluster.as_mut().unwrap().name = "a-x-b".to_owned();
    bad.virtual_cluster.as_mut().unwrap().host_namespace = "vcluster-system".to_owned();
    let refused = create(&host, bad).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "INVALID_REQUEST")
    );
    let fields: Vec<String> = refused
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(
        fields,
        [
            "request_id",
            "virtual_cluster.host_namespace",
            "virtual_cluster.name"
        ]
    );
    assert!(host.reviews().is_empty());
}

#[tokio::test]
async fn every_call_asks_whether_the_caller_may() {
    let host = enabled();
    create(&host, order(ID)).await.unwrap();
    let service = service(&host);
    let (namespace, name) = ("team-a".to_owned(), "demo".to_owned());
    let denied = |status: Status| assert_eq!(reason(&status), "PERMISSION_DENIED");
    denied(
        service
            .create_virtual_cluster(by(MALLORY, order("")))
            .await
            .unwrap_err(),
    );
    let get = wire::GetVirtualClusterRequest {
        host_namespace: namespace.clone(),
        name: name.clone(),
    };
    denied(
        service
            .get_virtual_cluster(by(MALLORY, get))
            .await
            .unwrap_err(),
    );
    let list = wire::ListVirtualClustersRequest::default();
    denied(
        service
            .list_virtual_clusters(by(MALLORY, list))
            .await
            .unwrap_err(),
    );
    let watch = wire::WatchVirtualClustersRequest::default();
    denied(
        service
            .watch_virtual_clusters(by(MALLORY, watch))
            .await
            .err()
            .unwrap(),
    );
    denied(
        service
            .update_virtual_cluster(by(MALLORY, update("", "1.37.3")))
            .await
            .unwrap_err(),
    );
    let delete = wire::DeleteVirtualClusterRequest {
        host_namespace: namespace,
        name,
        ..Default::default()
    };
    denied(
        service
            .delete_virtual_cluster(by(MALLORY, delete))
            .await
            .unwrap_err(),
    );
    assert!(host.get(DEMO).is_some());
    // And nobody is let in without a name.
    let nobody = service
        .list_virtual_clusters(Request::new(wire::ListVirtualClustersRequest::default()))
        .await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn pages_cover_everything_once_and_an_old_token_is_told() {
    let host = Host::default();
    for namespace in ["a", "b", "c"] {
        let mut order = order("");
        order.virtual_cluster.as_mut().unwrap().host_namespace = namespace.to_owned();
        create(&host, order).await.unwrap();
    }
    let service = service(&host);
    let page = |token: String| {
        by(
            "alice",
            wire::ListVirtualClustersRequest {
                page_size: 2,
                page_token: token,
                ..Default::default()
            },
        )
    };
    let first = service
        .list_virtual_clusters(page(String::new()))
        .await
        .unwrap()
        .into_inner();
    let rest = service
        .list_virtual_clusters(page(first.next_page_token))
        .await
        .unwrap()
        .into_inner();
    let all = first.virtual_clusters.iter().chain(&rest.virtual_clusters);
    let namespaces: Vec<_> = all.map(|cluster| cluster.host_namespace.as_str()).collect();
    assert_eq!(namespaces, ["a", "b", "c"]);
    assert_eq!(rest.next_page_token, "");
    let old = list::write_token("", "expired".to_owned());
    let status = service.list_virtual_clusters(page(old)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "PAGE_TOKEN_EXPIRED")
    );
}

fn update(etag: &str, version: &str) -> wire::UpdateVirtualClusterRequest {
    wire::UpdateVirtualClusterRequest {
        virtual_cluster: Some(wire::VirtualCluster {
            name: "demo".to_owned(),
            host_namespace: "team-a".to_owned(),
            etag: etag.to_owned(),
            spec: Some(wire::VirtualClusterSpec {
                version: version.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["spec.version".to_owned()],
        }),
        validate_only: false,
    }
}

#[tokio::test]
async fn an_update_is_bound_to_its_etag() {
    let host = enabled();
    let made = create(&host, order(ID)).await.unwrap();
    let service = service(&host);
    let updated = service
        .update_virtual_cluster(by("alice", update(&made.etag, "1.37.3")))
        .await;
    let updated = updated.unwrap().into_inner().virtual_cluster.unwrap();
    assert_eq!(updated.spec.unwrap().version, "1.37.3");
    let stale = service
        .update_virtual_cluster(by("alice", update(&made.etag, "1.37.4")))
        .await;
    let stale = stale.unwrap_err();
    assert_eq!(
        (stale.code(), reason(&stale).as_str()),
        (Code::Aborted, "ETAG_MISMATCH")
    );
    assert_eq!(host.get(DEMO).unwrap()["spec"]["version"], "1.37.3");
    service
        .update_virtual_cluster(by("alice", update("", "1.37.5")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_delete_is_bound_to_its_etag_and_a_missing_cluster_may_be_fine() {
    let host = enabled();
    let made = create(&host, order(ID)).await.unwrap();
    let service = service(&host);
    let delete = |etag: &str, allow_missing| {
        by(
            "alice",
            wire::DeleteVirtualClusterRequest {
                host_namespace: "team-a".to_owned(),
                name: "demo".to_owned(),
                etag: etag.to_owned(),
                allow_missing,
            },
        )
    };
    let stale = service
        .delete_virtual_cluster(delete("999", false))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let last = service
        .delete_virtual_cluster(delete(&made.etag, false))
        .await
        .unwrap();
    assert!(
        last.into_inner()
            .virtual_cluster
            .unwrap()
            .delete_time
            .is_some()
    );
    let missing = service
        .delete_virtual_cluster(delete("", false))
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code(), reason(&missing).as_str()),
        (Code::NotFound, "VIRTUAL_CLUSTER_NOT_FOUND")
    );
    let fine = service
        .delete_virtual_cluster(delete("", true))
        .await
        .unwrap();
    assert_eq!(fine.into_inner().virtual_cluster, None);
}

fn event(kind: &str, version: &str) -> String {
    let cluster = json!({
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster", "spec": {},
        "metadata": { "name": "demo", "namespace": "team-a", "resourceVersion": version },
    });
    format!("{}\n", json!({ "type": kind, "object": cluster }))
}

fn expired() -> String {
    let status =
        json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" });
    format!("{}\n", json!({ "type": "ERROR", "object": status }))
}

async fn watched(host: &Host, from: &str) -> Vec<Result<(wire::EventType, String), String>> {
    let request = wire::WatchVirtualClustersRequest {
        resource_version: from.to_owned(),
        ..Default::default()
    };
    let stream = service(host)
        .watch_virtual_clusters(by("alice", request))
        .await
        .unwrap();
    stream
        .into_inner()
        .map(|event| match event {
            Ok(event) => Ok((event.r#type(), event.resource_version)),
            Err(status) => Err(reason(&status)),
        })
        .collect()
        .await
}

#[tokio::test(start_paused = true)]
async fn a_watch_sends_what_exists_then_changes_and_goes_on_where_the_host_broke_off() {
    use wire::EventType;
    let host = enabled();
    create(&host, order(ID)).await.unwrap();
    let modified = event("MODIFIED", "5");
    let deleted = event("DELETED", "7");
    let last = expired();
    host.watches(&[&modified, &deleted, &last]);
    let events = watched(&host, "").await;
    assert_eq!(
        events,
        [
            Ok((EventType::Added, String::new())),
            Ok((EventType::Synced, "1".to_owned())),
            Ok((EventType::Modified, "5".to_owned())),
            Ok((EventType::Deleted, "7".to_owned())),
            Err("RESOURCE_VERSION_EXPIRED".to_owned()),
        ]
    );
    assert_eq!(host.watched(), ["1", "5", "7"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_the_host_always_refuses_ends_with_an_error() {
    let host = enabled();
    let status = json!({ "kind": "Status", "code": 504, "reason": "Timeout",
        "message": "Too large resource version: 999999999, current: 5" });
    let refused = format!("{}\n", json!({ "type": "ERROR", "object": status }));
    host.watches(&[&refused]);
    let events = watched(&host, "999999999").await;
    assert_eq!(events, [Err("HOST_UNAVAILABLE".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_after_a_version_without_sending_what_exists() {
    let host = enabled();
    create(&host, order(ID)).await.unwrap();
    let bookmark = json!({ "type": "BOOKMARK", "object": {
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": { "resourceVersion": "9" },
    } });
    let bookmark = format!("{bookmark}\n");
    let last = expired();
    host.watches(&[&bookmark, &last]);
    let events = watched(&host, "4").await;
    assert_eq!(
        events,
        [
            Ok((wire::EventType::Bookmark, "9".to_owned())),
            Err("RESOURCE_VERSION_EXPIRED".to_owned()),
        ]
    );
    assert_eq!(host.watched(), ["4", "9"]);
}

#[tokio::test]
async fn nothing_inside_the_host_is_told_when_it_refuses_this_service() {
    let refusal: Value = json!({
        "kind": "Status", "code": 403, "reason": "Forbidden",
        "message": "User \"system:serviceaccount:x:vcluster-control\" cannot get resource",
    });
    let host = vcluster_chassis::testing::ApiServer::new(move |call| {
        if call.path.ends_with("/subjectaccessreviews") {
            let body = json!({ "metadata": {}, "spec": {}, "status": { "allowed": true } });
            return vcluster_chassis::testing::json(201, body);
        }
        vcluster_chassis::testing::json(403, &refusal)
    });
    let client = host.client();
    let authorizer = Authorizer::new(client.clone());
    let service = Service::new(client, authorizer, "x".to_owned(), Shutdown::new());
    let get = wire::GetVirtualClusterRequest {
        host_namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
    };
    let status = service
        .get_virtual_cluster(by("alice", get))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Internal, "INTERNAL")
    );
    assert!(!status.message().contains("serviceaccount"), "{status}");
}
