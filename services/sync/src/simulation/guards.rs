//! For guards of the engine schedules that break a promise without them, and keep all with them.
//!
//! Schedules change with the simulation. `VCLUSTER_GUARD=all VCLUSTER_SEEDS=0..500,10000..10500` finds others; the name
//! of a guard in place of `all` finds them for that one, `open` for those that lack one.

use super::run;
use super::tests::first_of;
use super::theme::Theme;
use crate::guard::{self, Guard};

/// Each guard, and a seed that fails without it.
const GUARDS: &[(Guard, u64)] = &[
    (Guard::CompleteLists, 10007),
    (Guard::HiddenIsRead, 11),
    (Guard::NewestCounts, 10004),
    (Guard::ToldSince, 54),
    (Guard::GoneIsGone, 10104),
    (Guard::OwnerIsRead, 0),
    (Guard::SaidOnce, 0),
    (Guard::PodsFirst, 4),
    (Guard::FinalizerFirst, 0),
    (Guard::WatchResumes, 0),
    (Guard::StoreIsRecognized, 12),
    (Guard::StoreIsConfirmed, 10001),
    (Guard::OneStateAnswers, 10002),
    (Guard::ReturnIsConfirmed, 395),
    (Guard::MarkIsCompared, 10002),
    (Guard::SurpriseIsDoubted, 11),
    (Guard::BackOff, 5),
    (Guard::InFlight, 10006),
    (Guard::Allowance, 10009),
    (Guard::DataIsKept, 10003),
    (Guard::HolderIsAwaited, 6),
    (Guard::ListsAreFresh, 10007),
    (Guard::Frozen, 10760),
    (Guard::Deposed, 10010),
    (Guard::Turns, 10038),
    (Guard::LetGoIsLeft, 10056),
    (Guard::DeleteNamesUid, 10005),
    (Guard::PatchNamesUid, 10005),
];

/// Guards for which no seed is recorded yet: what the schedules still lack.
const OPEN: &[Guard] = &[Guard::LossIsFinal, Guard::RestFirst];

/// Guards without which another one is left, and the test of the guard itself.
const DOUBLED: &[(Guard, &str)] = &[(
    Guard::MissingIsRead,
    "lists are consistent, so that only what sync itself made meanwhile can be missing from one: a create of it says that it \
     is there, and a pod is read before it is taken for gone; sync/tests/knowledge shows the guard alone",
)];

/// What runs are about that show a guard, if one theme does.
fn theme(guard: Guard) -> Option<Theme> {
    match guard {
        Guard::Frozen | Guard::Deposed => Some(Theme::DeadLinks),
        Guard::StoreIsConfirmed | Guard::LossIsFinal => Some(Theme::OtherStores),
        Guard::MarkIsCompared | Guard::OneStateAnswers => Some(Theme::OlderStores),
        Guard::DataIsKept => Some(Theme::AcceptedStores),
        Guard::NewestCounts | Guard::GoneIsGone => Some(Theme::OldNews),
        Guard::DeleteNamesUid | Guard::PatchNamesUid => Some(Theme::LateRequests),
        Guard::LetGoIsLeft | Guard::RestFirst | Guard::InFlight => Some(Theme::Stops),
        Guard::CompleteLists | Guard::ListsAreFresh => Some(Theme::Restarts),
        Guard::Turns => Some(Theme::Greedy),
        Guard::Allowance => Some(Theme::Hasty),
        Guard::MissingIsRead
        | Guard::HiddenIsRead
        | Guard::ToldSince
        | Guard::StoreIsRecognized
        | Guard::ReturnIsConfirmed
        | Guard::SurpriseIsDoubted
        | Guard::BackOff
        | Guard::WatchResumes
        | Guard::HolderIsAwaited
        | Guard::FinalizerFirst
        | Guard::PodsFirst
        | Guard::SaidOnce
        | Guard::OwnerIsRead => None,
    }
}

/// Runs a seed without a guard; tells what breaks.
fn without(guard: Guard, seed: u64) -> Option<String> {
    let _out = guard::take_out(Some(guard));
    run(seed, false).broken
}

#[test]
fn taking_out_any_guard_fails_its_recorded_seed() {
    let mut wrong = Vec::new();
    for &(guard, seed) in GUARDS {
        match (without(guard, seed), run(seed, false).broken) {
            (Some(_), None) => {}
            (None, _) => wrong.push(format!("{guard:?}: seed {seed} passes without it")),
            (_, Some(why)) => wrong.push(format!("{guard:?}: seed {seed} fails with it: {why}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong:#?}\nto find others: VCLUSTER_GUARD=all VCLUSTER_SEEDS=0..500,10000..10500 cargo test --workspace --lib -- \
         --nocapture a_seed_is_found"
    );
}

#[test]
fn every_guard_has_a_recorded_seed_or_is_named_with_the_reason() {
    for guard in Guard::ALL {
        let recorded = GUARDS.iter().filter(|(recorded, _)| recorded == guard);
        let doubled = DOUBLED.iter().filter(|(doubled, _)| doubled == guard);
        let open = OPEN.iter().filter(|open| *open == guard);
        let named = recorded.count() + doubled.count() + open.count();
        assert_eq!(named, 1, "{guard:?}");
    }
}

/// By choice only: see the module.
#[test]
fn a_seed_is_found_for_each_guard_that_is_asked_for() {
    let Some(asked) = std::env::var_os("VCLUSTER_GUARD") else {
        return;
    };
    let is_asked = |guard: &&Guard| match asked.to_str() {
        Some("all") => true,
        Some("open") => OPEN.contains(guard),
        asked => asked == Some(&format!("{guard:?}")),
    };
    for &guard in Guard::ALL.iter().filter(is_asked) {
        let found = first_of(|seed| {
            if Theme::of(seed) != theme(guard) {
                return None;
            }
            let why = without(guard, seed)?;
            run(seed, false).broken.is_none().then_some(why)
        });
        match found {
            Some((seed, why)) => println!("    (Guard::{guard:?}, {seed}), // {why}"),
            None => println!("    // {guard:?}: no seed fails without it"),
        }
    }
}
