//! Developer commands, and the API that the demo and the tests build on.
//!
//! [`cluster`] brings a real Kubernetes up and down, [`images`] makes the container images
//! it needs, [`upstream`] builds the pinned upstream binaries, [`install`] puts the product on it.
//! It compiles in seconds on purpose: no Kubernetes client, no async runtime, no C code; the tools
//! it drives (`kubectl`, `ctr`, `helm`, `ip`, `openssl`) are programs.

#[cfg(not(target_os = "linux"))]
compile_error!("`cargo xtask` runs a Kubernetes node on this machine and needs Linux");

pub mod addon;
pub mod bench;
pub mod cache;
mod cli;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod doctor;
pub mod images;
pub mod install;
pub mod output;
pub mod test;
pub mod upstream;
pub mod wait;
pub mod workspace;

pub use cli::run;
