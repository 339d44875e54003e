//! What every service needs and none should write twice.
//!
//! The chassis knows no domain: nothing here can name a virtual cluster. It promises the life of a
//! service in one order, the same in every binary:
//!
//! ```text
//!  crypto::install → Args::parse → telemetry::init → Shutdown::on_signals → Registry, Health
//!        │
//!        ▼
//!  bind every listener ── build clients, caches, stores ── serve ── open the readiness gates
//!        │                                                  │
//!        ▼                                                  ▼
//!  admin port: /livez /readyz /metrics            SIGTERM: not ready → GOAWAY → tasks end
//!                                                 → Shutdown::drained(deadline) → flush traces
//! ```
//!
//! Nothing here reads the environment, the wall clock or a global on its own: flags come in through
//! [`args`], time through [`clock`], metrics through a [`metrics::Registry`] that is handed down, and
//! every spawned task through a [`drain::Shutdown`].

pub mod access;
pub mod admin;
pub mod args;
pub mod chance;
pub mod clock;
pub mod crypto;
pub mod drain;
pub mod grpc;
pub mod health;
pub mod identity;
pub mod idle;
pub mod kube_client;
pub mod lease;
pub mod metrics;
pub mod retry;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;
pub mod upgrade;
