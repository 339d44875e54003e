//! What to do next about one object, from what was seen of it on both sides.
//!
//! A decision is one step. The engine does it, looks again and asks again, until the answer is
//! [`Action::Nothing`] or a wait for somebody else; the order in which it sees things does not
//! matter to where that ends.
//!
//! Promises, whatever is seen:
//! - What is not ours by its annotations is neither changed nor deleted.
//! - Absence counts only under [`Knowledge::Complete`]: with less, an object that was not seen is
//!   taken for one that may be there.
//! - Every delete and patch names the UID of the very object that was seen.
//!
//! *Complete* demands a consistent list (`resourceVersion` unset) of that kind on both sides and a
//! living watch since. A list from an API server's cache may show the past, in which a new object
//! looks like one that is gone.

mod from_host;
mod made_by_host;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod shown;
mod to_host;

pub use from_host::from_host;
pub use made_by_host::{MadeView, made_by_host};
pub use node::node;
pub use persistent_volume::{VolumeView, persistent_volume};
pub use persistent_volume_claim::{ClaimView, persistent_volume_claim};
pub use pod::{PodView, pod, token_secret};
pub use shown::{ShownView, shown};
pub use to_host::{View, to_host};

use std::fmt;

use crate::{Patch, Refusal, pod::Binding};

/// How much is known of what exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knowledge {
    /// Both sides are completely listed and followed: what was not seen does not exist.
    Complete,
    /// Not yet, or no longer.
    Partial,
}

/// The next step. `T` is what is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<T> {
    /// Both sides are as they should be.
    Nothing,
    /// Nothing until somebody else has done something.
    Wait(Waiting),
    /// It cannot be; the tenant is to be told why.
    Refuse(Refusal),
    /// Create it: on the host, or inside the virtual cluster for a kind that comes from the host.
    Create(T),
    /// Change the host object.
    PatchHost(Patch),
    /// Change the virtual object, mostly its status.
    PatchVirtual(Patch),
    /// Bind the virtual pod to its node.
    Bind(Binding),
    /// Delete the host object.
    DeleteHost(Delete),
    /// Delete the virtual object.
    DeleteVirtual(Delete),
}

/// For whom to wait. The object comes up again by itself when they have done it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// For the lists of both sides.
    Lists,
    /// For the pod's scheduling gates, by name.
    Gates(Vec<String>),
    /// For the ResourceClaims that are to be made for the pod, by their entries.
    Claims(Vec<String>),
    /// For an earlier host object of that name to be gone.
    Predecessor,
    /// For the host object's containers to end, or for those who still use it.
    Termination,
    /// For the volume of a claim to be shown.
    Volume,
}

impl Waiting {
    /// Word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lists => "Lists",
            Self::Gates(_) => "SchedulingGates",
            Self::Claims(_) => "ResourceClaims",
            Self::Predecessor => "Predecessor",
            Self::Termination => "Termination",
            Self::Volume => "Volume",
        }
    }
}

/// For the person who made the object.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lists => f.write_str(
                "not everything of its kind, or of the kinds that use it, is known on both sides yet: it is not touched \
                 before",
            ),
            Self::Gates(gates) => write!(
                f,
                "its scheduling gates are not gone: {} (spec.schedulingGates)",
                gates.join(", ")
            ),
            Self::Claims(entries) => write!(
                f,
                "the ResourceClaims of its entries {} are not made yet (spec.resourceClaims)",
                entries.join(", ")
            ),
            Self::Predecessor => f.write_str(
                "an earlier object of this name is still ending on the host: this one follows when it is gone",
            ),
            Self::Termination => f.write_str(
                "its host object is ending: its containers, or those who still use it, are not done yet",
            ),
            Self::Volume => f.write_str("the volume of this claim is not shown inside yet"),
        }
    }
}

/// A delete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Precondition: the object's UID.
    pub uid: String,
    /// `gracePeriodSeconds`; the object's own if none.
    pub grace_seconds: Option<i64>,
    /// Why, for logs and the tenant's Event.
    pub cause: Cause,
}

/// Why something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The virtual object is being deleted.
    Deleting,
    /// The virtual object is gone, or another took its name.
    Orphan,
    /// The host object is being deleted by the host: drained, preempted, tainted.
    HostDeletes,
    /// The host object is gone.
    HostGone,
    /// The virtual pod was bound to another node than its host pod runs on.
    NodeDiffers,
    /// It must be made again, as it cannot be changed.
    Replace,
    /// Nothing uses it, or it does not belong on the host any more.
    Unused,
}

impl Cause {
    /// Word for programs, such as the reason of an Event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleting => "Deleting",
            Self::Orphan => "Orphan",
            Self::HostDeletes => "HostDeletes",
            Self::HostGone => "HostGone",
            Self::NodeDiffers => "NodeDiffers",
            Self::Replace => "Replace",
            Self::Unused => "Unused",
        }
    }
}

#[cfg(test)]
mod tests;
