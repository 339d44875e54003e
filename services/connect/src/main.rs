//! The gateway to every virtual cluster.
fn main() {}
