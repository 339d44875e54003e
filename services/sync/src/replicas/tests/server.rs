//! Replicas beside an API server that keeps their Leases.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::runtime::watcher::Event;
use serde_json::Value;
use vcluster_chassis::testing::{ApiServer, Call, json as answer};

use super::*;
use crate::testing::status;

/// An API server that keeps Leases, as far as this module can tell.
fn server() -> ApiServer {
    let kept: Mutex<(u64, BTreeMap<String, Value>)> = Mutex::default();
    ApiServer::new(move |call| {
        let mut kept = kept.lock().unwrap();
        let (version, leases) = &mut *kept;
        let name = call.path.rsplit('/').next().unwrap().to_owned();
        let found = leases.get(&name).cloned();
        let store = |version: &mut u64, leases: &mut BTreeMap<String, Value>, mut lease: Value| {
            *version += 1;
            lease["metadata"]["resourceVersion"] = version.to_string().into();
            lease["metadata"]["uid"] = "uid".into();
            let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
            leases.insert(name, lease.clone());
            answer(200, lease)
        };
        match (call.method.as_str(), found) {
            ("GET", Some(lease)) => answer(200, lease),
            ("POST", _) if leases.contains_key(call.body["metadata"]["name"].as_str().unwrap()) => {
                status(409, "AlreadyExists")
            }
            ("POST", _) => store(version, leases, call.body.clone()),
            ("PUT", Some(lease)) => {
                let is_newest = lease["metadata"]["resourceVersion"]
                    == call.body["metadata"]["resourceVersion"];
                match is_newest {
                    // As API servers do: what changes nothing makes no version.
                    true if lease == call.body => answer(200, lease),
                    true => store(version, leases, call.body.clone()),
                    false => status(409, "Conflict"),
                }
            }
            ("DELETE", Some(lease)) => {
                leases.remove(&name);
                answer(200, lease)
            }
            (_, _) => status(404, "NotFound"),
        }
    })
}

fn own_lease(process: &str, renewal: i64) -> Lease {
    let (pod, _) = parts(process);
    let renewed = jiff::Timestamp::from_second(renewal).unwrap();
    Lease {
        metadata: ObjectMeta {
            name: Some(lease(pod)),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(process.to_owned()),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        }),
    }
}

/// A replica that knows itself and those whose Leases it hears of.
fn replica(server: &ApiServer, me: &str, others: &[&str]) -> Replicas {
    let host = Server {
        watch: server.client(),
        request: server.client(),
    };
    let replicas = Replicas::new(&host, "system", me, Duration::from_secs(DURATION));
    let shared = replicas.shared.as_ref().unwrap();
    shared.take(Event::Init);
    for process in others.iter().chain([&me]) {
        shared.take(Event::InitApply(own_lease(process, 1)));
    }
    shared.take(Event::InitDone);
    replicas
}

#[tokio::test(start_paused = true)]
async fn a_tenant_goes_to_another_when_it_is_freed_and_not_before() {
    let server = server();
    let first = replica(&server, "a_0", &[]);
    first.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let taking = second.take(UID, |_| {});
    tokio::pin!(taking);
    let early = tokio::time::timeout(Duration::from_secs(5), &mut taking).await;
    assert!(early.is_err(), "its holder may still act");
    first.release(UID).await;
    taking.await;
    assert_eq!(
        second.shared.as_ref().unwrap().table().known.holder(UID),
        Some("b_0")
    );
    // Too late, and of no effect.
    first.release(UID).await;
    assert!(!second.shared.as_ref().unwrap().is_taken(UID));
    second.forget(UID).await;
    let deletes = server
        .calls()
        .iter()
        .filter(|call| call.method == "DELETE")
        .count();
    assert_eq!(deletes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_of_one_that_is_not_heard_of_any_more_is_taken_when_its_time_is_over() {
    let server = server();
    let dead = replica(&server, "a_0", &[]);
    dead.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let taking = second.take(UID, |_| {});
    tokio::pin!(taking);
    let early = Duration::from_secs(DURATION - 1);
    let early = tokio::time::timeout(early, &mut taking).await;
    assert!(early.is_err(), "its holder may still act");
    taking.await;
    assert_eq!(
        second.shared.as_ref().unwrap().table().known.holder(UID),
        Some("b_0")
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_started_again_in_the_same_pod_takes_what_the_one_before_it_had_at_once() {
    for (again, at_once) in [("a_uid-1_1", true), ("a_uid-2_1", false)] {
        let server = server();
        let killed = replica(&server, "a_uid-1_0", &[]);
        killed.take(UID, |_| {}).await;
        let again = replica(&server, again, &[]);
        let early = Duration::from_secs(DURATION - 1);
        let taken = tokio::time::timeout(early, again.take(UID, |_| {})).await;
        assert_eq!(taken.is_ok(), at_once, "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_started_again_gets_its_own_tenants_back() {
    let server = server();
    let uids: Vec<_> = (0..64).map(|number| format!("uid-{number}")).collect();
    let mine = |process: &str| {
        let replica = replica(&server, process, &["b_uid-2_0"]);
        let shared = replica.shared.as_ref().unwrap();
        let mine = uids.iter().filter(|uid| shared.elsewhere(uid).is_none());
        mine.cloned().collect::<Vec<_>>()
    };
    let before = mine("a_uid-1_0");
    assert!(!before.is_empty() && before.len() < uids.len());
    assert_eq!(mine("a_uid-1_1"), before);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_could_not_be_freed_when_it_was_let_go_is_freed_later() {
    let server = server();
    let first = replica(&server, "a_0", &[]);
    first.take(UID, |_| {}).await;
    let shared = first.shared.as_ref().unwrap();
    for number in 0..64 {
        shared.take(Event::Apply(own_lease(&format!("b{number}_0"), 1)));
    }
    assert!(shared.elsewhere(UID).is_some() && shared.is_mine(UID));
    let waits = first.take(UID, |_| {});
    let waited = tokio::time::timeout(Duration::from_secs(5), waits).await;
    assert!(waited.is_err(), "it is another's");
    assert!(!shared.is_mine(UID));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_to_serve_a_tenant_lets_it_go() {
    let server = server();
    let alone = replica(&server, "a_0", &[]);
    alone.take(UID, |_| {}).await;
    let shared = alone.shared.as_ref().unwrap();
    // Others come until it belongs to one of them.
    let lost = alone.lost(UID);
    tokio::pin!(lost);
    assert!(futures::poll!(&mut lost).is_pending());
    for number in 0..64 {
        shared.take(Event::Apply(own_lease(&format!("b{number}_0"), 1)));
    }
    lost.await;
    assert!(shared.elsewhere(UID).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_holder_may_act_is_not_asked_for_all_the_time() {
    let server = server();
    let holder = replica(&server, "a_0", &[]);
    holder.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let before = server.calls().len();
    let early = Duration::from_secs(DURATION - 1);
    let waited = tokio::time::timeout(early, second.take(UID, |_| {})).await;
    assert!(waited.is_err(), "its holder may still act");
    assert!(server.calls().len() - before <= 2, "{:?}", server.calls());
}

/// Names of the Leases that the server was told to delete.
fn deleted(server: &ApiServer) -> Vec<String> {
    let calls = server.calls();
    let deletes = calls.iter().filter(|call| call.method == "DELETE");
    let name = |call: &Call| call.path.rsplit('/').next().unwrap().to_owned();
    deletes.map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_to_free_a_tenant_frees_none_that_was_taken_again() {
    let server = server();
    let replicas = replica(&server, "a_0", &[]);
    let shared = replicas.shared.as_ref().unwrap();
    let name = format!("{TENANT}{UID}");
    assert!(shared.attempt(UID).await.unwrap());
    // A stay ends; the request that frees the tenant is held up, and a new stay begins.
    let mut freeing = shared.leases.get(&name).await.unwrap();
    freeing.spec.get_or_insert_default().holder_identity = Some(String::new());
    assert!(shared.attempt(UID).await.unwrap());
    let params = PostParams::default();
    let late = shared.leases.replace(&name, &params, &freeing).await;
    let refused = late.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_replica_that_was_renewed_unheard_is_not_removed() {
    let server = server();
    let replicas = replica(&server, "a_0", &["b_0"]);
    let shared = replicas.shared.as_ref().unwrap();
    let params = PostParams::default();
    shared
        .leases
        .create(&params, &own_lease("b_0", 2))
        .await
        .unwrap();
    tokio::time::advance(Duration::from_hours(2)).await;
    shared.take(Event::Apply(own_lease("a_0", 2)));
    shared.sweep(|_| false).await;
    assert_eq!(deleted(&server), Vec::<String>::new());
    tokio::time::advance(Duration::from_hours(2)).await;
    shared.take(Event::Apply(own_lease("a_0", 3)));
    shared.sweep(|_| false).await;
    assert_eq!(deleted(&server), [lease("b")]);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_tenant_that_is_gone_goes_once_nobody_may_act_for_it() {
    let server = server();
    let dead = replica(&server, "a_0", &[]);
    dead.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let shared = second.shared.as_ref().unwrap();
    let held = shared.leases.get(&format!("{TENANT}{UID}")).await.unwrap();
    shared.take(Event::Apply(held));
    shared.sweep(|_| true).await;
    assert_eq!(
        deleted(&server),
        Vec::<String>::new(),
        "its holder may still act"
    );
    tokio::time::advance(Duration::from_secs(DURATION)).await;
    shared.sweep(|_| false).await;
    assert_eq!(deleted(&server), Vec::<String>::new(), "it is there");
    shared.sweep(|_| true).await;
    assert_eq!(deleted(&server), [format!("{TENANT}{UID}")]);
}
