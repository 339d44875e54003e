//! The chart's admission policies: what the services' accounts may not do although RBAC lets them,
//! and what they may still do. Writes are tried with `--dry-run=server`, which asks the policies
//! like any write.

mod classes;
mod clusters;
mod control;
mod namespace;
mod pod;
mod tenant;
