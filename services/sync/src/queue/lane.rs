//! How urgent a key is, and the share that each urgency gets.

/// Why a key is looked at; the more urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Something has changed.
    Live,
    /// It was in a list.
    List,
    /// The scan found it.
    Scan,
}

/// Lanes.
pub(super) const COUNT: usize = 3;

impl Lane {
    /// Place in an array of lanes.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Live => 0,
            Self::List => 1,
            Self::Scan => 2,
        }
    }
}

/// In which order the lanes are looked at on a tenant's `turn`: one turn of eight prefers lists and one
/// of sixteen the scan, so that neither waits for ever behind live events.
pub(super) fn order(turn: u64) -> [Lane; COUNT] {
    match turn % 16 {
        7 => [Lane::List, Lane::Live, Lane::Scan],
        15 => [Lane::Scan, Lane::List, Lane::Live],
        _ => [Lane::Live, Lane::List, Lane::Scan],
    }
}
