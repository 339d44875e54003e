//! Waits for something that other processes bring about.

use std::{fmt::Display, thread, time::Duration};

/// How long anything may take that is expected to happen. Far above what it takes: a deadline is
/// there to end a broken run, not to measure a working one.
pub const DEADLINE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(250);

/// Asks `probe` until it answers `Ok`, and fails with its last answer after [`DEADLINE`].
#[track_caller]
pub fn eventually<T, E: Display>(what: &str, probe: impl FnMut() -> Result<T, E>) -> T {
    match in_time(what, DEADLINE, probe) {
        Ok(value) => value,
        Err(late) => panic!("{late}"),
    }
}

/// The same, for those who have more to tell than the first failure.
///
/// # Errors
/// It was not so in time: what, and what was seen last.
pub fn in_time<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T, String> {
    #[expect(
        clippy::disallowed_types,
        reason = "tests of real processes have no other clock"
    )]
    let begin = std::time::Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) => {
                let waited = begin.elapsed();
                if waited >= deadline {
                    return Err(format!("{what}: not after {waited:?}; last seen: {last}"));
                }
            }
        }
        thread::park_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_vain_is_told_what_was_seen_last() {
        let mut asked = 0;
        let late: Result<(), String> = in_time("the end", Duration::ZERO, || {
            asked += 1;
            Err(format!("answer {asked}"))
        });
        let told = late.expect_err("it never comes");
        assert!(told.starts_with("the end: not after"), "{told}");
        assert!(told.ends_with("last seen: answer 1"), "{told}");
    }
}
