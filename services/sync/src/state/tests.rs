//! What is known of objects, in whatever order it is told.

use serde_json::json;

use super::*;

fn pod() -> Key {
    Key::new(Kind::Pod, "shop", "web")
}

fn object(uid: &str, version: u64) -> Object {
    Object::new(json!({"metadata": {
        "name": "web-x-shop-x-demo", "uid": uid, "resourceVersion": version.to_string(),
    }}))
}

fn uid(state: &State) -> Option<String> {
    let seen = state.entry(&pod()).host.seen?;
    Some(seen.uid.into())
}

#[test]
fn older_versions_do_not_come_back() {
    let mut state = State::new(0, Room::new(0));
    assert!(state.observe(Side::Host, &pod(), &object("new", 7)));
    assert!(
        !state.observe(Side::Host, &pod(), &object("new", 7)),
        "an echo is no news"
    );
    assert!(!state.observe(Side::Host, &pod(), &object("old", 6)));
    assert!(!state.vanish(Side::Host, &pod(), "old"));
    assert_eq!(uid(&state).as_deref(), Some("new"));
    assert!(state.vanish(Side::Host, &pod(), "new"));
    assert_eq!(state.count(Kind::Pod), 0);
    assert_eq!(state.by_host_name(Kind::Pod, "web-x-shop-x-demo"), None);
}

#[test]
fn what_is_missing_from_a_list_is_doubted_not_gone() {
    let mut state = State::new(0, Room::new(0));
    state.observe(Side::Host, &pod(), &object("a", 1));
    let list = state.begin_list(Side::Host, Kind::Pod);
    assert!(!state.is_listed(Side::Host, Kind::Pod));
    assert_eq!(state.end_list(Side::Host, Kind::Pod, list), [pod()]);
    assert!(state.is_listed(Side::Host, Kind::Pod));
    assert!(state.entry(&pod()).host.doubted);
    assert_eq!(uid(&state).as_deref(), Some("a"));
    state.observe(Side::Host, &pod(), &object("a", 2));
    assert!(!state.entry(&pod()).host.doubted);
}

#[test]
fn what_vanished_while_the_list_was_read_is_not_brought_back_by_it() {
    let mut state = State::new(0, Room::new(0));
    let list = state.begin_list(Side::Host, Kind::Pod);
    state.vanish(Side::Host, &pod(), "a");
    assert!(!state.observe_listed(Side::Host, &pod(), &object("a", 1)));
    assert_eq!(state.end_list(Side::Host, Kind::Pod, list), []);
    assert_eq!(uid(&state), None);
}

#[test]
fn an_answer_that_comes_after_the_delete_event_makes_no_ghost() {
    let mut state = State::new(0, Room::new(0));
    state.observe(Side::Host, &pod(), &object("a", 1));
    assert!(state.vanish(Side::Host, &pod(), "a"));
    assert!(!state.observe(Side::Host, &pod(), &object("a", 9)));
    assert_eq!(uid(&state), None);
    for n in 0..10_000 {
        state.vanish(Side::Host, &pod(), &n.to_string());
    }
    assert_eq!(state.gone.uids.len(), Gone::KEPT);
}

#[test]
fn a_list_that_was_begun_anew_ends_with_the_new_one_only() {
    let mut state = State::new(0, Room::new(0));
    let first = state.begin_list(Side::Host, Kind::Pod);
    let second = state.begin_list(Side::Host, Kind::Pod);
    state.end_list(Side::Host, Kind::Pod, first);
    assert!(!state.is_listed(Side::Host, Kind::Pod));
    state.observe_listed(Side::Host, &pod(), &object("a", 1));
    assert_eq!(state.end_list(Side::Host, Kind::Pod, second), []);
    assert!(state.is_listed(Side::Host, Kind::Pod));
}

#[test]
fn an_unlisted_side_is_never_called_listed() {
    let state = State::new(0, Room::new(0));
    for kind in Kind::all() {
        assert!(!state.is_listed(Side::Virtual, kind) && !state.is_listed(Side::Host, kind));
    }
}

#[test]
fn a_check_leaves_what_is_known_good_and_waits_for_a_list_that_runs() {
    let mut state = State::new(0, Room::new(0));
    assert_eq!(
        state.begin_check(Side::Host, Kind::Pod),
        None,
        "nothing is known yet"
    );
    let list = state.begin_list(Side::Host, Kind::Pod);
    assert_eq!(
        state.begin_check(Side::Host, Kind::Pod),
        None,
        "a list runs"
    );
    state.end_list(Side::Host, Kind::Pod, list);
    let check = state.begin_check(Side::Host, Kind::Pod).unwrap();
    assert!(state.is_listed(Side::Host, Kind::Pod));
    state.end_list(Side::Host, Kind::Pod, check);
    assert!(state.is_listed(Side::Host, Kind::Pod));
}

#[test]
fn a_check_that_did_not_end_keeps_no_later_one_from_beginning() {
    let mut state = State::new(0, Room::new(0));
    let (side, kind) = (Side::Host, Kind::Pod);
    let list = state.begin_list(side, kind);
    assert_eq!(state.begin_check(side, kind), None, "nothing is known yet");
    state.end_list(side, kind, list);
    let broken = state.begin_check(side, kind).unwrap();
    let next = state.begin_check(side, kind).unwrap();
    state.abandon_list(side, kind, broken);
    state.observe_listed(side, &pod(), &object("a", 1));
    assert_eq!(state.end_list(side, kind, broken), []);
    assert_eq!(
        state.end_list(side, kind, next),
        [],
        "it was listed in this one"
    );
}
