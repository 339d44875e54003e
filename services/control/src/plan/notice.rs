//! What to tell people, once: an Event per change of a condition, never one per look.

use vcluster_resources::VirtualClusterStatus;
use vcluster_resources::cluster::Phase;
use vcluster_resources::condition::{self, Status, Type};

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As expected.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How grave it is.
    pub kind: Kind,
    /// In one CamelCase word.
    pub reason: &'static str,
    /// In a sentence.
    pub note: String,
}

/// What has changed from the stored status to the new one.
pub(super) fn between(
    stored: Option<&VirtualClusterStatus>,
    status: &VirtualClusterStatus,
) -> Vec<Notice> {
    let empty = VirtualClusterStatus::default();
    let stored = stored.unwrap_or(&empty);
    let mut notices: Vec<Notice> = [
        Type::CertificatesReady,
        Type::ControlPlaneReady,
        Type::DnsReady,
        Type::Ready,
    ]
    .into_iter()
    .filter(|type_| became_true(stored, status, *type_))
    .filter_map(|type_| {
        let note = condition::find(&status.conditions, type_)?.message.clone();
        Some(Notice {
            kind: Kind::Normal,
            reason: type_.as_str(),
            note,
        })
    })
    .collect();
    if stored.phase != status.phase {
        notices.extend(entered(status));
    }
    notices
}

fn became_true(stored: &VirtualClusterStatus, status: &VirtualClusterStatus, type_: Type) -> bool {
    condition::is_true(&status.conditions, type_) && !condition::is_true(&stored.conditions, type_)
}

/// A phase that people should hear about when it begins.
fn entered(status: &VirtualClusterStatus) -> Option<Notice> {
    let note = status.message.clone().unwrap_or_default();
    match status.phase {
        Some(Phase::Failed) => Some(Notice {
            kind: Kind::Warning,
            reason: why(status),
            note,
        }),
        Some(Phase::Degraded) => Some(Notice {
            kind: Kind::Warning,
            reason: "Degraded",
            note,
        }),
        Some(Phase::Deleting) => Some(Notice {
            kind: Kind::Normal,
            reason: "Deleting",
            note,
        }),
        Some(Phase::Pending | Phase::Ready) | None => None,
    }
}

/// The reason of the summary, as one of the words that exist.
fn why(status: &VirtualClusterStatus) -> &'static str {
    use condition::Reason;
    let reasons = [
        Reason::HostNamespaceNotEnabled,
        Reason::HostNamespaceOccupied,
        Reason::ObjectConflict,
        Reason::AuthorityLost,
        Reason::Refused,
    ];
    let summary = condition::find(&status.conditions, Type::Ready)
        .filter(|summary| summary.status != Status::True.as_str());
    reasons
        .into_iter()
        .map(Reason::as_str)
        .find(|reason| summary.is_some_and(|summary| summary.reason == *reason))
        .unwrap_or("Failed")
}
