//! Translation between virtual clusters and their host namespaces.

pub mod object;
pub mod pool;
pub mod queue;
pub mod server;
pub mod tenant_token;
pub mod work;
