//! The header rules as tables.

use super::*;

fn identity() -> Identity {
    Identity {
        user: "jane@acme.example".to_owned(),
        uid: Some("42".to_owned()),
        groups: vec!["developers".to_owned(), "system:authenticated".to_owned()],
        extra: BTreeMap::from([
            (
                "acme.com/project".to_owned(),
                vec!["some-project".to_owned(), "b".to_owned()],
            ),
            ("scopes".to_owned(), vec!["openid".to_owned()]),
        ]),
    }
}

/// Name and value of a header.
type Line<'a> = (&'a str, &'a [u8]);

fn map(lines: &[Line<'_>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    headers
}

#[test]
fn an_identity_survives_the_round_trip() {
    assert_eq!(decode(&encode(&identity()).unwrap()), Ok(Some(identity())));
}

#[test]
fn keys_are_written_as_client_go_writes_them() {
    // The cases of client-go's transport/round_trippers_test.go.
    let cases = [
        ("alpha", "alpha"),
        ("ALPHA", "alpha"),
        ("example.com/foo", "example.com%2Ffoo"),
        ("alpha%2fbeta", "alpha%252fbeta"),
        ("ä", "%C3%A4"),
        ("Ä", "%C3%84"),
        ("a b", "a%20b"),
        ("!#$&'*+-.^_`|~", "!#$&'*+-.^_`|~"),
    ];
    for (key, expected) in cases {
        assert_eq!(encode_key(key), expected, "{key}");
    }
}

#[test]
fn header_names_are_not_case_sensitive_and_keys_come_out_lower_case() {
    let headers = map(&[
        ("X-Remote-User", b"jane"),
        ("X-Remote-Extra-Example.com%2FFoo", b"v"),
    ]);
    let decoded = decode(&headers).unwrap().unwrap();
    assert_eq!(
        decoded.extra,
        BTreeMap::from([("example.com/foo".into(), vec!["v".into()])])
    );
}

#[test]
fn two_spellings_of_a_key_are_one_and_empty_groups_are_none() {
    let headers = map(&[
        ("x-remote-user", b"jane"),
        ("x-remote-group", b""),
        ("x-remote-extra-a", b"1"),
        ("x-remote-extra-%61", b"2"),
    ]);
    let decoded = decode(&headers).unwrap().unwrap();
    assert!(decoded.groups.is_empty());
    let mut values = decoded.extra["a"].clone();
    values.sort();
    assert_eq!(values, ["1", "2"]);
}

#[test]
fn no_identity_header_means_no_identity() {
    assert_eq!(decode(&map(&[("authorization", b"Bearer x")])), Ok(None));
}

#[test]
fn headers_that_are_no_identity_are_refused() {
    let cases: [(&[Line<'_>], DecodeError); 7] = [
        (
            &[("x-remote-group", b"system:masters")],
            DecodeError::NoUser,
        ),
        (&[("x-remote-user", b"")], DecodeError::NoUser),
        (
            &[("x-remote-user", b"a"), ("x-remote-user", b"b")],
            DecodeError::Twice { header: USER },
        ),
        (
            &[("x-remote-user", b"\xff")],
            DecodeError::NotText { header: USER },
        ),
        (
            &[
                ("x-remote-user", b"a"),
                ("x-remote-uid", b"1"),
                ("x-remote-uid", b"2"),
            ],
            DecodeError::Twice { header: UID },
        ),
        (
            &[("x-remote-user", b"a"), ("x-remote-extra-", b"v")],
            DecodeError::Key {
                header: HeaderName::from_static("x-remote-extra-"),
            },
        ),
        (
            &[("x-remote-user", b"a"), ("x-remote-extra-a%2", b"v")],
            DecodeError::Key {
                header: HeaderName::from_static("x-remote-extra-a%2"),
            },
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(decode(&map(lines)), Err(expected), "{lines:?}");
    }
}

#[test]
fn identities_that_cannot_be_headers_are_refused() {
    assert!(matches!(
        encode(&Identity::user("")),
        Err(EncodeError::NoUser)
    ));
    let smuggled = encode(&Identity::user("jane\r\nx-remote-group: system:masters"));
    assert!(matches!(smuggled, Err(EncodeError::Value { .. })));
    for trimmed in [" jane", "jane\t"] {
        assert!(matches!(
            encode(&Identity::user(trimmed)),
            Err(EncodeError::Space { .. })
        ));
    }
    let mut twice = Identity::user("jane");
    twice.extra.insert("Key".into(), vec!["a".into()]);
    twice.extra.insert("key".into(), vec!["b".into()]);
    assert!(matches!(encode(&twice), Err(EncodeError::Twice { .. })));
}

#[test]
fn strip_takes_every_identity_header_and_nothing_else() {
    let mut headers = encode(&identity()).unwrap();
    headers.insert("x-remote-something-new", HeaderValue::from_static("v"));
    headers.insert("x-request-id", HeaderValue::from_static("v"));
    strip(&mut headers);
    assert_eq!(headers.len(), 1);
    assert!(headers.contains_key("x-request-id"));
}
