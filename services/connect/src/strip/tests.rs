//! What of a request passes to a virtual API server, and what never does.

use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    map
}

fn cleaned(lines: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let mut map = headers(lines);
    request(&mut map).unwrap();
    map.iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

fn gone(name: &str, value: &[u8]) {
    assert_eq!(cleaned(&[(name, value)]), [], "{name} must not pass");
}

fn passes(name: &str, value: &[u8]) {
    let expected = [(name.to_lowercase(), value.to_vec())];
    assert_eq!(cleaned(&[(name, value)]), expected, "{name} must pass");
}

#[test]
fn nothing_that_tells_who_the_caller_is_passes() {
    for name in [
        "X-Remote-User",
        "X-Remote-Uid",
        "X-Remote-Group",
        "X-Remote-Extra-Scopes",
        "X-Remote-Extra-Example.org%2Fa",
        "X-Remote-Something-Of-Tomorrow",
        "x-remote-user",
        "X-REMOTE-USER",
        "X_Remote_User",
        "X-Remote_User",
        "x_remote-group",
        "X_REMOTE_EXTRA_SCOPES",
    ] {
        gone(name, b"system:admin");
    }
}

#[test]
fn nothing_that_authenticates_to_the_gateway_passes() {
    for name in [
        "Authorization",
        "Proxy-Authorization",
        "Proxy_Authorization",
        "Cookie",
        "Cookie2",
        "Expect",
    ] {
        gone(name, b"Bearer canary");
    }
}

#[test]
fn nothing_that_tells_where_the_caller_is_passes() {
    for name in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Client-Cert",
        "X_Forwarded_For",
        "X-Real-Ip",
        "X_Real_IP",
        "True-Client-Ip",
        "CF-Connecting-IP",
        "X-Client-Ip",
        "X-Cluster-Client-Ip",
        "Via",
    ] {
        gone(name, b"127.0.0.1");
    }
}

#[test]
fn hop_by_hop_headers_end_here() {
    for name in HOP_BY_HOP {
        gone(name, b"upgrade");
    }
    gone("Keep-Alive", b"timeout=5");
}

#[test]
fn what_kubernetes_needs_passes() {
    for (name, value) in [
        (
            "Accept",
            &b"application/json;as=Table;v=v1;g=meta.k8s.io"[..],
        ),
        ("Content-Type", b"application/apply-patch+yaml"),
        ("User-Agent", b"kubectl/v1.37.2"),
        ("Accept-Encoding", b"gzip"),
        ("If-Match", b"\"1\""),
        ("Impersonate-User", b"jane"),
        ("Impersonate-Group", b"devs"),
        ("Impersonate-Uid", b"1"),
        ("Impersonate-Extra-Scopes", b"view"),
        (
            "Traceparent",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("X-Stream-Protocol-Version", b"v4.channel.k8s.io"),
        ("Sec-WebSocket-Key", b"x"),
        ("X-Whatever", b"\xff\xfe"),
    ] {
        passes(name, value);
    }
}

#[test]
fn an_alias_of_impersonation_does_not_pass() {
    gone("Impersonate_User", b"jane");
    gone("IMPERSONATE_GROUP", b"system:masters");
}

#[test]
fn every_connection_line_is_heeded() {
    let left = cleaned(&[
        ("Connection", b"X-First, close"),
        ("X-First", b"1"),
        ("X-Second", b"2"),
        ("X-Third", b"3"),
        ("Connection", b"keep-alive,,  x-SECOND\t,"),
    ]);
    assert_eq!(left, [("x-third".to_owned(), b"3".to_vec())]);
}

#[test]
fn a_connection_header_cannot_remove_what_is_set_afterwards() {
    for victim in [
        "X-Remote-User",
        "X-Remote-Group",
        "X-Remote-Uid",
        "X-Remote-Extra-A",
    ] {
        for lines in [
            vec![("Connection", victim.as_bytes().to_vec())],
            vec![
                ("Connection", b"close".to_vec()),
                ("Connection", victim.as_bytes().to_vec()),
            ],
            vec![(
                "connection",
                format!("close,\t{} ,", victim.to_uppercase()).into_bytes(),
            )],
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &lines {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            request(&mut map).unwrap();
            let ours = HeaderName::from_bytes(victim.as_bytes()).unwrap();
            map.insert(&ours, HeaderValue::from_static("jane"));
            assert!(
                !map.contains_key("connection"),
                "{victim}: nothing is left to name it"
            );
            assert_eq!(map[ours], "jane");
        }
    }
}

#[test]
fn bytes_in_a_connection_header_that_are_no_name_are_refused() {
    for value in [
        &b"close, \xff"[..],
        b"\xffX-Remote-User",
        b"X-Remote-User\xc2\xa0",
        b"x remote user",
        b"close; X-Remote-User",
    ] {
        let mut map = headers(&[("Connection", value), ("Accept", b"*/*")]);
        assert_eq!(request(&mut map), Err(Malformed::Connection), "{value:?}");
    }
}

#[test]
fn impersonation_cannot_be_taken_back_on_the_way() {
    for named in [
        "Impersonate-User",
        "impersonate-GROUP",
        "Impersonate-Extra-x",
        "impersonate_user",
    ] {
        let mut map = headers(&[
            ("Connection", b"close"),
            ("Connection", named.as_bytes()),
            ("Impersonate-User", b"jane"),
        ]);
        assert!(
            matches!(request(&mut map), Err(Malformed::Impersonation { .. })),
            "{named}"
        );
    }
}

#[test]
fn repeated_headers_keep_their_lines_and_order() {
    let left = cleaned(&[
        ("X-Stream-Protocol-Version", b"v4.channel.k8s.io"),
        ("X-Stream-Protocol-Version", b"v3.channel.k8s.io"),
        ("X-Stream-Protocol-Version", b"channel.k8s.io"),
    ]);
    let values: Vec<_> = left.into_iter().map(|(_, value)| value).collect();
    assert_eq!(
        values,
        [
            &b"v4.channel.k8s.io"[..],
            b"v3.channel.k8s.io",
            b"channel.k8s.io"
        ]
    );
}

#[test]
fn a_bearer_in_the_websocket_subprotocol_does_not_pass() {
    let secret = b"base64url.bearer.authorization.k8s.io.Y2FuYXJ5";
    gone("Sec-WebSocket-Protocol", secret);
    gone("Sec-WebSocket-Protocol", &secret.to_ascii_uppercase());
    gone(
        "Sec-WebSocket-Protocol",
        b"odd base64url.bearer.authorization.k8s.io.Y2FuYXJ5",
    );
    let left = cleaned(&[
        (
            "Sec-WebSocket-Protocol",
            b"v5.channel.k8s.io,v4.channel.k8s.io",
        ),
        (
            "Sec-WebSocket-Protocol",
            b"a, base64url.bearer.authorization.k8s.io.Y2FuYXJ5 ,b",
        ),
    ]);
    let values: Vec<_> = left.into_iter().map(|(_, value)| value).collect();
    assert_eq!(
        values,
        [&b"v5.channel.k8s.io,v4.channel.k8s.io"[..], b"a, b"]
    );
}

#[test]
fn an_answer_cannot_speak_for_the_whole_origin() {
    let mut map = headers(&[
        ("Content-Type", b"application/json"),
        ("Audit-Id", b"1"),
        ("Connection", b"x-evil, \xff"),
        ("X-Evil", b"1"),
        ("Alt-Svc", b"h2=\"evil:443\""),
        ("Set-Cookie", b"a=b"),
        ("Strict-Transport-Security", b"max-age=0"),
        ("Clear-Site-Data", b"*"),
        ("Transfer-Encoding", b"chunked"),
        ("Upgrade", b"h2c"),
    ]);
    response(&mut map);
    let left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["content-type", "audit-id"]);
}

/// A family name in any case, with any mix of `-` and `_`, and any tail.
fn alias(family: &'static str) -> impl Strategy<Value = String> {
    (
        proptest::collection::vec(any::<(bool, bool)>(), family.len()),
        "[a-z0-9%._-]{1,12}",
    )
        .prop_map(move |(choices, tail)| {
            let spelled: String = family
                .chars()
                .zip(choices)
                .map(|(c, (upper, underscore))| match c {
                    '-' if underscore => '_',
                    c if upper => c.to_ascii_uppercase(),
                    c => c,
                })
                .collect();
            spelled + &tail
        })
}

proptest! {
    #[test]
    fn no_spelling_of_an_identity_header_passes(name in alias("x-remote-"), value in "[ -~]{0,20}") {
        let mut map = headers(&[(name.as_str(), value.as_bytes()), ("Accept", b"*/*")]);
        request(&mut map).unwrap();
        let left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        prop_assert_eq!(left, ["accept"]);
    }

    #[test]
    fn cleaning_twice_changes_nothing_more(
        lines in proptest::collection::vec(("[a-zA-Z_-]{1,20}", "[ -~]{0,30}"), 0..12)
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in &lines {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                map.append(name, HeaderValue::from_str(value).unwrap());
            }
        }
        if request(&mut map).is_ok() {
            let once = map.clone();
            prop_assert_eq!(request(&mut map), Ok(()));
            prop_assert_eq!(once, map);
        }
    }

    #[test]
    fn what_connection_names_is_gone_or_the_request_is_refused(
        named in proptest::collection::vec("[a-zA-Z][a-zA-Z0-9-]{0,12}", 1..5),
        noise in "[ -~]{0,8}",
    ) {
        let mut map = HeaderMap::new();
        for name in &named {
            map.append("connection", HeaderValue::from_str(&format!("{noise},{name}")).unwrap());
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        }
        if request(&mut map).is_ok() {
            for name in &named {
                prop_assert!(!map.contains_key(name.as_str()), "{} is left", name);
            }
        }
    }
}
