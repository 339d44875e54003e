//! What is printed as a table, JSON and YAML.

use vcluster_client::proto::control::v1::{
    Condition, Phase, ReclaimPolicy, SqliteStore, Store, VirtualClusterSpec, VirtualClusterStatus,
    store::Kind,
};

use super::*;

const NOW: i64 = 1_800_000_000;

fn time(second: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: second,
        nanos: 0,
    }
}

fn demo() -> VirtualCluster {
    VirtualCluster {
        name: "demo".to_owned(),
        host_namespace: "team-a".to_owned(),
        uid: "6c1f".to_owned(),
        etag: "17".to_owned(),
        create_time: Some(time(NOW - 200)),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        spec: Some(VirtualClusterSpec {
            version: "1.37.2".to_owned(),
            store: Some(Store {
                kind: Some(Kind::Sqlite(SqliteStore {
                    size: "1Gi".to_owned(),
                    reclaim_policy: ReclaimPolicy::Retain.into(),
                    ..SqliteStore::default()
                })),
            }),
            ..VirtualClusterSpec::default()
        }),
        status: Some(VirtualClusterStatus {
            phase: Phase::Pending.into(),
            message: "waiting for the virtual API server".to_owned(),
            conditions: vec![Condition {
                r#type: "CertificatesReady".to_owned(),
                status: "True".to_owned(),
                reason: "Available".to_owned(),
                message: "every certificate exists".to_owned(),
                last_transition_time: Some(time(NOW - 190)),
            }],
            version: String::new(),
            endpoint: "https://10.96.0.17".to_owned(),
            ..Default::default()
        }),
        ..VirtualCluster::default()
    }
}

fn bare() -> VirtualCluster {
    VirtualCluster {
        name: "a-much-longer-name".to_owned(),
        host_namespace: "x".to_owned(),
        ..VirtualCluster::default()
    }
}

fn gateway() -> Address {
    "https://gw:8443".parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

#[test]
fn tables_are_what_was_reviewed() {
    for (name, format) in [
        ("table", Format::Table),
        ("wide", Format::Wide),
        ("name", Format::Name),
    ] {
        insta::assert_snapshot!(
            name,
            list(vec![bare(), demo()], format, &gateway(), now()).unwrap()
        );
    }
    insta::assert_snapshot!("describe", describe(demo(), &gateway(), now()));
}

#[test]
fn json_is_the_contract_that_was_reviewed() {
    insta::assert_snapshot!(
        "json",
        list(vec![bare(), demo()], Format::Json, &gateway(), now()).unwrap()
    );
}

#[test]
fn yaml_says_the_same_as_json() {
    let yaml = one(demo(), Format::Yaml, &gateway(), now()).unwrap();
    let json = one(demo(), Format::Json, &gateway(), now()).unwrap();
    let from_yaml: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
    let from_json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(from_yaml, from_json);
}

#[test]
fn an_empty_list_has_a_header_and_nothing_else() {
    let text = list(vec![], Format::Table, &gateway(), now()).unwrap();
    assert_eq!(text.lines().count(), 1);
}
