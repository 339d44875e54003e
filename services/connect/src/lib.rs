//! The gateway to every virtual cluster.
