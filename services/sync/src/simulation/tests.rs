//! Schedules that are run with every test, and others by choice.
//!
//! `VCLUSTER_SEEDS=4711` runs that seed alone and prints its log, `VCLUSTER_SEEDS=0..5000` runs so many.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;

/// Seeds that are run each time.
const SEEDS: u64 = 100;
/// Seeds that found something, and what.
const RECORDED: &[(u64, &str)] = &[(
    147,
    "a store was away for a second, and what the other one did not have was deleted once it was back",
)];

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
    let chosen = std::env::var_os("VCLUSTER_SEEDS").map(|seeds| seeds.into_string().unwrap());
    match chosen
        .as_deref()
        .map(|seeds| (seeds, seeds.split_once("..")))
    {
        None => all(0, SEEDS),
        Some((_, Some((first, last)))) => all(first.parse().unwrap(), last.parse().unwrap()),
        Some((seed, None)) => alone(seed.parse().unwrap()),
    }
}

/// Runs these seeds, as many at once as there are cores.
fn all(first: u64, last: u64) {
    let next = AtomicU64::new(first);
    let work = || {
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                return broken;
            }
            broken.extend(run(seed, false).broken.map(|why| (seed, why)));
        }
    };
    let broken: Vec<_> = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let Some((seed, _)) = broken.first() else {
        return;
    };
    panic!(
        "{broken:#?}\nto see one: VCLUSTER_SEEDS={seed} cargo test --workspace --lib -- --nocapture every_schedule"
    );
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
