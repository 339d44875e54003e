//! A whole server and a channel to it, over pipes, loopback and TLS.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::*;
use crate::health::Health;
use crate::metrics::Registry;
use crate::testing::Authority;
use crate::tls::{self, AcceptOptions, ClientAuth, Live};

struct Served {
    channel: Channel,
    health: Health,
    registry: Registry,
    shutdown: Shutdown,
}

async fn serve(options: Options) -> Served {
    let shutdown = Shutdown::new();
    let health = Health::new(&shutdown);
    let mut registry = Registry::new("test", "0");
    let metrics = Metrics::register(&mut registry);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let server = Server::new(options, &metrics, &health);
    server
        .serve(TcpListenerStream::new(listener), &shutdown)
        .unwrap();
    let channel = channel(uri, None, &ChannelOptions::default()).unwrap();
    Served {
        channel,
        health,
        registry,
        shutdown,
    }
}

async fn check(channel: &Channel, service: &str) -> Result<i32, tonic::Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await?;
    Ok(answer.into_inner().status)
}

#[tokio::test]
async fn health_follows_the_gates_of_the_process() {
    let served = serve(Options::default()).await;
    let gate = served.health.gate("store");
    let request = HealthCheckRequest::default();
    let mut client = HealthClient::new(served.channel.clone());
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut seen = async |wanted: ServingStatus| {
        while let Some(answer) = watch.message().await.unwrap() {
            if answer.status == wanted as i32 {
                return;
            }
        }
        panic!("the stream ended before {wanted:?}");
    };
    seen(ServingStatus::NotServing).await;
    gate.open();
    seen(ServingStatus::Serving).await;
    gate.close("test");
    seen(ServingStatus::NotServing).await;
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let served = serve(Options::default()).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel);
    let requests = tokio_stream::iter([request]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}")
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code_and_strangers_as_one() {
    let served = serve(Options::default()).await;
    check(&served.channel, "").await.unwrap();
    assert_eq!(
        check(&served.channel, "nobody").await.unwrap_err().code(),
        Code::NotFound
    );
    let mut grpc = tonic::client::Grpc::new(served.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost_codec();
    let path = http::uri::PathAndQuery::from_static("/random.Path/123");
    let refused = grpc
        .unary(
            tonic::Request::new(HealthCheckRequest::default()),
            path,
            codec,
        )
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    let text = served.registry.encode();
    let health = r#"grpc_service="grpc.health.v1.Health",grpc_method="Check""#;
    for line in [
        format!("grpc_server_started_total{{{health}}} 2"),
        format!("grpc_server_handled_total{{{health},grpc_code=\"OK\"}} 1"),
        format!("grpc_server_handled_total{{{health},grpc_code=\"NotFound\"}} 1"),
        format!("grpc_server_in_flight{{{health}}} 0"),
        format!("grpc_server_handling_seconds_count{{{health}}} 2"),
        r#"grpc_server_started_total{grpc_service="other",grpc_method="other"} 1"#.to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
}

fn tonic_prost_codec()
-> tonic_prost::ProstCodec<HealthCheckRequest, tonic_health::pb::HealthCheckResponse> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test]
async fn a_request_id_is_kept_or_made() {
    let served = serve(Options::default()).await;
    let mut client = HealthClient::new(served.channel);
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let answer = client.check(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine");
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("x-request-id", "x".repeat(200).parse().unwrap());
    let answer = client.check(request).await.unwrap();
    assert_eq!(
        answer.metadata().get("x-request-id").unwrap().len(),
        36,
        "a UUID"
    );
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(
        answer.metadata().get("x-request-id").unwrap().len(),
        36,
        "a UUID"
    );
}

#[tokio::test]
async fn a_drain_lets_a_stream_end_and_refuses_new_connections() {
    let served = serve(Options::default()).await;
    let mut client = HealthClient::new(served.channel.clone());
    let mut watch = client
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap();
    served.shutdown.begin("test");
    // The stream goes on to say that the server is about to go.
    while let Some(answer) = watch.message().await.unwrap() {
        if answer.status == ServingStatus::NotServing as i32 {
            break;
        }
    }
    drop(watch);
    served
        .shutdown
        .drained(Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(
        check(&served.channel, "").await.unwrap_err().code(),
        Code::Unavailable
    );
}

async fn drained_with_silent_connection(preface: &[u8]) -> Result<(), crate::drain::Stuck> {
    use tokio::io::AsyncWriteExt;
    let shutdown = Shutdown::new();
    let metrics = Metrics::register(&mut Registry::new("test", "0"));
    let (near, mut far) = tokio::io::duplex(1 << 14);
    far.write_all(preface).await.unwrap();
    // The listener's stream never ends by itself.
    let incoming = futures::StreamExt::chain(
        futures::stream::iter([io::Result::Ok(near)]),
        futures::stream::pending(),
    );
    Server::new(Options::default(), &metrics, &Health::new(&shutdown))
        .serve(incoming, &shutdown)
        .unwrap();
    // On the paused clock: the connection has been taken up, and its own deadline has not passed, so
    // that it is the drain that ends it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    shutdown.drained(Duration::from_secs(5)).await
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_speaks_http2_does_not_hold_up_the_drain() {
    assert_eq!(drained_with_silent_connection(b"").await, Ok(()));
    assert_eq!(drained_with_silent_connection(b"PRI * HT").await, Ok(()));
    assert_eq!(
        drained_with_silent_connection(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await,
        Ok(())
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_speaks_http2_is_cut_off() {
    use tokio::io::AsyncReadExt;
    let shutdown = Shutdown::new();
    let metrics = Metrics::register(&mut Registry::new("test", "0"));
    let (near, mut far) = tokio::io::duplex(1 << 14);
    let incoming = futures::StreamExt::chain(
        futures::stream::iter([io::Result::Ok(near)]),
        futures::stream::pending(),
    );
    Server::new(Options::default(), &metrics, &Health::new(&shutdown))
        .serve(incoming, &shutdown)
        .unwrap();
    let mut said = Vec::new();
    let cut = tokio::time::timeout(Duration::from_secs(30), far.read_to_end(&mut said)).await;
    assert!(cut.is_ok());
}

#[tokio::test]
async fn a_connection_of_age_is_replaced_without_an_error() {
    let options = Options {
        max_connection_age: Some(Duration::from_millis(20)),
        ..Options::default()
    };
    let served = serve(options).await;
    let until = tokio::time::Instant::now() + Duration::from_millis(200);
    while tokio::time::Instant::now() < until {
        check(&served.channel, "").await.unwrap();
    }
}

#[tokio::test]
async fn mutual_tls_reaches_the_handler_as_peer_certificates() {
    let authority = Authority::new("platform");
    let shutdown = Shutdown::new();
    let health = Health::new(&shutdown);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let auth = ClientAuth::Required(authority.roots().into());
    let identity = authority.server(&["control.system.svc"]).identity();
    let config = tls::server_config(identity, auth, &[tls::ALPN_H2]);
    let metrics = tls::Metrics::default();
    let incoming = tls::accept(
        listener,
        config,
        AcceptOptions::default(),
        &metrics,
        &shutdown,
    );
    let metrics = Metrics::register(&mut Registry::new("test", "0"));
    Server::new(Options::default(), &metrics, &health)
        .serve(incoming, &shutdown)
        .unwrap();

    let client = authority.client("vcluster-connect", &[]).identity();
    let tls = tls::client_config(authority.roots(), Some(Live::from(client)), &[]);
    let uri: http::Uri = format!("https://127.0.0.1:{port}").parse().unwrap();
    let named = ChannelOptions {
        server_name: Some("control.system.svc".to_owned()),
        ..ChannelOptions::default()
    };
    let right = channel(uri.clone(), Some(std::sync::Arc::clone(&tls)), &named).unwrap();
    assert_eq!(
        check(&right, "").await.unwrap(),
        ServingStatus::Serving as i32
    );
    let wrong = channel(uri, Some(tls), &ChannelOptions::default()).unwrap();
    assert_eq!(
        check(&wrong, "").await.unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn a_channel_wants_the_scheme_that_fits_its_tls() {
    let tls = tls::client_config(Authority::new("ca").roots(), None, &[]);
    let options = ChannelOptions::default();
    let plain = http::Uri::from_static("http://x:1");
    let secure = http::Uri::from_static("https://x:1");
    assert!(channel(plain.clone(), Some(tls), &options).is_err());
    assert!(channel(secure, None, &options).is_err());
    assert!(channel(http::Uri::from_static("/x"), None, &options).is_err());
    assert!(channel(plain, None, &options).is_ok());
}
