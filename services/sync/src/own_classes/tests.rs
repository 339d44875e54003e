//! What is removed with a virtual cluster.

use serde_json::{Value, json};
use vcluster_resources::label::{CLUSTER_UID, VIRTUAL_KIND};

use super::*;
use crate::object::Kind;
use crate::testing::Store;

fn class(name: &str, uid: &str, marks: &Value) -> Value {
    json!({"metadata": {"name": name, "uid": uid, "annotations": marks}})
}

#[tokio::test]
async fn only_what_was_made_for_a_cluster_goes_with_it_and_by_its_uid() {
    let host = Store::new("h");
    let of = |cluster: &str, kind: &str| json!({CLUSTER_UID: cluster, VIRTUAL_KIND: kind});
    for (name, uid, marks) in [
        (
            "gold.demo.team-a.vcluster.dev",
            "mine",
            of("cluster-uid", "PriorityClass"),
        ),
        (
            "gold.prod.team-b.vcluster.dev",
            "theirs",
            of("another", "PriorityClass"),
        ),
        (
            "bare.demo.team-a.vcluster.dev",
            "bare",
            json!({CLUSTER_UID: "cluster-uid"}),
        ),
        ("gold", "hosts", of("cluster-uid", "PriorityClass")),
    ] {
        host.put(Kind::PriorityClass, class(name, uid, &marks));
    }
    let id = Id {
        uid: "cluster-uid".to_owned(),
        namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
    };
    sweep(&host.client(), &id).await.unwrap();
    let mut calls = host.take_calls();
    calls.retain(|call| !call.starts_with("GET"));
    assert_eq!(
        calls,
        ["DELETE /apis/scheduling.k8s.io/v1/priorityclasses/gold.demo.team-a.vcluster.dev"]
    );
    let bodies = host.bodies();
    let uids = bodies
        .iter()
        .filter_map(|body| body.pointer("/preconditions/uid"));
    assert_eq!(uids.collect::<Vec<_>>(), ["mine"]);
}
