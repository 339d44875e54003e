//! The gRPC front: control's and sync's calls, and the gateway's own.

use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use vcluster_chassis::tls::ALPN_H2;
use vcluster_proto::connect::v1::IssueCredentialRequest;
use vcluster_proto::connect::v1::connect_service_client::ConnectServiceClient;

use super::client::get;
use super::*;

/// A gRPC channel to the gateway.
async fn channel(world: &World, certificate: Option<&Issued>) -> tonic::transport::Channel {
    let stream = world.tls(certificate, ALPN_H2, "gateway.test").await;
    let mut stream = Some(stream);
    let connect = tower::service_fn(move |_: http::Uri| {
        let stream = stream.take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| std::io::Error::other("used up"))
        }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://gateway.test");
    endpoint.connect_with_connector(connect).await.unwrap()
}

fn asked(namespace: &str, name: &str) -> IssueCredentialRequest {
    IssueCredentialRequest {
        host_namespace: namespace.into(),
        name: name.into(),
        lifetime: None,
    }
}

fn with_bearer<T>(message: T, token: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn a_credential_is_issued_and_lets_its_caller_in() {
    let world = World::new().await;
    let jane = world.certificate("jane", &["devs"]);
    let mut client = ConnectServiceClient::new(channel(&world, Some(&jane)).await);
    let issued = client
        .issue_credential(asked("team-a", "demo"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(issued.path, "/clusters/team-a/demo");
    let left = issued.expire_time.unwrap().seconds - jiff::Timestamp::now().as_second();
    assert!((590..=600).contains(&left), "{left}");
    let bearer = format!("Bearer {}", issued.token);
    let target = format!("{}/api", issued.path);
    let response = world
        .h1(None)
        .await
        .send(get(&target, &[("authorization", &bearer)]))
        .await;
    assert_eq!(response.status(), 200);
    let seen = world.demo.only();
    assert_eq!(seen.all("x-remote-user"), ["jane"]);
    assert_eq!(seen.all("x-remote-group"), ["devs", "system:authenticated"]);
}

#[tokio::test]
async fn a_credential_cannot_be_turned_into_another_one() {
    let world = World::new().await;
    let jane = vcluster_chassis::identity::Identity::user("jane");
    let issued = world
        .credentials
        .issue(&jane, &demo(), Duration::from_mins(1))
        .unwrap();
    let mut client = ConnectServiceClient::new(channel(&world, None).await);
    let request = with_bearer(asked("team-a", "demo"), issued.token.expose_secret());
    let refused = client.issue_credential(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn who_may_not_connect_gets_no_credential_and_no_hint() {
    let world = World::new().await;
    let jane = world.certificate("jane", &[]);
    let mut client = ConnectServiceClient::new(channel(&world, Some(&jane)).await);
    for name in ["other", "absent"] {
        let refused = client
            .issue_credential(asked("team-b", name))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(
            refused.message().contains("ask for verb connect"),
            "{}",
            refused.message()
        );
    }
    let invalid = client.issue_credential(asked("A", "")).await.unwrap_err();
    assert_eq!(invalid.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn callers_of_grpc_without_credentials_get_a_grpc_status() {
    let world = World::new().await;
    let mut client = ConnectServiceClient::new(channel(&world, None).await);
    let refused = client
        .issue_credential(asked("team-a", "demo"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut raw = world.h2(None).await;
    for path in [
        "/vcluster.control.v1.ControlService/X",
        "/vcluster.sync.v1.SyncService/X",
    ] {
        let response = raw.send(grpc_request(path, &[])).await;
        assert_eq!(
            (response.status(), &response.headers()["grpc-status"]),
            (StatusCode::OK, &"16".parse().unwrap())
        );
    }
    assert!(world.control.seen().is_empty());
}

#[tokio::test]
async fn health_is_open_to_everybody_and_reflection_is_not() {
    let world = World::new().await;
    let mut health =
        tonic_health::pb::health_client::HealthClient::new(channel(&world, None).await);
    let request = tonic_health::pb::HealthCheckRequest::default();
    assert!(health.check(request).await.is_ok());
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let response = world.h2(None).await.send(grpc_request(path, &[])).await;
    assert_eq!(response.headers()["grpc-status"], "16");
}

fn grpc_request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = get(path, headers);
    *request.method_mut() = http::Method::POST;
    request
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    request
}

const CREATE: &str = "/vcluster.control.v1.ControlService/CreateVirtualCluster";

#[tokio::test]
async fn calls_go_on_to_control_with_the_callers_host_identity_and_nothing_forged() {
    let world = World::new().await;
    world.control.answers(|_| async {
        let mut response = Response::new(crate::body::empty());
        response
            .headers_mut()
            .insert("content-type", "application/grpc".parse().unwrap());
        response
            .headers_mut()
            .insert("grpc-status", "0".parse().unwrap());
        response
    });
    let jane = world.certificate("jane", &["system:masters"]);
    let mut client = world.h2(Some(&jane)).await;
    let forged = [
        ("x-remote-user", "root"),
        ("x-remote-group", "system:masters"),
        ("x_remote_user", "root"),
        ("authorization", "Bearer token-of-root"),
        ("grpc-timeout", "5S"),
        ("te", "trailers"),
    ];
    let response = client.send(grpc_request(CREATE, &forged)).await;
    assert_eq!(response.headers()["grpc-status"], "0");
    let seen = world.control.only();
    assert_eq!(
        (seen.target.as_str(), seen.version),
        (CREATE, http::Version::HTTP_2)
    );
    assert_eq!(seen.all("x-remote-user"), ["jane"]);
    assert_eq!(
        seen.all("x-remote-group"),
        ["system:masters", "system:authenticated"]
    );
    assert_eq!(seen.all("grpc-timeout"), ["5S"]);
    assert_eq!(seen.all("te"), ["trailers"]);
    assert!(
        !seen.headers.contains_key("authorization") && !seen.headers.contains_key("x_remote_user")
    );
}

#[tokio::test]
async fn a_credential_of_a_cluster_is_not_an_identity_for_the_platform() {
    let world = World::new().await;
    let jane = vcluster_chassis::identity::Identity::user("jane");
    let issued = world
        .credentials
        .issue(&jane, &demo(), Duration::from_mins(1))
        .unwrap();
    let bearer = format!("Bearer {}", issued.token.expose_secret());
    let mut client = world.h2(None).await;
    let response = client
        .send(grpc_request(CREATE, &[("authorization", &bearer)]))
        .await;
    let refused = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(
        refused.message().contains("team-a/demo only"),
        "{}",
        refused.message()
    );
    assert!(world.control.seen().is_empty());
}

#[tokio::test]
async fn grpc_methods_are_not_served_as_anything_else() {
    let world = World::new().await;
    let jane = world.certificate("jane", &[]);
    let mut client = world.h1(Some(&jane)).await;
    assert_eq!(client.get(CREATE).await.status(), 400);
    let response = client.send(grpc_request(CREATE, &[])).await;
    assert_eq!(response.headers()["grpc-status"], "3");
    assert!(world.control.seen().is_empty());
}
