//! Lifecycle of virtual clusters.
//!
//! ```text
//!  gRPC ──▶ api ──▶ VirtualCluster (host API) ◀── kubectl, GitOps
//!                        │ watched
//!                        ▼
//!   reconcile: observe ─▶ plan (pure) ─▶ apply ─▶ observe … until nothing is left to do
//!                           │
//!        manifest, distro, dns, isolation, admission, pki, address: what the objects should be (pure)
//! ```
//!
//! The custom resource is the truth; the gRPC API writes and watches it like any other client. The
//! process holds no state: it can be killed at any instruction and started again.

pub mod address;
pub mod admission;
pub mod api;
pub mod app;
pub mod apply;
pub mod args;
pub mod config;
pub mod container;
pub mod distro;
pub mod dns;
pub mod events;
pub mod isolation;
pub mod manifest;
pub mod metrics;
pub mod observe;
pub mod observed;
pub mod pki;
pub mod plan;
pub mod platform;
pub mod quantity;
pub mod reconcile;
pub mod settled;
pub mod slot;
pub mod subject;
pub mod survey;
pub mod uninstall;
