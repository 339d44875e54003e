//! What is awaited right now: an animation on a terminal, plain lines elsewhere.

use std::{cell::RefCell, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Terminal, style};

/// A running display. Dropping it clears the animation.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    terminal: &'a Terminal,
    bar: Option<ProgressBar>,
    last: RefCell<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn start(terminal: &'a Terminal, text: &str) -> Self {
        let bar = terminal.animated.then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed:.dim} {wide_msg}")
                .expect("the template is a constant");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if let Ok(mut running) = terminal.bar.lock() {
            running.clone_from(&bar);
        }
        let progress = Self {
            terminal,
            bar,
            last: RefCell::default(),
        };
        progress.update(text);
        progress
    }

    /// What is awaited; said once as long as it stays the same.
    pub(crate) fn update(&self, text: &str) {
        let text = style::safe(text);
        if *self.last.borrow() == text {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(text.clone()),
            None => self.terminal.note(&text),
        }
        self.last.replace(text);
    }

    /// A step that is done; the line stays.
    pub(crate) fn done(&self, text: &str) {
        self.terminal.success(&style::safe(text));
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Ok(mut running) = self.terminal.bar.lock() {
            *running = None;
        }
    }
}
