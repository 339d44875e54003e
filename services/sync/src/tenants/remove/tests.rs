//! What is deleted, in which order, and what becomes of it where a right is missing.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use vcluster_chassis::testing::json as answer;
use vcluster_translate::custom::{Custom, Identity};

use super::*;
use crate::testing::{Store, status};

fn id() -> Id {
    Id {
        uid: "cluster-uid".to_owned(),
        namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
    }
}

fn object(name: &str, cluster: &str) -> Value {
    json!({"metadata": {
        "namespace": "team-a", "name": name, "uid": name,
        "annotations": {label::CLUSTER_UID: cluster, label::VIRTUAL_KIND: "Pod"},
    }})
}

#[tokio::test]
async fn pods_go_first_then_the_rest_and_strangers_stay() {
    let host = Store::new("h");
    for (kind, name) in [
        (Kind::Pod, "pod"),
        (Kind::Secret, "secret"),
        (Kind::ConfigMap, "map"),
    ] {
        host.put(kind, object(name, "cluster-uid"));
        host.put(kind, object(&format!("{name}-of-another"), "another"));
    }
    let client = host.client();
    let deletes = || {
        let mut calls = host.take_calls();
        calls.retain(|call| call.starts_with("DELETE"));
        calls
    };
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Some(1)
    ));
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Some(1)
    ));
    assert_eq!(
        deletes(),
        ["DELETE /api/v1/namespaces/team-a/pods/pod"],
        "it ends gracefully"
    );
    host.lose(Kind::Pod, "team-a", "pod");
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Some(2)
    ));
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Nothing
    ));
    assert_eq!(
        deletes(),
        [
            "DELETE /api/v1/namespaces/team-a/secrets/secret",
            "DELETE /api/v1/namespaces/team-a/configmaps/map",
        ]
    );
}

#[tokio::test]
async fn strangers_that_fill_a_page_hide_nothing_and_hold_nothing_up() {
    let host = Store::new("h");
    let page = |name: &str, cluster: &str, next: &str| {
        let metadata = json!({"resourceVersion": "1", "continue": next});
        answer(
            200,
            json!({"metadata": metadata, "items": [object(name, cluster)]}),
        )
    };
    let on_last = |cluster: &'static str| {
        host.script(move |call| {
            match (call.method.as_str(), call.query.contains("continue=more")) {
                ("GET", false) => Some(page("stranger", "another", "more")),
                ("GET", true) => Some(page("last", cluster, "")),
                _ => Some(answer(200, json!({"kind": "Status", "status": "Success"}))),
            }
        });
    };
    on_last("another");
    let client = host.client();
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Nothing
    ));
    host.take_calls();
    on_last("cluster-uid");
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Some(1)
    ));
    let mut calls = host.take_calls();
    calls.retain(|call| call.starts_with("DELETE"));
    assert_eq!(calls, ["DELETE /api/v1/namespaces/team-a/pods/last"]);
}

#[tokio::test]
async fn what_lost_its_labels_is_found_and_the_control_plane_is_left_to_control() {
    let host = Store::new("h");
    let with = |mut object: Value, kind: &str, part: Option<&str>| {
        object["metadata"]["annotations"][label::VIRTUAL_KIND] = kind.into();
        if kind.is_empty() {
            object["metadata"]["annotations"] = json!({label::CLUSTER_UID: "cluster-uid"});
        }
        if let Some(part) = part {
            object["metadata"]["labels"] = json!({label::PART: part});
        }
        object
    };
    let control = Some(Part::ControlPlane.as_str());
    host.put(
        Kind::Secret,
        with(object("vcluster-pki", "cluster-uid"), "", control),
    );
    host.put(
        Kind::Secret,
        with(object("vcluster-sync", "cluster-uid"), "", None),
    );
    host.put(Kind::Pod, with(object("demo-0", "cluster-uid"), "", None));
    host.put(
        Kind::Secret,
        with(object("hidden", "cluster-uid"), "Secret", None),
    );
    host.put(
        Kind::ConfigMap,
        with(object(environment::CONFIG_MAP, "cluster-uid"), "", None),
    );
    let client = host.client();
    assert!(matches!(
        once(&client, &id(), &[]).await.unwrap(),
        Left::Some(2)
    ));
    let mut calls = host.take_calls();
    calls.retain(|call| call.starts_with("DELETE"));
    assert_eq!(
        calls,
        [
            "DELETE /api/v1/namespaces/team-a/secrets/hidden",
            "DELETE /api/v1/namespaces/team-a/configmaps/vcluster-env",
        ]
    );
}

#[tokio::test]
async fn custom_objects_go_with_the_rest_and_strangers_stay() {
    let host = Store::new("h");
    let gadgets = Kind::Custom(Custom::leak(Identity {
        group: "test.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Gadget".to_owned(),
        plural: "gadgets".to_owned(),
        is_namespaced: true,
        comes_from_host: false,
    }));
    let path = "/apis/test.io/v1/namespaces/team-a/gadgets";
    host.script(move |call| {
        let all = [object("ours", "cluster-uid"), object("another", "another")];
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": all});
        (call.method == "GET" && call.path == path).then(|| answer(200, list))
    });
    let left = once(&host.client(), &id(), &[gadgets]).await;
    assert!(matches!(left, Ok(Left::Some(1))));
    let mut calls = host.take_calls();
    calls.retain(|call| call.starts_with("DELETE"));
    assert_eq!(calls, [format!("DELETE {path}/ours")]);
}

#[tokio::test]
async fn one_object_that_may_not_be_deleted_keeps_none_of_the_others() {
    let host = Store::new("h");
    for name in ["a-refused", "b"] {
        host.put(Kind::ConfigMap, object(name, "cluster-uid"));
    }
    host.script(|call| {
        let refused = call.method == "DELETE" && call.path.ends_with("a-refused");
        refused.then(|| status(403, "Forbidden"))
    });
    let left = once(&host.client(), &id(), &[]).await;
    assert!(matches!(left, Ok(Left::NoRight(_))));
    assert!(host.get(Kind::ConfigMap, "team-a", "b").is_none());
    assert_eq!(without_right(&host.client(), &id()).await.unwrap(), 0);
}

/// What is left of a Secret, and how long it took, where the host refuses that many lists of pods.
async fn after_refusals(refusals: usize, code: u16) -> (bool, Duration) {
    let host = Store::new("h");
    host.put(Kind::Namespace, json!({"metadata": {"name": "team-a"}}));
    // The same host, as its two identities see it.
    let tenant = Store::new("h");
    tenant.put(Kind::Secret, object("secret", "cluster-uid"));
    let (asked, begun) = (AtomicUsize::new(0), Instant::now());
    tenant.script(move |call| {
        let pods = call.method == "GET" && call.path.ends_with("/pods");
        let refuses = pods && asked.fetch_add(1, Ordering::Relaxed) < refusals;
        refuses.then(|| status(code, "No"))
    });
    let (own, client) = (host.client(), tenant.client());
    until_nothing_is_left(&client, &own, &id(), &[]).await;
    let is_left = tenant.get(Kind::Secret, "team-a", "secret").is_some();
    (is_left, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_passes_leaves_nothing_behind_and_one_that_stays_ends_the_wait() {
    for code in [401, 403] {
        let (is_left, _) = after_refusals(3, code).await;
        assert!(!is_left, "{code}: refused for three seconds");
    }
    let (is_left, waited) = after_refusals(usize::MAX, 403).await;
    assert!(is_left && waited > PATIENCE, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_right_begins_with_its_loss_and_ends_at_once_with_the_namespace() {
    let now = Some(Instant::now());
    assert!(is_hopeless(0, now, Namespace::Ending));
    for (pods, namespace, later) in [
        (0, Namespace::Live, true),
        (0, Namespace::Unknown, true),
        (2, Namespace::Live, true),
        (2, Namespace::Unknown, false),
        (2, Namespace::Ending, false),
    ] {
        let since = Some(Instant::now());
        assert!(!is_hopeless(pods, since, namespace), "{pods} {namespace:?}");
        tokio::time::advance(PATIENCE + PAUSE).await;
        assert_eq!(
            is_hopeless(pods, since, namespace),
            later,
            "{pods} {namespace:?}"
        );
    }
}

#[tokio::test]
async fn a_right_that_was_taken_away_is_told_from_a_server_that_is_not_there() {
    let host = Store::new("h");
    host.script(|_call| Some(status(403, "Forbidden")));
    assert!(matches!(
        once(&host.client(), &id(), &[]).await,
        Ok(Left::NoRight(_))
    ));
    host.script(|_call| Some(status(503, "ServiceUnavailable")));
    assert!(once(&host.client(), &id(), &[]).await.is_err());
}
