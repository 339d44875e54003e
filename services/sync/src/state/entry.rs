//! What is known of one object, on both sides.

use std::sync::Arc;

use tokio::time::Instant;

use crate::object::Side;

/// One object on both sides.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// In the virtual cluster.
    pub virtual_: Slot,
    /// On the host.
    pub host: Slot,
    /// Why it is not as it should be, if so.
    pub problem: Option<Problem>,
    /// When the tenant was last told of the problem.
    pub(super) told: Option<Instant>,
    /// The versions of both sides for which there was nothing left to do.
    pub(super) settled: Option<Versions>,
    /// W3C traceparent that its maker left on it.
    pub traceparent: Option<Box<str>>,
    pub(super) host_name: Option<Arc<str>>,
    /// Generation of the virtual object's spec of which is known what it refers to.
    pub(super) referred: Option<i64>,
}

/// What is known of an object on one side.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// The newest version seen; nothing if it is not there.
    pub seen: Option<Seen>,
    /// Read it before concluding anything.
    pub doubted: bool,
    /// It was missing from a list.
    pub missing: bool,
    /// It was read and is not there, or its end was seen: more than that nobody told of it.
    pub absence: Option<Absence>,
}

/// How an object that is not there came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It was being deleted when it was last seen: somebody wanted that.
    Deleted,
    /// That is not known, or it never was there.
    Unexplained,
}

/// Versions of both sides; nothing where the object is not there.
type Versions = (Option<u64>, Option<u64>);

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// UID.
    pub uid: Box<str>,
    /// Resource version; `None` if it is not a number.
    pub version: Option<u64>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Why an object is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In one word.
    pub reason: String,
    /// In a sentence, for the tenant.
    pub message: String,
}

impl Entry {
    /// One side of it.
    pub fn slot(&self, side: Side) -> &Slot {
        match side {
            Side::Virtual => &self.virtual_,
            Side::Host => &self.host,
        }
    }

    pub(super) fn slot_mut(&mut self, side: Side) -> &mut Slot {
        match side {
            Side::Virtual => &mut self.virtual_,
            Side::Host => &mut self.host,
        }
    }

    pub(super) fn versions(&self) -> Versions {
        let version = |slot: &Slot| slot.seen.as_ref().and_then(|seen| seen.version);
        (version(&self.virtual_), version(&self.host))
    }

    /// Whether it is on neither side.
    pub fn is_gone(&self) -> bool {
        self.virtual_.seen.is_none() && self.host.seen.is_none()
    }
}
