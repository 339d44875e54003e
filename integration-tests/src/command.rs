//! Runs a program and says everything about it when it does not do what the test expects.

use std::{
    ffi::OsStr,
    fmt,
    io::Write as _,
    path::Path,
    process::{self, Stdio},
};

use serde_json::Value;

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
    /// Exit code; `None` if a signal ended it.
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

    /// Runs it to its end, whatever that is.
    pub fn run(mut self) -> Output {
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
        if let (Some(text), Some(mut pipe)) = (self.input.take(), child.stdin.take()) {
            // A program that ends without reading its input is judged by its exit code.
            let _ = pipe.write_all(text.as_bytes());
        }
        let output = child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("`{}` cannot be waited for: {error}", self.shown));
        Output {
            shown: self.shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
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

    /// Runs it and expects a failure whose output contains every one of `words`.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Output {
        let output = self.run();
        assert!(
            output.code != Some(0),
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
