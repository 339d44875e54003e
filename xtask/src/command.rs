//! Runs other programs and turns their failure into an error that says what was run and what it
//! said.
//!
//! None hangs a run: each is killed when it takes far longer than it may, and its input is written
//! while its output is read. Those on the caller's own terminal end when the caller says so.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take. Far above what any does, builds of Go programs on a busy machine included: a deadline
/// is there to end a broken run.
const DEADLINE: Duration = Duration::from_hours(2);
/// How long a program may take that only answers a question.
const ANSWER: Duration = Duration::from_mins(1);
/// How long the end of one that was killed is waited for.
const LAST: Duration = Duration::from_secs(5);
/// Lines of a failed program's stderr that go into the error.
const SAID: usize = 15;

/// What a finished program wrote to stdout; an error with the end of its stderr if it failed.
///
/// # Errors
/// The program cannot be started, or exits with another status than 0.
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = finish(command, None)?;
    said(command, &output)
}

/// Like [`stdout`], for a program that is asked something and answers at once: whoever asks again gets to do so.
///
/// # Errors
/// As [`stdout`].
pub fn answer(command: &mut Command) -> Result<String> {
    let output = finish_within(command, None, ANSWER)?;
    said(command, &output)
}

/// Like [`stdout`], for programs whose output nobody wants.
///
/// # Errors
/// As [`stdout`].
pub fn run(command: &mut Command) -> Result<()> {
    stdout(command).map(drop)
}

/// Like [`stdout`] with `input` on the program's stdin.
///
/// # Errors
/// As [`stdout`].
pub fn stdout_with_input(command: &mut Command, input: &str) -> Result<String> {
    let output = finish(command, Some(input))?;
    said(command, &output)
}

/// Runs a program to its end, whatever that is, with `input` on its stdin.
///
/// # Errors
/// The program cannot be started, or does not end for hours and was killed.
pub fn finish(command: &mut Command, input: Option<&str>) -> Result<Output> {
    finish_within(command, input, DEADLINE)
}

/// Whether the program ran and exited with 0; its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    finish_within(command, None, ANSWER).is_ok_and(|output| output.status.success())
}

/// Runs with the caller's own terminal.
///
/// # Errors
/// The program cannot be started, or exits with another status than 0.
pub fn inherit(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

/// The last `count` lines of `text`.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .join("\n")
}

fn said(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}: {}\n{}",
            shown(command),
            output.status,
            last_lines(&said, SAID)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn finish_within(command: &mut Command, input: Option<&str>, deadline: Duration) -> Result<Output> {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| cannot_start(command))?;
    let pid = Pid::from_child(&child);
    if let (Some(text), Some(mut pipe)) = (input.map(str::to_owned), child.stdin.take()) {
        // A program that ends before it has read everything says why with its status.
        thread::spawn(move || pipe.write_all(text.as_bytes()));
    }
    let (ended, end) = mpsc::channel();
    // Nobody listens any more where it was too late.
    thread::spawn(move || ended.send(child.wait_with_output()));
    if let Ok(output) = end.recv_timeout(deadline) {
        return output.with_context(|| cannot_start(command));
    }
    // It may end at this very moment.
    let _ = kill_process(pid, Signal::KILL);
    drop(end.recv_timeout(LAST));
    bail!(
        "{}: killed, it did not end within {deadline:?}",
        shown(command)
    )
}

fn cannot_start(command: &Command) -> String {
    format!("cannot run {}", command.get_program().to_string_lossy())
}

/// Program and arguments as one would type them, for errors.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{} …", line.split_at(end).0),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_program_and_what_it_said() {
        let error = stdout(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]));
        let text = format!("{:#}", error.expect_err("it exits with 3"));
        assert!(
            text.contains("sh -c") && text.contains("broken") && text.contains('3'),
            "{text}"
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_and_named() {
        let mut hanging = Command::new("sleep");
        let killed = finish_within(hanging.arg("600"), None, Duration::from_millis(50));
        let text = format!("{:#}", killed.expect_err("it was killed"));
        assert!(
            text.contains("sleep 600") && text.contains("did not end within"),
            "{text}"
        );
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_out() {
        let text = "x".repeat(1 << 20);
        let echoed = stdout_with_input(&mut Command::new("cat"), &text).expect("cat echoes");
        assert!(echoed == text);
    }

    #[test]
    fn the_last_lines_are_the_last_ones() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
