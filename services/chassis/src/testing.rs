//! Doubles for tests of services: an API server, a clock, certificates, a log.
//!
//! Compiled with the feature `testing` only, which no binary turns on.

mod api_server;
mod certs;
mod clock;
mod logs;

pub use api_server::{ApiServer, Call, json};
pub use certs::{Authority, Issued};
pub use clock::ManualClock;
pub use logs::{Logs, capture_logs};
