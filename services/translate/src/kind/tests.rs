//! The table of kinds agrees with itself.

use std::collections::BTreeSet;

use super::*;

#[test]
fn no_two_kinds_share_a_name_or_a_collection() {
    let names: BTreeSet<_> = Kind::all().map(Kind::as_str).collect();
    let places: BTreeSet<_> = Kind::all()
        .map(|kind| (kind.description().api.group, kind.plural()))
        .collect();
    assert_eq!(names.len(), Kind::ALL.len());
    assert_eq!(places.len(), Kind::ALL.len());
    assert!(Kind::all().all(|kind| Kind::named(kind.as_str()) == Some(kind)));
}

#[test]
fn a_kind_is_followed_as_its_translation_needs() {
    for kind in Kind::all() {
        let description = kind.description();
        match description.translation {
            Translation::ToHost(_) => {
                let followed =
                    matches!(description.inside, Inside::Everything | Inside::Without(..));
                assert!(followed, "{kind}");
                assert_eq!(description.api.scope, Scope::Namespaced, "{kind}");
                assert!(kind.is_translated(), "{kind}");
            }
            Translation::FromHost(_) => {
                assert_eq!(description.inside, Inside::Managed, "{kind}");
                assert_eq!(description.api.scope, Scope::Cluster, "{kind}");
                assert!(kind.is_mirrored(), "{kind}");
            }
            Translation::Bespoke(_) => {}
            Translation::ReadOnly => assert!(!kind.is_translated(), "{kind}"),
        }
    }
}

#[test]
fn what_holds_credentials_is_never_watched_on_the_host() {
    for kind in [Kind::Secret, Kind::ConfigMap] {
        assert!(matches!(kind.description().outside, Outside::Scanned));
    }
    assert!(Kind::Secret.description().confidential);
}
