//! Hash maps of what decides in which order things are done.
//!
//! In tests their order is always the same, so that a simulation can be repeated; in the service they are the standard
//! library's, whose order nobody outside can choose.

#[cfg(not(test))]
pub use std::collections::{HashMap, HashSet};

#[cfg(test)]
pub use same::{HashMap, HashSet};

#[cfg(test)]
mod same {
    use std::collections::{self, hash_map::DefaultHasher};
    use std::hash::BuildHasherDefault;

    type Hasher = BuildHasherDefault<DefaultHasher>;

    /// A hash map.
    pub type HashMap<K, V> = collections::HashMap<K, V, Hasher>;
    /// A hash set.
    pub type HashSet<T> = collections::HashSet<T, Hasher>;
}
