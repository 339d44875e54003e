//! What to say of a virtual cluster.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;
use vcluster_resources::cluster::Phase;
use vcluster_resources::condition::{self, Observation, Reason, Status, Type};
use vcluster_resources::{VirtualCluster, VirtualClusterStatus};

use super::{Again, DOUBT, Input, RESYNC, again};
use crate::observed::Seen;
use crate::slot::Slot;

/// How soon the words about a starting pod are brought up to date at first, and how soon at last; that it is ready is
/// watched.
const STARTING: (Duration, Duration) = (Duration::from_secs(3), Duration::from_mins(1));
/// The share of the time that a condition has been so, until the words about it are brought up to date.
const SHARE: u32 = 10;
/// How soon something that only people can cure is looked at again, if no watch tells before.
const FAILED: Duration = Duration::from_secs(30);

/// Conditions that control writes; sync writes the other one.
pub(super) const OURS: [Type; 4] = [
    Type::CertificatesReady,
    Type::ControlPlaneReady,
    Type::DnsReady,
    Type::Ready,
];

/// Ranges that the status has room for.
const CIDRS: usize = 16;

/// Why something is not (yet) as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    status: Status,
    reason: Reason,
    text: String,
    /// Whether only a change by people helps.
    failed: bool,
    /// When to look again; `None` if it comes by itself.
    again: Option<Again>,
}

impl Fact {
    /// It comes by itself.
    pub(super) fn waits(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            status: Status::False,
            reason,
            text: text.into(),
            failed: false,
            again: None,
        }
    }

    /// People must do something.
    pub(super) fn failed(reason: Reason, text: String) -> Self {
        Self {
            status: Status::False,
            reason,
            text,
            failed: true,
            again: Some(Again::After(FAILED)),
        }
    }

    /// It could not be found out.
    pub(super) fn unknown(text: impl Into<String>, again: Again) -> Self {
        let (status, reason) = (Status::Unknown, Reason::Unreachable);
        Self {
            status,
            reason,
            text: text.into(),
            failed: false,
            again: Some(again),
        }
    }

    /// This one if it is a doubt, which nothing else explains; else `cause`.
    pub(super) fn if_unseen_or(self, cause: &Self) -> Self {
        match self.status {
            Status::Unknown => self,
            Status::True | Status::False => cause.clone(),
        }
    }
}

/// What is known of a virtual cluster, by condition.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) certificates: Result<(), Fact>,
    /// Whether it runs, and then whether in the wanted version.
    pub(super) control_plane: Result<bool, Fact>,
    /// Whether its DNS server answers.
    pub(super) dns: Result<(), Fact>,
    pub(super) endpoint: Option<String>,
}

impl Facts {
    /// Nothing can go on because of this.
    pub(super) fn blocked(fact: Fact) -> Self {
        Self {
            certificates: Err(fact.clone()),
            control_plane: Err(fact.clone()),
            dns: Err(fact),
            endpoint: None,
        }
    }

    /// The same, but what is only waited for is held up by this.
    pub(super) fn but(mut self, fact: &Fact) -> Self {
        let hold = |found: Fact| if found.failed { found } else { fact.clone() };
        self.certificates = self.certificates.map_err(hold);
        self.control_plane = self.control_plane.map_err(hold);
        self.dns = self.dns.map_err(hold);
        self
    }

    /// What is not as it should be, by the condition that says so.
    fn errors(&self) -> impl Iterator<Item = (Type, &Fact)> {
        [
            (Type::CertificatesReady, self.certificates.as_ref().err()),
            (Type::ControlPlaneReady, self.control_plane.as_ref().err()),
            (Type::DnsReady, self.dns.as_ref().err()),
        ]
        .into_iter()
        .filter_map(|(type_, fact)| Some((type_, fact?)))
    }

    fn first(&self) -> Option<&Fact> {
        self.errors().map(|(_, fact)| fact).next()
    }

    /// Whether something could not be seen.
    fn in_doubt(&self) -> bool {
        self.errors()
            .any(|(_, fact)| fact.status == Status::Unknown)
    }

    /// Whether all that is wrong is that something could not be seen.
    fn only_in_doubt(&self) -> bool {
        self.errors()
            .all(|(_, fact)| fact.status == Status::Unknown)
    }

    pub(super) fn again(&self, input: Input<'_>) -> Again {
        let times = self.errors().map(|(type_, fact)| {
            let by_itself = || Again::After(waits_for(input, type_));
            fact.again.unwrap_or_else(by_itself)
        });
        times.reduce(Again::or).unwrap_or(Again::After(RESYNC))
    }
}

/// How soon to look again at something that comes by itself: the later, the longer it has not come.
fn waits_for(input: Input<'_>, type_: Type) -> Duration {
    let stored = input.cluster.status.as_ref();
    let stored = stored.and_then(|status| condition::find(&status.conditions, type_));
    let lasts = stored
        .filter(|stored| stored.status == Status::False.as_str())
        .map(|stored| input.now.duration_since(stored.last_transition_time.0))
        .unwrap_or_default();
    again::share(lasts, SHARE, STARTING.0, STARTING.1)
}

/// What is stored, if something could not be seen and that has not lasted: a request that failed once is no news.
pub(super) fn unsaid(input: Input<'_>) -> Option<VirtualClusterStatus> {
    let stored = input.cluster.status.as_ref()?;
    (input.failing_for < DOUBT).then(|| stored.clone())
}

/// Whether the control plane runs, as its StatefulSet tells; then whether every pod is of the
/// newest revision.
pub(super) fn running(input: Input<'_>) -> Result<bool, Fact> {
    let live = match input.observed.slot(Slot::ControlPlane) {
        Seen::Present(live) => live,
        Seen::Absent => return Err(Fact::waits(Reason::Progressing, "the pod is to be made")),
        Seen::Unknown(doubt) => {
            let again = again::in_doubt(input, &doubt);
            return Err(Fact::unknown("the StatefulSet cannot be seen", again));
        }
    };
    let number = |path: &str| live.body.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    if number("/status/readyReplicas") < 1 {
        return Err(Fact::waits(Reason::Progressing, starting(input)));
    }
    let text = |path: &str| live.body.pointer(path).and_then(Value::as_str);
    Ok(
        number("/status/observedGeneration") >= number("/metadata/generation")
            && text("/status/currentRevision") == text("/status/updateRevision"),
    )
}

fn starting(input: Input<'_>) -> String {
    let pods = input
        .observed
        .pods
        .present()
        .map(Vec::as_slice)
        .unwrap_or_default();
    match pods.iter().find_map(|pod| pod.waits.as_deref()) {
        Some(waits) => format!("waits for the control plane: {waits}"),
        None => "waits for the control plane to start".to_owned(),
    }
}

/// The status of a cluster that is wanted.
pub(super) fn of_living(input: Input<'_>, facts: &Facts) -> VirtualClusterStatus {
    if facts.in_doubt()
        && let Some(stored) = unsaid(input)
    {
        return stored;
    }
    let previous = input.cluster.status.clone().unwrap_or_default();
    let observations = [
        observe(
            Type::CertificatesReady,
            &facts.certificates,
            "every certificate and key exists",
        ),
        observe(
            Type::ControlPlaneReady,
            &facts.control_plane,
            "the virtual API server answers",
        ),
        observe(Type::DnsReady, &facts.dns, "the DNS server answers"),
        ready(facts, &previous.conditions),
    ];
    let version = match facts.control_plane {
        Ok(true) => Some(input.cluster.spec.version.clone()),
        Ok(false) | Err(_) => previous.version.clone(),
    };
    let [.., summary] = &observations;
    VirtualClusterStatus {
        phase: Some(phase(summary, facts, previous.phase)),
        message: Some(summary.message.clone()),
        conditions: conditions(input, &observations, &previous.conditions),
        version,
        endpoint: facts.endpoint.clone().or(previous.endpoint),
        service_cidrs: service_cidrs(input).unwrap_or(previous.service_cidrs),
        dns_address: dns_address(input).or(previous.dns_address),
        observed_generation: input.cluster.metadata.generation,
    }
}

/// The host's Service ranges, if they could be seen.
fn service_cidrs(input: Input<'_>) -> Option<Vec<String>> {
    let ranges = input.observed.ranges.present()?;
    let all = ranges.all.iter().take(CIDRS);
    Some(all.map(ToString::to_string).collect())
}

fn dns_address(input: Input<'_>) -> Option<String> {
    let service = input.observed.slot(Slot::DnsService);
    let address = service.present()?.body.pointer("/spec/clusterIP")?;
    address.as_str().map(ToOwned::to_owned)
}

/// The status of a cluster that is being deleted.
pub(super) fn of_leaving(input: Input<'_>, message: &str) -> VirtualClusterStatus {
    let previous = input.cluster.status.clone().unwrap_or_default();
    let observations = OURS.map(|type_| Observation {
        type_,
        status: Status::False,
        reason: Reason::Deleting,
        message: message.to_owned(),
    });
    VirtualClusterStatus {
        phase: Some(Phase::Deleting),
        message: Some(message.to_owned()),
        conditions: conditions(input, &observations, &previous.conditions),
        observed_generation: input.cluster.metadata.generation,
        ..previous
    }
}

fn conditions(
    input: Input<'_>,
    observations: &[Observation; OURS.len()],
    previous: &[Condition],
) -> Vec<Condition> {
    // Kubernetes keeps seconds; a time with more would differ from itself when read back.
    let now = jiff::Timestamp::from_second(input.now.as_second()).unwrap_or(input.now);
    let now = Time(now);
    let generation = input.cluster.metadata.generation;
    observations
        .iter()
        .map(|o| condition::state(o, previous, generation, &now))
        .collect()
}

fn observe<T>(type_: Type, found: &Result<T, Fact>, good: &str) -> Observation {
    match found {
        Ok(_) => Observation {
            type_,
            status: Status::True,
            reason: Reason::Available,
            message: good.to_owned(),
        },
        Err(fact) => Observation {
            type_,
            status: fact.status,
            reason: fact.reason,
            message: fact.text.clone(),
        },
    }
}

/// Sums up: everything of ours, and sync's own word.
fn ready(facts: &Facts, previous: &[Condition]) -> Observation {
    if let Some(fact) = facts.first() {
        return observe::<()>(Type::Ready, &Err(fact.clone()), "");
    }
    let (status, reason, message) = match condition::find(previous, Type::SyncReady) {
        Some(sync) if sync.status == Status::True.as_str() => {
            (Status::True, Reason::Available, "ready".to_owned())
        }
        Some(sync) => (
            Status::False,
            Reason::Waiting,
            format!("waits for sync: {}", sync.message),
        ),
        None => (Status::False, Reason::Waiting, "waits for sync".to_owned()),
    };
    Observation {
        type_: Type::Ready,
        status,
        reason,
        message,
    }
}

fn phase(summary: &Observation, facts: &Facts, previous: Option<Phase>) -> Phase {
    let was_ready = match previous {
        Some(Phase::Ready | Phase::Degraded) => true,
        Some(Phase::Pending | Phase::Deleting | Phase::Failed) | None => false,
    };
    match summary.status {
        Status::True => Phase::Ready,
        // What cannot be seen has not changed for that.
        Status::Unknown if facts.only_in_doubt() => previous.unwrap_or(Phase::Pending),
        Status::False | Status::Unknown if was_ready => Phase::Degraded,
        Status::False | Status::Unknown => match facts.first() {
            Some(fact) if fact.failed => Phase::Failed,
            Some(_) | None => Phase::Pending,
        },
    }
}

/// Whether the stored status says something else than this one, sync's condition left out.
pub fn differs(cluster: &VirtualCluster, status: &VirtualClusterStatus) -> bool {
    let Some(stored) = &cluster.status else {
        return true;
    };
    let ours = |status: &VirtualClusterStatus| VirtualClusterStatus {
        conditions: OURS
            .iter()
            .filter_map(|type_| condition::find(&status.conditions, *type_).cloned())
            .collect(),
        ..status.clone()
    };
    ours(stored) != ours(status)
}
