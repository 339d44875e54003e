//! Lifecycle of virtual clusters.
fn main() {}
