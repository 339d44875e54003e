//! Wall time as a value that is handed in.
//!
//! For instants that leave the process (statuses, leases, certificates). Durations inside the process
//! are measured with tokio's `Instant`, which obeys a paused clock in tests.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// Tells wall time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present moment in UTC.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}
