//! A deterministic simulation: the shipped engine in a world in which only clock, transport and chance are replaced.
//!
//! A seed gives a schedule: what tenants and the host's side do, how the network is, when processes crash, stores are
//! lost or put back and virtual clusters removed. The same seed gives the same run, request by request. In each run
//! these hold:
//! - no wrong delete, and nothing of strangers touched: at every write ([`law`]);
//! - once nothing disturbs it any more, both sides are the same within bounded time, and nothing is written from then
//!   on ([`peace`]);
//! - what is kept in memory is bounded by what there is, and queues are at rest;
//! - watches that break go on where they were, and a lost past is listed anew for its own kind only ([`end`]).
//!
//! Guards of the engine have schedules that break one of these without them ([`guards`]). See CONTRIBUTING.md for
//! how to run a seed.

use std::time::Duration;

use vcluster_chassis::chance;

mod crowd;
mod end;
mod ground;
#[cfg(test)]
mod guards;
mod happen;
mod hosts;
mod law;
mod network;
mod peace;
mod pressure;
mod process;
mod run;
mod store;
mod theme;
mod trace;
mod users;
mod weather;
mod wire;
mod world;

pub(crate) use network::Network;
use run::Run;

/// What a run came to.
#[derive(Debug)]
struct Outcome {
    /// What was broken.
    broken: Option<String>,
    /// A hash of every request.
    hash: u64,
    requests: u64,
    /// How long it took until both sides were the same.
    settled: Duration,
    /// Every request, if that is wanted.
    lines: String,
}

/// Runs the schedule of a seed; keeps every line of its log if `all`.
fn run(seed: u64, all: bool) -> Outcome {
    vcluster_chassis::crypto::install();
    let _seeded = chance::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime can be built")
        .block_on(async { Run::new(seed, all).whole().await })
}

#[cfg(test)]
mod tests;
