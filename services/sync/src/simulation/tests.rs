//! Schedules that are run with every test, and others by choice.
//!
//! `VCLUSTER_SEEDS=4711` runs that seed alone and prints its log, `VCLUSTER_SEEDS=0..5000,10000..10500` runs so many.

use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Seeds that are run each time: of runs about everything, and of those about one thing.
const SEEDS: [Range<u64>; 2] = [0..100, theme::FIRST..theme::FIRST + 30];
/// Seeds that found something, and what.
const RECORDED: &[(u64, &str)] = &[
    (
        7,
        "a pod whose labels were taken off, and which was deleted inside while sync was down, stayed on the host",
    ),
    (
        46,
        "a token Secret whose labels were taken off was written again at every scan, and never got them back",
    ),
    (
        92,
        "a replica that had lost its lease went on with the object in hand, beside the one that had the tenant by then",
    ),
    (
        147,
        "a store was away for a second, and what the other one did not have was deleted once it was back",
    ),
    (
        309,
        "a tenant was taken again without a change of its Lease, and an earlier request that freed it was still good",
    ),
    (
        10_002,
        "an older state of a store answered for a moment, and a pod that it lacked was deleted",
    ),
    (
        10_192,
        "watches that were begun in such a state heard nothing once the other was back",
    ),
];

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        let (first, second) = (run(seed, true), run(seed, true));
        let differ = || {
            let mut lines = first.lines.lines().zip(second.lines.lines());
            lines.find(|(first, second)| first != second)
        };
        assert_eq!(first.hash, second.hash, "seed {seed}: {:#?}", differ());
    }
}

#[test]
fn schedules_that_once_broke_a_promise_keep_it() {
    for &(seed, what) in RECORDED {
        assert_eq!(run(seed, false).broken, None, "seed {seed}: {what}");
    }
}

#[test]
fn every_schedule_keeps_what_is_promised() {
    match chosen() {
        Chosen::All(seeds) => all(&seeds),
        Chosen::Alone(seed) => alone(seed),
    }
}

enum Chosen {
    All(Vec<u64>),
    Alone(u64),
}

/// What `VCLUSTER_SEEDS` says.
fn chosen() -> Chosen {
    let chosen = std::env::var_os("VCLUSTER_SEEDS").map(|seeds| seeds.into_string().unwrap());
    let Some(chosen) = chosen else {
        return Chosen::All(SEEDS.into_iter().flatten().collect());
    };
    if let Ok(seed) = chosen.parse() {
        return Chosen::Alone(seed);
    }
    let ranges = chosen.split(',').map(|range| {
        let (first, last) = range.split_once("..").unwrap();
        first.parse::<u64>().unwrap()..last.parse().unwrap()
    });
    Chosen::All(ranges.flatten().collect())
}

/// Runs these seeds, as many at once as there are cores.
fn all(seeds: &[u64]) {
    let count = seeds.len();
    let longest = AtomicU64::new(0);
    let broken = on_every_core(seeds, |seed| {
        let outcome = run(seed, false);
        longest.fetch_max(outcome.settled.as_secs(), Ordering::Relaxed);
        outcome.broken
    });
    println!("{count} schedules, settled in {longest:?} s at most");
    let Some((seed, _)) = broken.first() else {
        return;
    };
    panic!(
        "{broken:#?}\nto see one: VCLUSTER_SEEDS={seed} cargo test --workspace --lib -- --nocapture every_schedule"
    );
}

/// What `work` finds about these seeds, by seed.
fn on_every_core(seeds: &[u64], work: impl Fn(u64) -> Option<String> + Sync) -> Vec<(u64, String)> {
    let next = AtomicUsize::new(0);
    let one = || {
        let mut found = Vec::new();
        loop {
            let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return found;
            };
            found.extend(work(seed).map(|why| (seed, why)));
        }
    };
    let mut found: Vec<_> = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
        let found = workers.into_iter().map(|worker| worker.join().unwrap());
        found.flatten().collect()
    });
    found.sort();
    found
}

/// The first of the chosen seeds about which `work` finds something.
pub(super) fn first_of(work: impl Fn(u64) -> Option<String> + Sync) -> Option<(u64, String)> {
    let seeds = match chosen() {
        Chosen::All(seeds) => seeds,
        Chosen::Alone(seed) => vec![seed],
    };
    let is_found = AtomicBool::new(false);
    let found = on_every_core(&seeds, |seed| {
        let found = (!is_found.load(Ordering::Relaxed))
            .then(|| work(seed))
            .flatten();
        is_found.fetch_or(found.is_some(), Ordering::Relaxed);
        found
    });
    found.into_iter().next()
}

/// Runs a seed and prints its log.
fn alone(seed: u64) {
    let outcome = run(seed, true);
    println!("{}", outcome.lines);
    println!(
        "seed {seed}: {} requests, settled in {:?}",
        outcome.requests, outcome.settled
    );
    assert_eq!(outcome.broken, None);
}
