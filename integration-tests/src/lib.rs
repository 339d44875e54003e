//! The real dev cluster as a library: what the scenario tests in `tests/` are written with.
//!
//! The tests drive what users drive (kubectl, helm and the `vcluster` command, as processes) against
//! a running cluster with the chart installed. `cargo xtask test` brings that up, names its
//! kubeconfig in the environment and takes it down; without it a test fails and says so, and never
//! passes by skipping. A failing step prints the command, its output, and the state and logs of the
//! services, so that nobody needs the cluster to understand it.
#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "this library exists for tests: a broken step ends the test with its report"
)]

pub mod attempt;
pub mod collector;
pub mod command;
pub mod container;
pub mod eventually;
pub mod forward;
pub mod host;
pub mod tenant;

pub use collector::Collector;
pub use command::{Command, Output};
pub use eventually::eventually;
pub use forward::Forward;
pub use host::Host;
pub use tenant::Tenant;
