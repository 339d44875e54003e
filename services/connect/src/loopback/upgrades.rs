//! Upgrades: exec, attach and port-forward in SPDY and WebSocket, and answers that are none.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::get;
use super::server::plain;
use super::*;

const EXEC: &str = "/clusters/team-a/demo/api/v1/namespaces/a/pods/b/exec?command=sh";

/// The head of an upgrade as raw HTTP/1.1.
fn head(method: &str, target: &str, protocol: &str, more: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{more}\r\n"
    )
}

/// Reads to the end of a head.
async fn read_head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// What is left until the other end closes, however it does.
async fn rest<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut rest = Vec::new();
    let _however = stream.read_to_end(&mut rest).await;
    rest
}

/// Switches to what is asked for and sends everything back, then a farewell when the client is done.
fn echo(world: &World) {
    world.demo.answers(|mut request| async move {
        let protocol = request.headers()["upgrade"].clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut buffer = vec![0; 4096];
            loop {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => stream.write_all(&buffer[..read]).await.unwrap(),
                }
            }
            drop(stream.write_all(b"farewell").await);
            drop(stream.shutdown().await);
        });
        let mut response = plain(101, "");
        for (name, value) in [
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-evil", "1"),
            ("alt-svc", "h2=\"evil:443\""),
            ("keep-alive", "1"),
            ("set-cookie", "a=b"),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
            .headers_mut()
            .insert("connection", "Upgrade, x-evil".parse().unwrap());
        response.headers_mut().insert("upgrade", protocol);
        response
    });
}

#[tokio::test]
async fn spdy_and_websocket_are_spliced_with_their_header_lines_apart() {
    let world = World::new().await;
    echo(&world);
    let lines = "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: channel.k8s.io\r\n\
                 Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\
                 Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.Y2FuYXJ5\r\n\
                 X-Remote-User: system:admin\r\nContent-Length: 0\r\n";
    for (method, protocol) in [("POST", "SPDY/3.1"), ("GET", "websocket")] {
        let mut stream = world.raw().await;
        let head = head(method, EXEC, protocol, lines);
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(
            answer.contains(&format!("upgrade: {}\r\n", protocol.to_lowercase())),
            "{answer}"
        );
        assert!(
            answer.contains("x-stream-protocol-version: v4.channel.k8s.io"),
            "{answer}"
        );
        for gone in ["x-evil", "alt-svc", "keep-alive", "set-cookie"] {
            assert!(!answer.contains(gone), "{answer}");
        }
        stream.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");
        // Half-close: our side is done, the other still speaks.
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, b"farewell");
    }
    let seen = world.demo.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.version, http::Version::HTTP_11);
        assert_eq!(
            request.target,
            "/api/v1/namespaces/a/pods/b/exec?command=sh"
        );
        assert_eq!(
            request.all("x-stream-protocol-version"),
            ["v4.channel.k8s.io", "channel.k8s.io"]
        );
        assert_eq!(request.all("sec-websocket-protocol"), ["v5.channel.k8s.io"]);
        assert_eq!(request.all("x-remote-user"), ["jane"]);
        assert!(!request.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn bytes_that_come_with_the_handshake_are_not_lost() {
    let world = World::new().await;
    echo(&world);
    for round in 0..50 {
        let mut stream = world.raw().await;
        let first = format!("first-{round}");
        let all = head("POST", EXEC, "SPDY/3.1", "") + &first;
        stream.write_all(all.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
        let mut back = vec![0; first.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, first.as_bytes());
    }
}

#[tokio::test]
async fn an_exec_goes_beside_requests_that_are_under_way() {
    let world = World::new().await;
    let mut watching = world.jane().await;
    assert_eq!(
        watching
            .get("/clusters/team-a/demo/api?watch=1")
            .await
            .status(),
        200
    );
    echo(&world);
    let mut stream = world.raw().await;
    stream
        .write_all(head("GET", EXEC, "websocket", "").as_bytes())
        .await
        .unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let seen = world.demo.seen();
    assert_ne!(seen[0].connection, seen[1].connection);
}

type Answers = Box<dyn Fn() -> Response<Body> + Send + Sync>;

/// Incident 6: an answer other than the right `101` leaves no pipe behind.
#[tokio::test]
async fn an_answer_that_does_not_switch_closes_both_connections() {
    let world = World::new().await;
    let other_protocol = |protocol: &'static str| {
        move || {
            let mut response = plain(101, "");
            response
                .headers_mut()
                .insert("connection", "Upgrade".parse().unwrap());
            response
                .headers_mut()
                .insert("upgrade", protocol.parse().unwrap());
            response
        }
    };
    let answers: Vec<(Answers, &str)> = vec![
        (Box::new(|| plain(200, "fine")), "HTTP/1.1 200 "),
        (Box::new(|| plain(302, "elsewhere")), "HTTP/1.1 302 "),
        (
            Box::new(|| plain(400, "unable to upgrade")),
            "HTTP/1.1 400 ",
        ),
        (Box::new(|| plain(403, "forbidden")), "HTTP/1.1 403 "),
        (Box::new(|| plain(500, "broken")), "HTTP/1.1 500 "),
        (Box::new(other_protocol("websocket")), "HTTP/1.1 502 "),
        (Box::new(other_protocol("h2c")), "HTTP/1.1 502 "),
    ];
    for (round, (script, expected)) in answers.into_iter().enumerate() {
        let script = Arc::new(script);
        world.demo.answers(move |_| {
            let script = Arc::clone(&script);
            async move { script() }
        });
        let mut stream = world.raw().await;
        let second = "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n";
        let all = head("POST", EXEC, "SPDY/3.1", "") + second;
        stream.write_all(all.as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.starts_with(expected), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        let targets: Vec<_> = world
            .demo
            .seen()
            .into_iter()
            .map(|seen| seen.target)
            .collect();
        assert_eq!(targets.len(), round + 1, "{targets:?}");
        assert!(!targets.contains(&"/api/v1/secrets".to_owned()));
    }
}

#[tokio::test]
async fn other_protocols_and_bodies_are_refused_before_anything_is_asked() {
    let world = World::new().await;
    for (protocol, more) in [
        ("h2c", ""),
        ("tls/1.0", ""),
        ("foo", ""),
        ("websocket, h2c", ""),
        ("SPDY/3.1", "Content-Length: 5\r\n"),
        ("SPDY/3.1", "Transfer-Encoding: chunked\r\n"),
    ] {
        let mut stream = world.raw().await;
        let all = head("POST", EXEC, protocol, more) + "0\r\n\r\n";
        stream.write_all(all.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{protocol}: {answer}");
    }
    world.nothing_arrived();
}

#[tokio::test]
async fn an_upgrade_takes_the_same_right_as_anything_else() {
    let world = World::new().await;
    let joe = world.certificate("joe", &[]);
    for (method, protocol) in [("GET", "websocket"), ("POST", "SPDY/3.1")] {
        for what in ["exec", "attach", "portforward", "proxy/x"] {
            let target = format!("/clusters/team-a/demo/api/v1/namespaces/a/pods/b/{what}");
            let mut request = get(&target, &[("connection", "Upgrade"), ("upgrade", protocol)]);
            *request.method_mut() = method.parse().unwrap();
            let mut client = world.h1(Some(&joe)).await;
            assert_eq!(client.send(request).await.status(), 403, "{method} {what}");
        }
    }
    world.nothing_arrived();
}

#[tokio::test]
async fn an_upgraded_stream_ends_with_the_credential() {
    use secrecy::ExposeSecret;
    let world = World::new().await;
    echo(&world);
    let jane = vcluster_chassis::identity::Identity::user("jane");
    let issued = world
        .credentials
        .issue(&jane, &demo(), Duration::from_mins(1))
        .unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", issued.token.expose_secret());
    let alpn = vcluster_chassis::tls::ALPN_HTTP1;
    let mut stream = world.tls(None, alpn, "gateway.test").await;
    // A moment before its end, so that the gateway looks again at once.
    world.clock.advance(Duration::from_millis(59_500));
    stream
        .write_all(head("GET", EXEC, "websocket", &bearer).as_bytes())
        .await
        .unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    world.clock.advance(Duration::from_secs(1));
    rest(&mut stream).await;
}
