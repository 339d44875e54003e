//! Lifecycle of virtual clusters.
