//! The log lines of one test.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// What was logged on this thread since [`capture_logs`].
#[derive(Debug, Clone, Default)]
pub struct Logs {
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Logs {
    /// Everything logged so far, one line per event.
    pub fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&lines).into_owned()
    }
}

/// Logs everything of this thread, down to `trace`, into the returned value until the guard goes.
pub fn capture_logs() -> (Logs, DefaultGuard) {
    let logs = Logs::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(logs.clone());
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    (logs, guard)
}

impl io::Write for Logs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_captured() {
        let (logs, _guard) = capture_logs();
        tracing::warn!(cause = "x", "something odd");
        assert!(
            logs.text().contains("something odd cause=\"x\""),
            "{}",
            logs.text()
        );
    }
}
