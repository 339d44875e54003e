//! Runs a program and says everything about it when it does not do what the test expects.

use std::{
    ffi::OsStr,
    fmt,
    io::Write as _,
    path::Path,
    process::{self, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a program may take. Far above what any waits for by itself: a deadline is there to end a broken run.
const DEADLINE: Duration = Duration::from_mins(10);
/// How long the output of one that was killed is waited for.
const LAST: Duration = Duration::from_secs(5);

/// A program with its arguments, about to be run.
#[derive(Debug)]
pub struct Command {
    inner: process::Command,
    shown: String,
    input: Option<String>,
}

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    shown: String,
    /// Exit code; `None` if a signal ended it, or we did because it took too long.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Command {
    /// `program` with `args`, and `kubeconfig` as its only kubeconfig.
    pub fn new<S: AsRef<OsStr>>(program: &str, kubeconfig: &Path, args: &[S]) -> Self {
        let mut inner = process::Command::new(program);
        inner
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env("NO_COLOR", "1");
        let mut shown = program.to_owned();
        for arg in args {
            shown.push(' ');
            shown.push_str(&arg.as_ref().to_string_lossy());
        }
        Self {
            inner,
            shown,
            input: None,
        }
    }

    /// Gives it `text` on standard input.
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    /// Runs it to its end, whatever that is; at most [`DEADLINE`].
    pub fn run(self) -> Output {
        self.run_for(DEADLINE)
    }

    fn run_for(mut self, deadline: Duration) -> Output {
        let stdin = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .inner
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`{}` does not start: {error}", self.shown));
        let (input, pid) = (self.input.take(), Pid::from_child(&child));
        let (ended, end) = mpsc::channel();
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            // While its output is read. A program that ends without reading its input is judged by its exit code.
            thread::spawn(move || pipe.write_all(text.as_bytes()));
        }
        thread::spawn(move || {
            // Nobody listens any more where it was too late.
            let _ = ended.send(child.wait_with_output());
        });
        let in_time = end.recv_timeout(deadline).ok();
        let is_late = in_time.is_none();
        let output = in_time.or_else(|| {
            // It may end at this very moment.
            let _ = kill_process(pid, Signal::KILL);
            end.recv_timeout(LAST).ok()
        });
        let (code, stdout, mut stderr) = match output {
            Some(Ok(output)) => (output.status.code(), output.stdout, output.stderr),
            Some(Err(error)) => panic!("`{}` cannot be waited for: {error}", self.shown),
            // What it has started holds its output still.
            None => (None, Vec::new(), Vec::new()),
        };
        if is_late {
            stderr.extend(format!("\nkilled: it did not end within {deadline:?}").into_bytes());
        }
        Output {
            shown: self.shown,
            code: code.filter(|_| !is_late),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs it and expects success; returns standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        let output = self.run();
        assert!(
            output.code == Some(0),
            "this should have succeeded:\n{output}"
        );
        output.stdout
    }

    /// Runs it and expects JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}):\n{text}"))
    }

    /// Runs it and expects that it fails by itself, with an output that contains every one of `words`: without any it
    /// would pass for a program that cannot connect, or was mistyped.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Output {
        assert!(!words.is_empty(), "say with which words it is refused");
        let output = self.run();
        assert!(
            matches!(output.code, Some(1..)),
            "this should have been refused:\n{output}"
        );
        for word in words {
            assert!(
                output.stderr.contains(word) || output.stdout.contains(word),
                "this should have said {word:?}:\n{output}"
            );
        }
        output
    }
}

impl Output {
    /// Whether it ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.shown)?;
        writeln!(f, "exit code: {:?}", self.code)?;
        writeln!(f, "--- stdout\n{}", self.stdout)?;
        writeln!(f, "--- stderr\n{}", self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("sh", Path::new("none"), &["-c", script])
    }

    #[test]
    fn a_refusal_ends_by_itself_and_says_its_words() {
        shell("echo forbidden >&2; exit 1").refused(&["forbidden"]);
    }

    #[test]
    #[should_panic(expected = "should have been refused")]
    fn a_program_that_a_signal_ended_has_refused_nothing() {
        shell("echo forbidden; kill -9 $$").refused(&["forbidden"]);
    }

    #[test]
    #[should_panic(expected = "say with which words")]
    fn a_refusal_without_words_is_none() {
        shell("exit 1").refused(&[]);
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_and_says_so() {
        let hanging = Command::new("sleep", Path::new("none"), &["600"]);
        let output = hanging.run_for(Duration::from_millis(50));
        assert!(!output.succeeded());
        assert!(output.stderr.contains("did not end within"), "{output}");
        let quick = Command::new("cat", Path::new("none"), &["-"]).input("text");
        assert_eq!(quick.ok(), "text");
    }
}
