//! What to do next for one virtual cluster: a pure function of what is wanted and what was seen.
//!
//! Levels, never edges: a plan follows from the present state alone, so every crash point is a
//! restart point. The steps of a plan do not depend on each other and may run at once; what comes
//! after them is the next plan's business, made from a fresh look.
//!
//! Promises, each held by a property test:
//! - Planning what was applied gives no step, and applying plans comes to rest from any state.
//! - Once the virtual cluster is being deleted, nothing is made (but for the RoleBinding without
//!   which control could not look at what it must remove).
//! - An object that does not bear the cluster's UID is never written or deleted.
//! - Doubt deletes nothing: whatever could not be seen is left alone.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use vcluster_resources::{VirtualCluster, VirtualClusterStatus};

use crate::manifest::Wish;
use crate::observed::Observed;
use crate::pki::Credential;
use crate::slot::Slot;

mod again;
mod build;
mod notice;
mod status;
mod teardown;

pub use again::Again;
pub use notice::{Kind as NoticeKind, Notice};
pub use status::differs;

/// How long until a cluster that needs nothing is looked at again anyway.
pub const RESYNC: Duration = Duration::from_mins(10);
/// How long doubt may last until it is told: a request that failed once says nothing of the cluster.
const DOUBT: Duration = Duration::from_secs(30);

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The virtual cluster as it is stored.
    pub cluster: &'a VirtualCluster,
    /// What follows from it.
    pub wish: Wish<'a>,
    /// What was seen around it.
    pub observed: &'a Observed,
    /// How long looks and steps have failed without a success in between.
    pub failing_for: Duration,
    /// The present moment.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps, independent of each other.
    pub steps: Vec<Step>,
    /// What to say of the cluster; of the conditions, only those that are control's.
    pub status: VirtualClusterStatus,
    /// What to tell people with it, once.
    pub notices: Vec<Notice>,
    /// What to tell people when the cluster was let go.
    pub last_words: Option<Notice>,
    /// When to look again if nothing happens before.
    pub again: Again,
}

/// One change to the host cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Guard the virtual cluster against vanishing before its objects.
    AddFinalizer,
    /// Let the virtual cluster go.
    RemoveFinalizer,
    /// Note that the namespace was made for this very cluster.
    ClaimNamespace {
        /// UID of the namespace.
        uid: String,
    },
    /// Make the roots of trust; never replaces any.
    MintRoots,
    /// Remove the roots of trust.
    DeleteRoots {
        /// UID of their Secret.
        uid: String,
    },
    /// Make the Service at a free address.
    AllocateAddress,
    /// Make an object, or repair it.
    Apply {
        /// Which.
        slot: Slot,
        /// How it should be.
        body: Value,
        /// UID of the object to repair; without it there must be none.
        over: Option<String>,
    },
    /// Make a Secret, or repair it.
    Mint {
        /// Which.
        credential: Credential,
        /// UID of the Secret to repair; without it there must be none.
        over: Option<String>,
    },
    /// Remove an object, and wait for what it owns.
    Delete {
        /// Which.
        slot: Slot,
        /// Its UID.
        uid: String,
    },
    /// Remove a control-plane pod that its StatefulSet left behind.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Find out what else is in the namespace.
    Survey,
    /// Remove the namespace.
    DeleteNamespace {
        /// Its UID.
        uid: String,
    },
}

impl Step {
    /// Short name, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "add_finalizer",
            Self::RemoveFinalizer => "remove_finalizer",
            Self::ClaimNamespace { .. } => "claim_namespace",
            Self::MintRoots => "mint_roots",
            Self::DeleteRoots { .. } => "delete_roots",
            Self::AllocateAddress => "allocate_address",
            Self::Apply { .. } => "apply",
            Self::Mint { .. } => "mint",
            Self::Delete { .. } => "delete",
            Self::DeletePod { .. } => "delete_pod",
            Self::Survey => "survey",
            Self::DeleteNamespace { .. } => "delete_namespace",
        }
    }
}

/// Plans.
pub fn plan(input: Input<'_>) -> Plan {
    if input.cluster.metadata.deletion_timestamp.is_some() {
        teardown::plan(input)
    } else {
        build::plan(input)
    }
}

fn has_finalizer(cluster: &VirtualCluster, finalizer: &str) -> bool {
    cluster
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|found| found == finalizer)
}

#[cfg(test)]
mod tests;
