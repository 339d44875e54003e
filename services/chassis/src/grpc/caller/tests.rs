//! Who is believed, as a table.

use std::convert::Infallible;

use http::{HeaderName, HeaderValue};
use serde_json::json;
use tower::ServiceExt;

use super::*;
use crate::access::CacheConfig;
use crate::testing::{self, ApiServer, Authority};

/// An API server that knows one token, `good`, as jane's.
fn api_server() -> ApiServer {
    ApiServer::new(|call| {
        let good = call.body["spec"]["token"] == "good";
        let status = json!({"authenticated": good, "user": {"username": "jane"}});
        testing::json(
            201,
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "metadata": {}, "spec": {}, "status": status,
            }),
        )
    })
}

fn peer(name: &str) -> PeerCertificates {
    let identity = Authority::new("platform").client(name, &[]).identity();
    PeerCertificates::new(None, identity.chain().to_vec())
}

/// Calls a handler that answers with the user's name and the headers that reached it.
async fn call(
    path: &str,
    peer: Option<PeerCertificates>,
    headers: &[(&'static str, &'static str)],
) -> Response<Body> {
    let reviewer = TokenReviewer::new(api_server().client(), vec![], CacheConfig::TOKENS);
    let handler = tower::service_fn(async |request: Request<Body>| {
        let mut response = Response::new(Body::empty());
        if let Some(caller) = request.extensions().get::<Identity>() {
            let shown = format!("{} {}", caller.user, caller.groups.join(","));
            response
                .headers_mut()
                .insert("caller", shown.parse().unwrap());
        }
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        response
            .headers_mut()
            .insert("seen", names.join(",").parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_static(value));
    }
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    let layer = CallerLayer::new(["vcluster-connect"], reviewer);
    layer.layer(handler).oneshot(request).await.unwrap()
}

async fn caller(
    peer: Option<PeerCertificates>,
    headers: &[(&'static str, &'static str)],
) -> Result<String, String> {
    let response = call("/x.v1.X/Do", peer, headers).await;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|v| v.to_str().unwrap().to_owned())
    };
    match header("grpc-status") {
        Some(code) => Err(format!(
            "{code} {}",
            header("grpc-message").unwrap_or_default()
        )),
        None => Ok(header("caller").unwrap()),
    }
}

const BOB: (&str, &str) = ("x-remote-user", "bob");
const ADMINS: (&str, &str) = ("x-remote-group", "system:masters");
const GOOD: (&str, &str) = ("authorization", "Bearer good");

#[tokio::test]
async fn the_front_proxy_speaks_for_others() {
    let found = caller(Some(peer("vcluster-connect")), &[BOB, ADMINS]).await;
    assert_eq!(found.unwrap(), "bob system:masters,system:authenticated");
}

#[tokio::test]
async fn nobody_else_speaks_for_others() {
    for peer in [
        None,
        Some(peer("mallory")),
        Some(PeerCertificates::default()),
    ] {
        let refused = caller(peer.clone(), &[BOB, ADMINS]).await.unwrap_err();
        assert!(refused.starts_with("16 "), "{refused}");
        let reviewed = caller(peer, &[BOB, ADMINS, GOOD]).await.unwrap();
        assert_eq!(reviewed, "jane ", "the token counts, the headers do not");
    }
}

#[tokio::test]
async fn a_front_proxy_without_headers_needs_a_token_too() {
    let proxy = || Some(peer("vcluster-connect"));
    assert_eq!(caller(proxy(), &[GOOD]).await.unwrap(), "jane ");
    assert!(caller(proxy(), &[]).await.unwrap_err().starts_with("16 "));
}

#[tokio::test]
async fn malformed_headers_of_the_front_proxy_are_not_overlooked() {
    let refused = caller(Some(peer("vcluster-connect")), &[ADMINS, GOOD])
        .await
        .unwrap_err();
    assert!(
        refused.starts_with("16 identity%20headers%20without"),
        "{refused}"
    );
}

#[tokio::test]
async fn tokens_are_reviewed() {
    let cases: [(&[(&str, &str)], bool); 7] = [
        (&[GOOD], true),
        (&[("authorization", "bearer good")], true),
        (&[("authorization", "Bearer bad")], false),
        (&[("authorization", "Bearer ")], false),
        (&[("authorization", "Basic Z29vZA==")], false),
        (&[("authorization", "good")], false),
        (&[GOOD, GOOD], false),
    ];
    for (headers, accepted) in cases {
        assert_eq!(caller(None, headers).await.is_ok(), accepted, "{headers:?}");
    }
}

#[tokio::test]
async fn without_credentials_the_message_says_what_to_send() {
    let refused = caller(None, &[]).await.unwrap_err();
    assert!(refused.contains("authorization:%20Bearer"), "{refused}");
}

#[tokio::test]
async fn handlers_see_neither_tokens_nor_identity_headers() {
    let response = call("/x.v1.X/Do", None, &[GOOD, BOB, ("x-request-id", "1")]).await;
    assert_eq!(response.headers()["seen"], "x-request-id");
}

#[tokio::test]
async fn health_and_reflection_need_no_caller() {
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/X",
    ] {
        let response = call(path, None, &[BOB, ADMINS]).await;
        assert!(!response.headers().contains_key("grpc-status"), "{path}");
        assert!(!response.headers().contains_key("caller"), "{path}");
    }
    let response = call("/grpc.health.v1.HealthX/Check", None, &[]).await;
    assert_eq!(response.headers()["grpc-status"], "16");
}
