//! Translation between virtual clusters and their host namespaces.
