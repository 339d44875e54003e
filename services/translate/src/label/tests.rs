//! Keys of labels: unique, within their limits, and never ours.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[test]
fn keys_stay_readable() {
    let cases = [
        ("app", "label.vcluster.dev/app"),
        (
            "app.kubernetes.io/name",
            "app.kubernetes.io.label.vcluster.dev/name",
        ),
        (
            "vcluster.dev/cluster",
            "vcluster.dev.label.vcluster.dev/cluster",
        ),
        (
            "label.vcluster.dev/app",
            "label.vcluster.dev.label.vcluster.dev/app",
        ),
    ];
    for (key, host) in cases {
        assert_eq!(host_key(key), host);
    }
    assert_eq!(NAMESPACE.key("team"), "namespace-label.vcluster.dev/team");
}

#[test]
fn a_prefix_without_room_is_hashed_under_a_domain_of_its_own() {
    let long = format!("{}/name", "a".repeat(253));
    let key = host_key(&long);
    assert!(key.ends_with(".hashed-label.vcluster.dev/name"), "{key}");
    assert!(is_ours(&key));
}

#[test]
fn keys_of_others_are_not_ours() {
    for key in [
        "app",
        "label.vcluster.dev",
        "xlabel.vcluster.dev/app",
        "example.com/label.vcluster.dev",
        "my-vcluster.dev/app",
    ] {
        assert!(!is_ours(key), "{key}");
    }
}

#[test]
fn selectors_are_translated_key_by_key() {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "Exists"}],
    });
    assert_eq!(
        requirements(&selector, OBJECT),
        [
            json!({"key": "label.vcluster.dev/app", "operator": "In", "values": ["web"]}),
            json!({"key": "label.vcluster.dev/tier", "operator": "Exists"}),
        ]
    );
}

/// A label key, often built of our own domains.
fn key() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec![
        "a",
        "label",
        "hashed-label",
        "namespace-label",
        "vcluster",
        "dev",
        "kubernetes",
        "io",
        "ffffffffffffffffffffffffffffffffffffffff",
    ]);
    let prefix = prop::collection::vec(label, 0..9).prop_map(|labels| labels.join("."));
    (prefix, prop::sample::select(vec!["app", "name"])).prop_map(|(prefix, name)| {
        if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", &prefix[..prefix.len().min(253)])
        }
    })
}

proptest! {
    #[test]
    fn no_two_keys_meet_and_none_is_one_of_translation_s_own(
        keys in prop::collection::hash_set(key(), 1..40),
    ) {
        let mut seen = HashMap::new();
        for key in keys {
            for domain in [OBJECT, NAMESPACE, ANNOTATION] {
                let host = domain.key(&key);
                let (prefix, name) = host.split_once('/').unwrap();
                prop_assert!(prefix.len() <= 253 && name.len() <= 63, "{host}");
                prop_assert!(prefix != "vcluster.dev");
                prop_assert!(domain.holds(&host));
                let others = [OBJECT, NAMESPACE, ANNOTATION].into_iter().filter(|d| d.holds(&host));
                prop_assert_eq!(others.count(), 1);
                let other = seen.insert(host.clone(), (domain.plain, key.clone()));
                prop_assert!(other.is_none(), "{} for {:?} and {}", host, other, key);
            }
        }
    }
}
