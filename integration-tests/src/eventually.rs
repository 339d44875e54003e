//! Waits for something that other processes bring about.

use std::{fmt::Display, thread, time::Duration};

/// How long anything may take that is expected to happen. Far above what it takes: a deadline is
/// there to end a broken run, not to measure a working one.
pub const DEADLINE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(250);

/// Asks `probe` until it answers `Ok`, and fails with its last answer after [`DEADLINE`].
#[track_caller]
pub fn eventually<T, E: Display>(what: &str, mut probe: impl FnMut() -> Result<T, E>) -> T {
    #[expect(
        clippy::disallowed_types,
        reason = "tests of real processes have no other clock"
    )]
    let begin = std::time::Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) => {
                let waited = begin.elapsed();
                assert!(
                    waited < DEADLINE,
                    "{what}: not after {waited:?}; last seen: {last}"
                );
            }
        }
        thread::park_timeout(PAUSE);
    }
}
