//! Every field of the pinned Kubernetes version's Pod has a decision, and the code does what the
//! decision says.
//!
//! `schema/pod.json` is what of that version's OpenAPI document is reachable from Pod; the example
//! `pod_schema` makes it anew. Its leaves are looked up in the tables below, which say field by field
//! what becomes of each; translation is then run with that field set. A field that a new version
//! brings is in no table and fails the test. Whole subtrees stand only where nothing of them passes.

mod fate;
mod metadata;
mod sample;
mod security;
mod spec;
mod status;
mod status_table;
mod volumes;

use fate::{Fate, Row};
use sample::{Leaf, leaves};

/// The row of each leaf, all rows being of use and no leaf in two.
fn assign<'a>(leaves: &'a [Leaf], rows: &[Row]) -> Vec<(&'a Leaf, Row)> {
    let mut unused: Vec<&str> = Vec::new();
    for row in rows {
        if !leaves.iter().any(|leaf| row.covers(&leaf.path)) {
            unused.push(&row.path);
        }
    }
    let mut unclassified = Vec::new();
    let mut twice = Vec::new();
    let mut found = Vec::new();
    for leaf in leaves {
        let mut of = rows.iter().filter(|row| row.covers(&leaf.path));
        match (of.next(), of.next()) {
            (None, _) => unclassified.push(&leaf.path),
            (Some(_), Some(_)) => twice.push(&leaf.path),
            (Some(row), None) => found.push((leaf, row.clone())),
        }
    }
    assert!(
        unclassified.is_empty(),
        "no decision about {unclassified:#?}"
    );
    assert!(twice.is_empty(), "two decisions about {twice:#?}");
    assert!(unused.is_empty(), "decisions about no field: {unused:#?}");
    found
}

fn all_rows() -> Vec<Row> {
    let tables = [
        metadata::rows(),
        spec::rows(),
        security::rows(),
        volumes::rows(),
        status_table::rows(),
    ];
    tables.into_iter().flatten().collect()
}

#[test]
fn every_field_of_the_api_has_one_decision_and_the_code_follows_it() {
    let leaves = leaves();
    let mut failures = Vec::new();
    for (leaf, row) in assign(&leaves, &all_rows()) {
        let followed = if leaf.path.starts_with("status.") {
            status::check(leaf, &row.fate)
        } else {
            spec::check(leaf, &row.fate)
        };
        if let Err(what) = followed {
            failures.push(format!("{} ({}): {what}", leaf.path, row.why));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_recorded_schema_is_that_of_the_pinned_version() {
    let module = include_str!("../../../../../xtask/upstream/kubernetes/go.mod");
    let pin = module
        .lines()
        .find_map(|line| line.strip_prefix("require k8s.io/kubernetes "))
        .expect("the pin");
    assert_eq!(
        sample::schema()["kubernetes"],
        pin,
        "make schema/pod.json anew (examples/pod_schema.rs)"
    );
}

#[test]
fn no_fate_but_refusal_and_dropping_is_of_a_whole_subtree() {
    for row in all_rows() {
        let whole = matches!(row.fate, Fate::Refused(_) | Fate::Dropped);
        assert!(whole || !row.path.ends_with("**"), "{}", row.path);
        assert!(!row.why.is_empty(), "{} has no reason", row.path);
    }
}
