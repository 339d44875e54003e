//! Translation between virtual and host objects: pure functions, no I/O.
//!
//! Objects are JSON as it came from an API server. Only what is known to name or reach something
//! of the other side is rewritten; every other field passes, so that a field newer than this crate
//! is never lost. What would reach the host, or cannot be kept true there, is refused with the
//! field and the reason, never dropped in silence.
//!
//! [`kind`] is the table of kinds: a kind is one module with a translation each way, and one row
//! there. [`plan`] decides, for one object at a time, what to do next about what was seen on both sides.
//! Nothing here waits, reads a clock or talks to anybody.

pub mod annotation;
pub mod change;
pub mod class;
pub mod config_map;
pub mod context;
pub mod custom;
pub mod destination;
pub mod digest;
pub mod disruption_budget;
pub mod endpoint_slice;
pub mod environment;
pub mod event;
#[cfg(test)]
mod fixture;
pub mod ingress;
mod json;
pub mod kind;
pub mod label;
pub mod made_by_host;
pub mod mapping;
pub mod mirror;
pub mod name;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod own_class;
pub mod owner;
pub mod patch;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod plan;
pub mod pod;
pub mod policy;
pub mod reach;
pub mod refusal;
pub mod resource_claim;
pub mod resource_metrics;
pub mod secret;
pub mod service;
pub mod service_account;
mod serving;
pub mod storage_capacity;
pub mod text;
pub mod volume_snapshot;

pub use change::Change;
pub use context::{Annotations, Context, HostAccess};
pub use custom::Custom;
pub use destination::Destinations;
pub use json::at;
pub use kind::Kind;
pub use owner::Owner;
pub use patch::Patch;
pub use refusal::Refusal;
