//! Which requests are upgraded, and to what.

use http_body_util::Full;

use super::*;

type Body = Full<bytes::Bytes>;

fn request(lines: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::new(Body::default());
    *request.headers_mut() = headers(lines);
    request
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn spdy_and_websocket_are_the_only_protocols() {
    for (value, expected) in [
        ("SPDY/3.1", Protocol::Spdy),
        ("spdy/3.1", Protocol::Spdy),
        ("websocket", Protocol::WebSocket),
        ("WebSocket", Protocol::WebSocket),
    ] {
        let asking = request(&[("Connection", "keep-alive, Upgrade"), ("Upgrade", value)]);
        assert_eq!(asked(&asking), Ok(Some(expected)));
    }
    for value in [
        "h2c",
        "tls/1.0",
        "foo",
        "SPDY/3",
        "websocket, h2c",
        "",
        "SPDY/3.1 websocket",
    ] {
        let asking = request(&[("Connection", "Upgrade"), ("Upgrade", value)]);
        assert!(asked(&asking).is_err(), "{value}");
    }
    let twice = request(&[
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Upgrade", "foo"),
    ]);
    assert!(asked(&twice).is_err());
}

#[test]
fn what_connection_does_not_name_is_no_upgrade() {
    assert_eq!(asked(&request(&[("Upgrade", "websocket")])), Ok(None));
    assert_eq!(
        asked(&request(&[("Connection", "close"), ("Upgrade", "h2c")])),
        Ok(None)
    );
}

#[test]
fn a_request_with_a_body_or_another_method_is_not_upgraded() {
    let asking = || request(&[("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]);
    let with_body = asking().map(|_| Body::from("x"));
    assert!(asked(&with_body).is_err());
    let mut delete = asking();
    *delete.method_mut() = Method::DELETE;
    assert!(asked(&delete).is_err());
    let mut old = asking();
    *old.version_mut() = Version::HTTP_10;
    assert!(asked(&old).is_err());
}

#[test]
fn a_switch_to_another_protocol_is_none() {
    let answer = |code: u16, lines: &[(&str, &str)]| {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        *response.headers_mut() = headers(lines);
        response
    };
    let good = &[("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")];
    assert!(switches_to(&answer(101, good), Protocol::Spdy));
    assert!(!switches_to(&answer(200, good), Protocol::Spdy));
    for lines in [
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")][..],
        &[("Upgrade", "SPDY/3.1")],
        &[("Connection", "Upgrade")],
        &[
            ("Connection", "Upgrade"),
            ("Upgrade", "SPDY/3.1"),
            ("Upgrade", "h2c"),
        ],
    ] {
        assert!(
            !switches_to(&answer(101, lines), Protocol::Spdy),
            "{lines:?}"
        );
    }
}

#[test]
fn of_a_handshake_nothing_but_the_protocol_s_own_lines_goes_on() {
    let came = headers(&[
        ("Connection", "Upgrade, X-Secret"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Key", "k"),
        ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"),
        ("X-Stream-Protocol-Version", "v4"),
        ("X-Stream-Protocol-Version", "v5"),
        ("Authorization", "Bearer x"),
        ("Impersonate-User", "system:admin"),
        ("X-Remote-User", "system:admin"),
        ("Cookie", "a=b"),
        ("Origin", "https://evil.example"),
    ]);
    let expected = headers(&[
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "k"),
        ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"),
        ("X-Stream-Protocol-Version", "v4"),
        ("X-Stream-Protocol-Version", "v5"),
    ]);
    assert_eq!(handshake(&came, Protocol::WebSocket), expected);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_silent_only_when_nothing_has_passed_for_so_long() {
    let bytes = Bytes::default();
    let mut silent = std::pin::pin!(silent(&bytes, Duration::from_mins(1)));
    for _ in 0..3 {
        let talks = tokio::time::timeout(Duration::from_secs(50), &mut silent).await;
        assert!(talks.is_err(), "it talks");
        bytes.sent.fetch_add(1, Ordering::Relaxed);
    }
    silent.await;
}
