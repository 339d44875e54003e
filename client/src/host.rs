//! The host cluster as the user's kubeconfig knows it: who the user is there, and which gateway
//! it names.

pub mod api;
pub mod discovery;
pub mod exec;
pub mod identity;
