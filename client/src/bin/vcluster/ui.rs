//! The house style of the output.
//!
//! Standard output carries data only, and nothing that was not asked for. Progress, notes, hints
//! and errors go to standard error; colour and animation only if that is a terminal.

pub(crate) mod age;
pub(crate) mod explained;
pub(crate) mod format;
pub(crate) mod progress;
pub(crate) mod spent;
pub(crate) mod style;
pub(crate) mod view;

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Mutex,
};

use indicatif::ProgressBar;

use self::{progress::Progress, style::Palette};
use crate::{cli::Global, environment::Environment, failure::Line};

/// The two streams of the process.
#[derive(Debug)]
pub(crate) struct Terminal {
    palette: Palette,
    animated: bool,
    verbose: bool,
    quiet: bool,
    /// The running animation, which other lines must not tear.
    bar: Mutex<Option<ProgressBar>>,
}

impl Terminal {
    pub(crate) fn new(global: &Global, environment: &Environment) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let dumb = environment
            .term
            .as_deref()
            .is_none_or(|term| term == "dumb");
        let is_set = |value: &Option<std::ffi::OsString>| {
            value
                .as_ref()
                .is_some_and(|value| !value.is_empty() && value != "0")
        };
        let colour = if is_set(&environment.no_color) {
            false
        } else {
            is_set(&environment.force_color) || (is_terminal && !dumb)
        };
        Self {
            palette: Palette::new(colour),
            animated: is_terminal && !dumb && !global.quiet,
            verbose: global.verbose,
            quiet: global.quiet,
            bar: Mutex::new(None),
        }
    }

    /// Data, to standard output.
    #[expect(clippy::unused_self, reason = "whoever prints holds the terminal")]
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Something that happened.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Something that worked.
    pub(crate) fn success(&self, text: &str) {
        self.note(&self.palette.success(text));
    }

    /// What the user may want to do next.
    pub(crate) fn hint(&self, text: &str) {
        self.note(&self.palette.hint(text));
    }

    /// Something that only `--verbose` shows.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.line(&self.palette.faint(text));
        }
    }

    /// Why the command ends early.
    pub(crate) fn failure(&self, lines: &[Line]) {
        for line in lines {
            self.line(&self.palette.failure(line));
        }
    }

    /// Begins to show progress.
    pub(crate) fn progress(&self, text: &str) -> Progress<'_> {
        Progress::start(self, text)
    }

    /// One line to standard error. That it cannot be written is no reason to fail.
    fn line(&self, text: &str) {
        let write = || {
            let _ = writeln!(io::stderr().lock(), "{text}");
        };
        let bar = self.bar.lock().ok().and_then(|bar| bar.clone());
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}
