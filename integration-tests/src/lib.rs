//! The real dev cluster as a library, and scenario tests against the real binaries.
