//! Client of the vcluster gateway, and what a program needs to find one.
//!
//! [`Client`] speaks gRPC to the gateway: lifecycle (control), what is synced (sync) and access
//! (connect), each with a deadline, retries where a repetition is harmless, and typed errors.
//! [`kubeconfig`] reads kubeconfig files as kubectl does and edits them without losing what it
//! does not know; [`host`] turns a context into an identity and finds the gateway of its cluster.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vcluster_client::{Client, Credentials, Gateway, credentials::TokenFile, tls::Trust};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway {
//!     address: "https://gw.example".parse()?,
//!     trust: Trust::System,
//! };
//! let token = TokenFile("/var/run/secrets/tokens/vcluster".into());
//! let client = Client::builder(gateway)
//!     .credentials(Credentials::Bearer(Arc::new(token)))
//!     .build()?;
//! for cluster in client.list(Some("team-a")).await? {
//!     println!("{}", cluster.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The library reads no environment variable, prints nothing and leaves no process behind. It
//! knows the services only by their contract (`vcluster-proto`).

pub mod builder;
mod call;
mod channel;
mod connect;
mod control;
pub mod credentials;
pub mod error;
pub mod gateway;
pub mod host;
pub mod kubeconfig;
pub mod retry;
mod sync;
pub mod tls;
pub mod trace;
pub mod watch;

pub use builder::Builder;
pub use call::Client;
pub use connect::{Issued, VirtualAddress};
pub use control::{CreateOptions, DeleteOptions};
pub use credentials::Credentials;
pub use error::{Error, Rejection, Violation};
pub use gateway::Gateway;
pub use sync::ObjectRef;
pub use vcluster_proto as proto;
pub use watch::{Event, Scope, Watch};
