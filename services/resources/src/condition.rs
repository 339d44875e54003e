//! Conditions of a VirtualCluster: their types and reasons, and how one replaces another.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Type of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// Every certificate and key exists.
    CertificatesReady,
    /// The virtual API server answers, and the controller-manager runs.
    ControlPlaneReady,
    /// The virtual cluster's DNS server answers.
    DnsReady,
    /// Sync has listed both sides and follows them. Written by sync.
    SyncReady,
    /// Every rule for custom resources is followed. Written by sync, where there are rules.
    CustomResourcesReady,
    /// All of the above but the last.
    Ready,
}

impl Type {
    /// Every type, in the order in which they come true.
    pub const ALL: [Self; 6] = [
        Self::CertificatesReady,
        Self::ControlPlaneReady,
        Self::DnsReady,
        Self::SyncReady,
        Self::CustomResourcesReady,
        Self::Ready,
    ];

    /// Name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificatesReady => "CertificatesReady",
            Self::ControlPlaneReady => "ControlPlaneReady",
            Self::DnsReady => "DNSReady",
            Self::SyncReady => "SyncReady",
            Self::CustomResourcesReady => "CustomResourcesReady",
            Self::Ready => "Ready",
        }
    }
}

/// Whether the fact holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It could not be found out.
    Unknown,
}

impl Status {
    /// Value in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why a condition is as it is, in one CamelCase word that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The fact holds.
    Available,
    /// Work is under way and expected to succeed.
    Progressing,
    /// Another condition must come true first.
    Waiting,
    /// The host namespace lacks the label `vcluster.dev/host=true`.
    HostNamespaceNotEnabled,
    /// The host namespace already has another virtual cluster.
    HostNamespaceOccupied,
    /// An object of the needed name exists and is not ours.
    ObjectConflict,
    /// A certificate authority is missing or cannot be read, while what it signed exists. It is
    /// never replaced silently: everybody who trusts it would be cut off.
    AuthorityLost,
    /// The host cluster refused a write.
    Refused,
    /// The fact holds, but for objects of `spec.sync` that cannot be mapped; the message says why.
    MappingsWaiting,
    /// The fact holds, but objects with data lie on the host that the virtual cluster's store lacks, since a person
    /// accepted that store; the message names them.
    ObjectsKept,
    /// The other side cannot be reached.
    Unreachable,
    /// The other side can be reached, and fails or does not answer in time.
    Unresponsive,
    /// The fact holds, but there is more to do than the allowance is for; the message says of what.
    Throttled,
    /// The virtual cluster's store is another one than it was, as after the loss of its volume. Nothing is changed
    /// or deleted until a person decides; the message says how.
    StoreReplaced,
    /// The virtual cluster's store was put back to an older state. Nothing is changed or deleted until a person
    /// decides; the message says how.
    StoreRolledBack,
    /// The virtual cluster is being deleted.
    Deleting,
}

impl Reason {
    /// Word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Waiting => "Waiting",
            Self::HostNamespaceNotEnabled => "HostNamespaceNotEnabled",
            Self::HostNamespaceOccupied => "HostNamespaceOccupied",
            Self::ObjectConflict => "ObjectConflict",
            Self::AuthorityLost => "AuthorityLost",
            Self::Refused => "Refused",
            Self::MappingsWaiting => "MappingsWaiting",
            Self::ObjectsKept => "ObjectsKept",
            Self::Unreachable => "Unreachable",
            Self::Unresponsive => "Unresponsive",
            Self::Throttled => "Throttled",
            Self::StoreReplaced => "StoreReplaced",
            Self::StoreRolledBack => "StoreRolledBack",
            Self::Deleting => "Deleting",
        }
    }
}

/// What a service says of one fact; the time is added when it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Which fact.
    pub type_: Type,
    /// Whether it holds.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// Why, in a sentence for people.
    pub message: String,
}

/// Whether `conditions` say that `type_` is true.
pub fn is_true(conditions: &[Condition], type_: Type) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == Status::True.as_str())
}

/// The condition of that type.
pub fn find(conditions: &[Condition], type_: Type) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// The condition that states `observation`, made at `now` of an object of this `generation`. Its
/// transition time is that of `previous` unless the status changed.
pub fn state(
    observation: &Observation,
    previous: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Condition {
    let status = observation.status.as_str();
    let since = find(previous, observation.type_)
        .filter(|c| c.status == status)
        .map_or_else(|| now.clone(), |c| c.last_transition_time.clone());
    Condition {
        type_: observation.type_.as_str().to_owned(),
        status: status.to_owned(),
        reason: observation.reason.as_str().to_owned(),
        message: observation.message.clone(),
        observed_generation: generation,
        last_transition_time: since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(status: Status) -> Observation {
        Observation {
            type_: Type::Ready,
            status,
            reason: Reason::Available,
            message: String::new(),
        }
    }

    fn at(second: i64) -> Time {
        serde_json::from_value(serde_json::json!(format!("2026-01-01T00:00:{second:02}Z"))).unwrap()
    }

    #[test]
    fn transition_time_is_kept_while_the_status_stays() {
        let first = state(&observation(Status::True), &[], Some(1), &at(1));
        let second = state(
            &observation(Status::True),
            std::slice::from_ref(&first),
            Some(2),
            &at(2),
        );
        assert_eq!(second.last_transition_time, first.last_transition_time);
        assert_eq!(second.observed_generation, Some(2));
    }

    #[test]
    fn transition_time_moves_when_the_status_changes() {
        let first = state(&observation(Status::True), &[], Some(1), &at(1));
        let second = state(&observation(Status::False), &[first], Some(1), &at(2));
        assert_eq!(second.last_transition_time, at(2));
    }
}
