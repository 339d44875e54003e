//! Translation between virtual clusters and their host namespaces.

pub mod aggregation;
pub mod api;
pub mod app;
pub mod apply;
pub mod args;
pub mod bill;
pub mod bodies;
pub mod bucket;
pub mod config;
pub mod custom;
pub mod directory;
pub mod engine;
pub mod explain;
pub mod gauges;
pub mod guard;
pub mod hash;
pub mod hold;
pub mod host_history;
pub mod host_watch;
pub mod hosts;
pub mod kubelet;
pub mod link;
pub mod mapping;
pub mod metrics;
pub mod nodes_in_use;
pub mod object;
pub mod peer;
pub mod pool;
pub mod provision;
pub mod queue;
pub mod references;
pub mod reply;
pub mod resource_metrics;
pub mod scan;
pub mod server;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod sync;
pub mod tenant;
pub mod tenant_token;
pub mod tenants;
#[cfg(test)]
mod testing;
pub mod watch;
pub mod webhook;
pub mod work;
