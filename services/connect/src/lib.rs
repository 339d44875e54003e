//! The gateway: one address through which every virtual cluster of a host cluster is reached.
//!
//! ```text
//!  listener → route → authenticate → authorize → strip → say who → upstream (HTTP/2, or HTTP/1.1 for upgrades)
//!    TLS       raw      certificate,    host's     all     X-Remote-*   virtual API server, control, sync
//!              bytes    token, JWT      RBAC
//! ```
//!
//! The order is the promise: nothing is looked up before the caller is known and allowed, nothing that a client
//! sends about identity survives, and what the gateway says about it is set last. Bodies are streamed both
//! ways; the gateway keeps nothing.
//!
//! Pure parts: [`route`], [`strip`], [`tenant_identity`], [`refusal`]. The rest does.

pub mod app;
pub mod args;
pub mod authenticate;
pub mod authorize;
pub mod body;
pub mod client_ca;
mod cluster;
pub mod clusters;
pub mod config;
pub mod credential;
pub mod gateway;
pub mod limits;
pub mod listener;
#[cfg(test)]
mod loopback;
pub mod metrics;
pub mod peer;
pub mod platform;
pub mod record;
pub mod refusal;
pub mod relay;
pub mod route;
mod socket;
pub mod strip;
pub mod tenant_identity;
pub mod upstream;
pub mod vigil;
