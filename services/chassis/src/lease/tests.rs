//! Elections over an API server double that keeps one lease, with paused time.

use std::sync::{Arc, Mutex};

use http::{Method, Response};
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, ApiServer, Call, ManualClock};

const SECOND: Duration = Duration::from_secs(1);

/// One stored lease with optimistic locking, and a switch that makes the server fail.
#[derive(Clone, Default)]
struct Store {
    lease: Arc<Mutex<Option<Value>>>,
    down: Arc<Mutex<bool>>,
    refused: Arc<Mutex<Option<String>>>,
    touched: Arc<Mutex<bool>>,
}

impl Store {
    fn server(&self) -> ApiServer {
        let store = self.clone();
        ApiServer::new(move |call| store.answer(call))
    }

    fn answer(&self, call: &Call) -> Response<String> {
        if *self.down.lock().unwrap() {
            return failure(503);
        }
        let mut lease = self.lease.lock().unwrap();
        let version = |lease: &Value| {
            lease["metadata"]["resourceVersion"]
                .as_str()
                .map(str::to_owned)
        };
        match (call.method.clone(), lease.clone()) {
            (Method::GET, None) => failure(404),
            (Method::GET, Some(stored)) => testing::json(200, stored),
            (Method::POST, Some(_)) => failure(409),
            (Method::POST | Method::PUT, _) if self.is_refused(call) => failure(503),
            (Method::PUT, Some(_)) if std::mem::take(&mut *self.touched.lock().unwrap()) => {
                failure(409)
            }
            (Method::PUT, Some(stored)) if version(&stored) != version(&call.body) => failure(409),
            (Method::POST | Method::PUT, stored) => {
                let next = stored
                    .as_ref()
                    .and_then(version)
                    .map_or(1, |v| v.parse::<u64>().unwrap() + 1);
                let mut body = call.body.clone();
                body["metadata"]["resourceVersion"] = json!(next.to_string());
                *lease = Some(body.clone());
                testing::json(200, body)
            }
            (method, _) => unreachable!("{method} is not used in an election"),
        }
    }

    fn spec(&self) -> Value {
        self.lease
            .lock()
            .unwrap()
            .as_ref()
            .map(|lease| lease["spec"].clone())
            .unwrap_or_default()
    }

    fn is_refused(&self, call: &Call) -> bool {
        let refused = self.refused.lock().unwrap();
        refused
            .as_deref()
            .is_some_and(|name| bears(&call.body["spec"], name))
    }

    fn refuse(&self, holder: &str) {
        *self.refused.lock().unwrap() = Some(holder.to_owned());
    }

    fn touch_between_read_and_write(&self) {
        *self.touched.lock().unwrap() = true;
    }

    fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }
}

/// Whether the holder is a process of that name.
fn bears(spec: &Value, name: &str) -> bool {
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    holder.split('_').next() == Some(name)
}

fn failure(code: u16) -> Response<String> {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "m", "reason": reason, "code": code,
    });
    testing::json(code, body)
}

/// Wall time that moves with tokio's, from the beginning of 2026.
#[derive(Debug)]
struct Ticking(Instant);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        ManualClock::default().now() + self.0.elapsed()
    }
}

fn candidate(holder: &str) -> Candidate {
    Candidate {
        namespace: "system".to_owned(),
        name: "control".to_owned(),
        holder: holder.to_owned(),
        pod_uid: None,
        timing: Timing::default(),
    }
}

fn campaign(store: &Store, holder: &str, shutdown: &Shutdown) -> Leadership {
    campaign_with(store, candidate(holder), shutdown)
}

fn campaign_with(store: &Store, candidate: Candidate, shutdown: &Shutdown) -> Leadership {
    let client = store.server().client();
    Leadership::campaign(client, candidate, Ticking(Instant::now()), shutdown)
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_makes_the_lease_and_leads() {
    let (store, shutdown) = (Store::default(), Shutdown::new());
    let mut leadership = campaign(&store, "a", &shutdown);
    assert!(!leadership.is_leader());
    leadership.elected().await;
    assert!(leadership.is_leader());
    assert!(bears(&store.spec(), "a"), "{}", store.spec());
    let expected = json!({
        "holderIdentity": store.spec()["holderIdentity"],
        "leaseDurationSeconds": 15, "leaseTransitions": 0,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z",
    });
    assert_eq!(store.spec(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_second_candidate_waits_for_as_long_as_the_lease_is_renewed() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let mut leader = campaign(&store, "a", &first);
    leader.elected().await;
    let mut follower = campaign(&store, "b", &second);
    assert!(
        tokio::time::timeout(SECOND * 120, follower.elected())
            .await
            .is_err()
    );
    assert!(leader.is_leader());
    assert_eq!(store.spec()["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_vanishes_is_replaced_when_its_lease_has_run_out() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let mut leader = campaign(&store, "a", &first);
    leader.elected().await;
    // Its connection alone is lost: the double refuses what comes from it.
    store.refuse("a");
    let mut follower = campaign(&store, "b", &second);
    let lost = Instant::now();
    follower.elected().await;
    assert!(!leader.is_leader());
    let took = lost.elapsed();
    assert!(SECOND * 15 <= took && took <= SECOND * 17, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_started_again_in_its_pod_leads_at_once() {
    let in_pod = |uid: Option<&str>| Candidate {
        pod_uid: uid.map(str::to_owned),
        ..candidate("a")
    };
    for (before, after, at_once) in [
        (Some("uid-1"), Some("uid-1"), true),
        // A pod of the same name elsewhere: the one before it may still run.
        (Some("uid-1"), Some("uid-2"), false),
        (Some("uid-1"), None, false),
        (None, Some("uid-1"), false),
        (None, None, false),
        (Some(""), Some(""), false),
    ] {
        let store = Store::default();
        let (first, second) = (Shutdown::new(), Shutdown::new());
        let mut killed = campaign_with(&store, in_pod(before), &first);
        killed.elected().await;
        let held = store.spec();
        let mut again = campaign_with(&store, in_pod(after), &second);
        let early = tokio::time::timeout(SECOND, again.elected()).await;
        assert_eq!(early.is_ok(), at_once, "{before:?} {after:?}");
        assert_eq!(store.spec() != held, at_once, "{}", store.spec());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_by_somebody_else_does_not_depose_the_leader() {
    let (store, shutdown) = (Store::default(), Shutdown::new());
    let mut leader = campaign(&store, "a", &shutdown);
    leader.elected().await;
    store.touch_between_read_and_write();
    assert!(
        tokio::time::timeout(SECOND * 60, leader.deposed())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_clean_shutdown_hands_over_within_a_retry_period() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let mut leader = campaign(&store, "a", &first);
    leader.elected().await;
    let mut follower = campaign(&store, "b", &second);
    tokio::time::sleep(SECOND * 3).await;
    assert!(!follower.is_leader());
    drop(leader);
    first.drained(SECOND * 5).await.unwrap();
    tokio::time::timeout(SECOND * 3, follower.elected())
        .await
        .unwrap();
    assert!(bears(&store.spec(), "b"));
    assert_eq!(store.spec()["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_not_given_away_while_somebody_still_acts_on_it() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let mut leader = campaign(&store, "a", &first);
    leader.elected().await;
    let mut follower = campaign(&store, "b", &second);
    first.begin("test");
    leader.deposed().await;
    // Told to stop, and busy stopping: as long as the handle is there, nobody else may act.
    let early = tokio::time::timeout(SECOND * 5, follower.elected()).await;
    assert!(early.is_err());
    drop(leader);
    tokio::time::timeout(SECOND * 3, follower.elected())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_never_stops_to_act_holds_up_neither_the_drain_nor_the_next_leader_for_ever() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let mut leader = campaign(&store, "a", &first);
    leader.elected().await;
    let mut follower = campaign(&store, "b", &second);
    first.drained(SECOND * 11).await.unwrap();
    assert!(bears(&store.spec(), "a"), "it is not released");
    tokio::time::timeout(SECOND * 17, follower.elected())
        .await
        .unwrap();
    drop(leader);
}

#[tokio::test(start_paused = true)]
async fn two_processes_of_one_name_do_not_both_lead() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let mut leader = campaign(&store, "a", &first);
    leader.elected().await;
    let mut twin = campaign(&store, "a", &second);
    let both = tokio::time::timeout(SECOND * 60, twin.elected()).await;
    assert!(both.is_err());
    assert!(leader.is_leader());
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_deposed_at_the_end_of_its_term_even_between_two_tries() {
    let (store, shutdown) = (Store::default(), Shutdown::new());
    let timing = Timing {
        retry_period: SECOND * 7,
        ..Timing::default()
    };
    let candidate = Candidate {
        timing,
        ..candidate("a")
    };
    let mut leadership = campaign_with(&store, candidate, &shutdown);
    leadership.elected().await;
    store.set_down(true);
    let lost = Instant::now();
    leadership.deposed().await;
    assert_eq!(lost.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_term_ends_before_the_lease_whatever_the_timing_says() {
    let store = Store::default();
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let timing = Timing {
        lease_duration: SECOND * 15,
        renew_deadline: SECOND * 60,
        retry_period: SECOND * 2,
    };
    let hasty = |holder| Candidate {
        timing,
        ..candidate(holder)
    };
    let mut leader = campaign_with(&store, hasty("a"), &first);
    leader.elected().await;
    store.refuse("a");
    let mut follower = campaign_with(&store, hasty("b"), &second);
    follower.elected().await;
    assert!(!leader.is_leader());
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_an_election_is_never_deposed() {
    let mut leadership = Leadership::unopposed();
    leadership.elected().await;
    assert!(leadership.is_leader());
    let deposed = tokio::time::timeout(SECOND * 60, leadership.deposed()).await;
    assert!(deposed.is_err());
}

#[test]
fn a_part_of_a_second_is_announced_as_a_whole_one() {
    let mut me = candidate("me");
    me.timing.lease_duration = Duration::from_millis(1500);
    match record::step(None, &mut None, &me, Instant::now()) {
        Step::Write(spec) => assert_eq!(spec.lease_duration_seconds, Some(2)),
        Step::Wait => panic!("a free lease is taken"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_steps_down_before_another_may_take_over() {
    let (store, shutdown) = (Store::default(), Shutdown::new());
    let mut leadership = campaign(&store, "a", &shutdown);
    leadership.elected().await;
    store.set_down(true);
    let lost = Instant::now();
    leadership.deposed().await;
    assert!(
        lost.elapsed() <= Timing::default().renew_deadline,
        "{:?}",
        lost.elapsed()
    );
    store.set_down(false);
    leadership.elected().await;
}

#[tokio::test(start_paused = true)]
async fn is_leader_asks_the_clock_even_if_the_task_sleeps() {
    let (term, term_seen) = watch::channel(Some(Instant::now() + SECOND));
    let (_state, state) = watch::channel(State::Leader);
    let leadership = Leadership {
        holder: Arc::from(""),
        term: term_seen,
        state,
        _unopposed: None,
    };
    assert!(leadership.is_leader());
    tokio::time::advance(SECOND).await;
    assert!(!leadership.is_leader());
    drop(term);
}

fn held(by: &str, renewed: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(by.to_owned()),
        lease_duration_seconds: Some(15),
        renew_time: Some(MicroTime(renewed.parse().unwrap())),
        ..LeaseSpec::default()
    }
}

const T1: &str = "2026-01-01T00:00:00Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn holder(step: &Step) -> Option<&str> {
    match step {
        Step::Write(spec) => spec.holder_identity.as_deref(),
        Step::Wait => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_lease_is_taken_after_its_duration_by_our_own_clock() {
    let (mut observed, me) = (None, candidate("me"));
    let spec = held("other", T1);
    let start = Instant::now();
    let mut at = |spec: &LeaseSpec, seconds: u32| {
        let step = record::step(Some(spec), &mut observed, &me, start + SECOND * seconds);
        holder(&step).map(str::to_owned)
    };
    assert_eq!(at(&spec, 0), None);
    assert_eq!(at(&spec, 14), None);
    // A renewal starts the wait anew, however old the time that stands in it.
    let renewed = held("other", T2);
    assert_eq!(at(&renewed, 14), None);
    assert_eq!(at(&renewed, 28), None);
    assert_eq!(at(&renewed, 29), Some("me".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_longer_of_two_durations_holds() {
    let (mut observed, me) = (None, candidate("me"));
    let spec = LeaseSpec {
        lease_duration_seconds: Some(60),
        ..held("other", T1)
    };
    let start = Instant::now();
    let mut at = |seconds: u32| {
        holder(&record::step(
            Some(&spec),
            &mut observed,
            &me,
            start + SECOND * seconds,
        ))
        .is_some()
    };
    assert!(!at(0));
    assert!(!at(59));
    assert!(at(60));
}

#[test]
fn only_our_own_lease_is_released() {
    let me = candidate("me");
    assert_eq!(record::released(Some(&held("other", T1)), &me), None);
    assert_eq!(record::released(None, &me), None);
    let released = record::released(Some(&held("me", T1)), &me).unwrap();
    assert_eq!(released.holder_identity.as_deref(), Some(""));
}

#[test]
fn a_released_lease_is_free_and_keeps_count() {
    let spec = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_transitions: Some(4),
        ..LeaseSpec::default()
    };
    match record::step(Some(&spec), &mut None, &candidate("me"), Instant::now()) {
        Step::Write(taken) => {
            assert_eq!(taken.holder_identity.as_deref(), Some("me"));
            assert_eq!(taken.lease_transitions, Some(5));
        }
        Step::Wait => panic!("a free lease is taken"),
    }
}
