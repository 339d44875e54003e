//! exec, attach and port-forward.

use http::Request;
use http_body_util::Empty;
use hyper::upgrade::Upgraded;

use super::*;

type Client = TokioIo<Upgraded>;

fn upgrade(method: &Method, target: &str, protocol: &str) -> Request<Empty<bytes::Bytes>> {
    let mut request = request(method, target);
    let headers = request.headers_mut();
    headers.insert("connection", "Upgrade, x-anything".parse().unwrap());
    headers.insert("upgrade", protocol.parse().unwrap());
    if protocol == "websocket" {
        headers.insert(
            "sec-websocket-protocol",
            "v5.channel.k8s.io".parse().unwrap(),
        );
        headers.insert(
            "sec-websocket-key",
            "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap(),
        );
        headers.insert("sec-websocket-version", "13".parse().unwrap());
    } else {
        headers.insert(
            "x-stream-protocol-version",
            "v4.channel.k8s.io".parse().unwrap(),
        );
    }
    request
}

async fn open(world: &World, request: Request<Empty<bytes::Bytes>>) -> Client {
    let mut response = world.ask(request).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(
        !response.headers().contains_key("set-cookie"),
        "{response:?}"
    );
    TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap())
}

async fn echoes(client: &mut Client, said: &[u8]) {
    client.write_all(said).await.unwrap();
    let mut heard = vec![0; said.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, said);
}

#[tokio::test]
async fn streams_are_asked_for_as_the_host_s_api_names_them_with_the_handshake_alone() {
    let world = World::new().await;
    let exec = "container=main&stdin=true&stdout=true&stderr=false&tty=true&command=sh&command=-c&command=a%20%26%20b";
    for (method, target, subresource, expected) in [
        (
            Method::POST,
            "/exec/shop/web/main?command=sh&command=-c&command=a%20%26%20b&input=1&output=1&tty=1&unknown=1",
            "exec",
            exec,
        ),
        (
            Method::GET,
            "/exec/shop/web/v1/main?input=1&output=1&tty=1&command=sh&command=-c&command=a%20%26%20b&container=injected",
            "exec",
            exec,
        ),
        (
            Method::POST,
            "/attach/shop/web/main?output=1&error=1&command=no",
            "attach",
            "container=main&stdin=false&stdout=true&stderr=true&tty=false",
        ),
        (Method::POST, "/portForward/shop/web", "portforward", ""),
        (
            Method::GET,
            "/portForward/shop/web/v1?port=80%2C81&command=sh",
            "portforward",
            "ports=80&ports=81",
        ),
    ] {
        world.host_says(subresource, 101, "");
        for (protocol, handshake) in [
            ("SPDY/3.1", &["x-stream-protocol-version"][..]),
            (
                "websocket",
                &[
                    "sec-websocket-protocol",
                    "sec-websocket-key",
                    "sec-websocket-version",
                ],
            ),
        ] {
            let mut client = open(&world, upgrade(&method, target, protocol)).await;
            echoes(&mut client, b"as it is \x00\xff").await;
            let path = format!("{}/{subresource}", host_pod_path());
            let seen = world.seen(&path);
            let [seen] = seen.as_slice() else {
                panic!("{target}: {seen:?}")
            };
            assert_eq!(seen.method, method, "{target}");
            assert_eq!(seen.target, format!("{path}?{expected}"), "{target}");
            let headers = seen.headers();
            assert_eq!(headers["connection"], "Upgrade");
            assert_eq!(headers["upgrade"], protocol);
            goes_as_the_tenant(&headers, &[handshake, &["connection", "upgrade"]].concat());
        }
    }
}

#[tokio::test]
async fn a_token_in_the_handshake_and_a_request_without_one_reach_nobody() {
    let world = World::new().await;
    world.host_says("exec", 101, "");
    let mut bearing = upgrade(&Method::GET, "/exec/shop/web/main?command=sh", "websocket");
    let token = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0";
    bearing
        .headers_mut()
        .insert("sec-websocket-protocol", token.parse().unwrap());
    let other = upgrade(&Method::GET, "/exec/shop/web/main?command=sh", "h2c");
    let plain = request(&Method::GET, "/exec/shop/web/main?command=sh");
    for request in [bearing, other, plain] {
        let (code, said) = whole(world.ask(request).await).await;
        assert_eq!(code, 400, "{said}");
        assert!(!said.contains("c2VjcmV0"), "{said}");
        assert!(world.seen(&format!("{}/", host_pod_path())).is_empty());
    }
}

#[tokio::test]
async fn what_the_host_answers_instead_of_a_stream_is_told_and_leaves_no_pipe() {
    let world = World::new().await;
    let gone = json!({"kind": "Status", "code": 404, "reason": "NotFound",
        "message": "pod not found (\"web-x-shop-x-demo_team-a\")"});
    world.host_says("exec", 404, &gone.to_string());
    let target = "/exec/shop/web/main?command=sh";
    let (code, said) = whole(world.ask(upgrade(&Method::POST, target, "SPDY/3.1")).await).await;
    assert_eq!(code, 404);
    assert!(
        !said.contains(HOST_POD) && !said.contains("team-a"),
        "{said}"
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["message"], "pod not found (\"web_shop\")");
}

#[tokio::test]
async fn a_stream_goes_on_with_the_pod_it_was_opened_to_and_never_with_its_successor() {
    let world = World::new().await;
    world.host_says("exec", 101, "");
    let with_uid = |uid: &str| {
        let target = format!("/exec/shop/web/{uid}/main?command=sh&input=1&output=1");
        upgrade(&Method::POST, &target, "SPDY/3.1")
    };
    let unnamed = || upgrade(&Method::POST, "/exec/shop/web/main?command=sh", "SPDY/3.1");
    let mut first = open(&world, with_uid("v1")).await;
    echoes(&mut first, b"to the first").await;
    world.seen("");

    // Deleted and made again inside: the host still has the former one.
    world.pod_inside("v2");
    for request in [with_uid("v1"), with_uid("v2"), unnamed()] {
        let (code, said) = whole(world.ask(request).await).await;
        assert_eq!(code, 404, "{said}");
    }
    assert!(world.seen(&format!("{}/", host_pod_path())).is_empty());
    // Its connection is the host's to end, and nobody else's.
    echoes(&mut first, b"still to the first").await;

    let mut second = host_pod();
    second["metadata"]["annotations"][VIRTUAL_UID] = "v2".into();
    second["metadata"]["uid"] = "h2".into();
    world.pod_on_host(&second);
    let (code, _) = whole(world.ask(with_uid("v1")).await).await;
    assert_eq!(code, 404);
    let mut next = open(&world, unnamed()).await;
    echoes(&mut next, b"to the second").await;
    assert_eq!(world.seen(&format!("{}/exec", host_pod_path())).len(), 1);
    echoes(&mut first, b"and to the first").await;
}
