//! Names are checked with a reason, and host names never meet.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn cluster(name: &str) -> ClusterName {
    name.parse().unwrap()
}

#[test]
fn cluster_names_are_checked_with_a_reason() {
    let label = Error::NotALabel { first: LETTER };
    let long = "a".repeat(41);
    let cases = [
        ("demo", None),
        ("a", None),
        ("x-x", Some(Error::Separator)),
        (&long[..40], None),
        ("", Some(Error::Empty)),
        (long.as_str(), Some(Error::TooLong { limit: 40, len: 41 })),
        ("1a", Some(label.clone())),
        ("Demo", Some(label.clone())),
        ("a_b", Some(label.clone())),
        ("a.b", Some(label.clone())),
        ("-a", Some(label.clone())),
        ("a-", Some(label.clone())),
        ("ä", Some(label)),
        ("a-x-b", Some(Error::Separator)),
        ("x", Some(Error::Separator)),
        ("x-a", Some(Error::Separator)),
        ("a-x", Some(Error::Separator)),
        ("ax-xb", None),
    ];
    for (text, wrong) in cases {
        assert_eq!(text.parse::<ClusterName>().err(), wrong, "{text:?}");
    }
}

#[test]
fn host_namespaces_may_begin_with_a_digit_and_hold_the_separator() {
    for text in ["1a", "team-x-a", "default"] {
        assert!(text.parse::<HostNamespace>().is_ok(), "{text}");
    }
    for text in ["", "a.b", "A", "-a", &"a".repeat(64)] {
        assert!(text.parse::<HostNamespace>().is_err(), "{text}");
    }
}

#[test]
fn plain_names_join_the_three_parts() {
    assert_eq!(
        host_name("web", "shop", &cluster("demo"), SUBDOMAIN_LIMIT),
        "web-x-shop-x-demo"
    );
}

#[test]
fn names_that_would_meet_are_hashed_apart() {
    let one = host_name("a-x", "b", &cluster("vc"), SUBDOMAIN_LIMIT);
    let two = host_name("a", "x-b", &cluster("vc"), SUBDOMAIN_LIMIT);
    assert_ne!(one, two);
    assert!(
        one.starts_with("a-x-b-vc-") || one.starts_with("a-b-vc-"),
        "{one}"
    );
}

#[test]
fn long_names_keep_a_readable_prefix() {
    let name = host_name(&"n".repeat(253), "shop", &cluster("demo"), SUBDOMAIN_LIMIT);
    assert_eq!(name.len(), SUBDOMAIN_LIMIT);
    assert!(name.starts_with("nnnn"));
}

/// `char::is_numeric` and the like take these for digits; no name may.
#[test]
fn digits_of_other_scripts_are_no_digits() {
    for digit in [
        "\u{661}",
        "\u{6f1}",
        "\u{967}",
        "\u{ff11}",
        "\u{1d7d9}",
        "\u{b2}",
    ] {
        for text in [digit.to_owned(), format!("a{digit}"), format!("{digit}a")] {
            assert!(text.parse::<ClusterName>().is_err(), "{text}");
            assert!(text.parse::<HostNamespace>().is_err(), "{text}");
        }
    }
}

fn subdomain() -> impl Strategy<Value = String> {
    // Made of few pieces so that separators and collisions are likely.
    prop::collection::vec(
        prop::sample::select(vec!["a", "x", "-x-", "-", "x-", ".", "b1"]),
        1..8,
    )
    .prop_map(|parts| parts.concat())
    .prop_filter("a DNS subdomain", |text| {
        text.split('.').all(|label| {
            label.starts_with(|c: char| c.is_ascii_alphanumeric())
                && label.ends_with(|c: char| c.is_ascii_alphanumeric())
        })
    })
}

fn label() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a",
        "x",
        "-x-",
        "-",
        "x-",
        "1",
        "s-1",
        "aaaaaaaaaaaaaaaaaaaa",
    ];
    prop::collection::vec(prop::sample::select(pieces), 1..8)
        .prop_map(|parts| parts.concat())
        .prop_filter("a DNS label", |text| {
            check_label(text, LABEL_LIMIT, LETTER_OR_DIGIT).is_ok()
        })
}

#[test]
fn a_service_whose_name_begins_with_a_digit_has_a_host_name_that_does_not() {
    let name = |name: &str| service_host_name(name, "shop", &cluster("demo"));
    assert_eq!(name("web"), "web-x-shop-x-demo");
    assert!(
        name("1web").starts_with("s-1web-shop-demo-"),
        "{}",
        name("1web")
    );
    assert_ne!(name("1web"), name("s-1web"));
}

#[test]
fn what_lives_in_no_namespace_bears_whose_it_is_at_its_end() {
    let name = |name: &str, namespace: &str, vcluster: &str| {
        let namespace = namespace.parse().unwrap();
        cluster_scoped_host_name(name, &namespace, &cluster(vcluster), SUBDOMAIN_LIMIT)
    };
    assert_eq!(
        name("gold", "team-a", "demo"),
        "gold.demo.team-a.vcluster.dev"
    );
    // Neither a dot nor the separator in a name reaches into another's.
    let theirs = name("gold", "team-b", "prod");
    for own in [
        "gold.prod",
        "gold.prod.team-b",
        &theirs,
        "gold-x-team-b-x-prod",
    ] {
        let host = name(own, "team-a", "demo");
        assert!(host.ends_with(".demo.team-a.vcluster.dev"), "{host}");
        assert_ne!(host, theirs);
    }
    let (long, longer) = ("a".repeat(253), format!("{}b", "a".repeat(252)));
    let (long, longer) = (
        name(&long, "team-a", "demo"),
        name(&longer, "team-a", "demo"),
    );
    assert_ne!(long, longer);
    for host in [long, longer] {
        assert!(host.len() <= SUBDOMAIN_LIMIT);
        assert!(host.ends_with(".demo.team-a.vcluster.dev"), "{host}");
    }
}

proptest! {
    /// No API server stores such names; if one did, nothing would panic or meet.
    #[test]
    fn names_of_any_text_have_host_names_of_their_own(
        name in "[a-x0-9\u{661}\u{ff11}ä.-]{1,300}", namespace in "[a-x\u{967}-]{1,80}",
        limit in prop::sample::select(vec![40, LABEL_LIMIT, SUBDOMAIN_LIMIT]),
    ) {
        let cluster = cluster("vc");
        let host = host_name(&name, &namespace, &cluster, limit);
        prop_assert!(host.len() <= limit, "{host}");
        prop_assert_ne!(&host, &host_name(&format!("{name}\u{661}"), &namespace, &cluster, limit));
        prop_assert!(service_host_name(&name, &namespace, &cluster).len() <= LABEL_LIMIT);
    }

    /// Names as long as the API lets them be, that differ in their last letter only.
    #[test]
    fn the_longest_names_do_not_meet(stem in "[a-z0-9]([a-z0-9-]|-x-){250}", namespace in "[a-z]{63}") {
        let cluster = cluster("vc");
        let name = |last: &str| {
            let mut name: String = stem.chars().take(252).collect();
            name.push_str(last);
            host_name(&name, &namespace, &cluster, SUBDOMAIN_LIMIT)
        };
        prop_assert_ne!(name("a"), name("b"));
        prop_assert!(name("a").len() <= SUBDOMAIN_LIMIT);
    }

    #[test]
    fn no_two_objects_meet(
        objects in prop::collection::hash_set((subdomain(), subdomain()), 1..60),
        limit in prop::sample::select(vec![40, LABEL_LIMIT, SUBDOMAIN_LIMIT]),
    ) {
        let cluster = cluster("vc");
        let mut seen = HashMap::new();
        for (name, namespace) in objects {
            let host = host_name(&name, &namespace, &cluster, limit);
            prop_assert!(host.len() <= limit);
            let edge = |c: char| c.is_ascii_alphanumeric();
            prop_assert!(host.starts_with(edge) && host.ends_with(edge), "{host}");
            if let Some(other) = seen.insert(host.clone(), (name.clone(), namespace.clone())) {
                prop_assert!(false, "{host}: {other:?} and {:?}", (name, namespace));
            }
        }
    }

    #[test]
    fn host_services_are_labels_that_begin_with_a_letter_and_never_meet(
        objects in prop::collection::hash_set((label(), label()), 1..60),
    ) {
        let cluster = cluster("vc");
        let mut seen = HashMap::new();
        for (name, namespace) in objects {
            let host = service_host_name(&name, &namespace, &cluster);
            prop_assert!(check_label(&host, LABEL_LIMIT, LETTER).is_ok(), "{host}");
            if let Some(other) = seen.insert(host.clone(), (name.clone(), namespace.clone())) {
                prop_assert!(false, "{host}: {other:?} and {:?}", (name, namespace));
            }
        }
    }

    #[test]
    fn hashed_names_hold_no_separator_and_plain_ones_two(
        name in subdomain(), namespace in subdomain(),
    ) {
        let host = host_name(&name, &namespace, &cluster("vc"), SUBDOMAIN_LIMIT);
        prop_assert!(matches!(separators(&host), 0 | 2), "{host}");
    }
}
