//! Why an object is as it is on the other side: the answer to `Explain`, from what is known of it.
//!
//! A decision without I/O. What the last work on its key ended with comes first, then what is plain from the object
//! and the rules of its kind; only what neither explains is said to be waiting for its turn.

use serde_json::Value;
use vcluster_translate::kind::{Bespoke, Need, Translation};
use vcluster_translate::own_class::{self, Class};
use vcluster_translate::{Context, Kind, mapping, mirror, policy};

use crate::hold::{By, Hold};
use crate::metrics::State;
use crate::queue::Place;

#[cfg(test)]
mod tests;

/// How an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Both sides are as they should be.
    Synced,
    /// Something must happen first.
    Waiting,
    /// It will not be synced as it stands.
    Refused,
    /// The last try failed, and is repeated.
    Failing,
    /// It has no other side, and nothing is wrong.
    NotSynced,
    /// Nothing is done for its virtual cluster at the moment.
    Frozen,
    /// It is not in the virtual cluster.
    Unknown,
}

/// Why an object is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it stands.
    pub standing: Standing,
    /// Why, in one word for programs.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub message: String,
    /// Who refuses it.
    pub by: Option<By>,
    /// The field that is refused, as a path in the virtual object; may be empty.
    pub field: String,
}

/// What is known of an object.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its virtual name.
    pub name: &'a str,
    /// What translations know of its virtual cluster.
    pub context: &'a Context,
    /// How its virtual cluster is served.
    pub tenant: (State, String),
    /// The object inside.
    pub inside: Inside<'a>,
    /// Whether its virtual namespace is there; of an object without one, yes.
    pub namespace: Namespace,
    /// What the last work on it ended with.
    pub hold: Option<Hold>,
    /// Where it is in the queue.
    pub place: Option<Place>,
    /// Whether its host object is there.
    pub on_host: bool,
    /// Whether nothing is left to do, and nothing has changed since.
    pub settled: bool,
    /// Whether something uses it.
    pub used: bool,
}

/// An object of the virtual cluster.
#[derive(Debug, Clone, Copy)]
pub enum Inside<'a> {
    /// It is there.
    There(&'a Value),
    /// It is not there.
    Absent,
    /// That is not known, for this reason.
    Unknown(&'a str),
}

/// A virtual namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// It is there.
    There,
    /// It is being deleted.
    Terminating,
    /// It is not there.
    Absent,
}

/// Which side an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The virtual cluster: it goes to the host.
    Inside,
    /// The host: it is shown inside.
    Host,
    /// It is told inside, once.
    Told,
    /// It is only read.
    Read,
}

/// Which side objects of a kind come from.
pub fn origin(kind: Kind) -> Origin {
    match &kind.description().translation {
        Translation::ToHost(_) => Origin::Inside,
        Translation::FromHost(_) => Origin::Host,
        Translation::ReadOnly => Origin::Read,
        Translation::Bespoke(rules) => match rules {
            Bespoke::Pod | Bespoke::PersistentVolumeClaim => Origin::Inside,
            Bespoke::Node | Bespoke::PersistentVolume | Bespoke::Shown => Origin::Host,
            Bespoke::Event => Origin::Told,
        },
    }
}

/// Why an object is as it is.
pub fn explain(facts: &Facts<'_>) -> Answer {
    let answer = by_kind(facts)
        .or_else(|| by_tenant(facts))
        .or_else(|| by_hold(facts));
    answer.unwrap_or_else(|| match origin(facts.kind) {
        Origin::Host => shown(facts),
        Origin::Inside | Origin::Told | Origin::Read => translated(facts),
    })
}

/// The answer about a kind that nobody syncs, which the virtual cluster has, or not, or nobody knows.
pub fn unknown_kind(text: &str, is_there: Option<bool>, context: &Context) -> Answer {
    let rules = &context.policy.custom_resources;
    let ruled = rules.iter().find(|rule| {
        let text = text.to_ascii_lowercase();
        rule.definition() == text || rule.plural == text
    });
    if let Some(rule) = ruled {
        return Answer::new(
            Standing::Refused,
            "RuleNotFollowed",
            format!(
                "the rule of spec.sync for {} is not followed: the condition CustomResourcesReady of the VirtualCluster \
                 says why",
                rule.definition()
            ),
        );
    }
    if is_there == Some(false) {
        return Answer::new(
            Standing::Unknown,
            "NoSuchKind",
            format!(
                "the virtual cluster has no kind {text:?}: name a kind as kubectl does, such as pod, pods, po or \
                 ingresses.networking.k8s.io; `kubectl api-resources` lists those that it has"
            ),
        );
    }
    let kinds = context
        .kinds()
        .filter(|kind| matches!(origin(*kind), Origin::Inside | Origin::Host));
    let names: Vec<_> = kinds.map(Kind::as_str).collect();
    Answer::new(
        Standing::NotSynced,
        "KindNotSynced",
        format!(
            "objects of kind {text:?} stay inside the virtual cluster; what its controllers make of them is synced if \
             its kind is one of {}",
            names.join(", ")
        ),
    )
}

impl Answer {
    /// An answer that names no refusal.
    pub fn new(standing: Standing, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            standing,
            reason,
            message: message.into(),
            by: None,
            field: String::new(),
        }
    }
}

fn by_kind(facts: &Facts<'_>) -> Option<Answer> {
    let plural = facts.kind.plural();
    match origin(facts.kind) {
        Origin::Inside | Origin::Host => None,
        Origin::Told => Some(Answer::new(
            Standing::NotSynced,
            "OnlyTold",
            format!(
                "{plural} inside stay inside; those of the host about synced objects are told inside as new ones"
            ),
        )),
        Origin::Read => Some(Answer::new(
            Standing::NotSynced,
            "OnlyRead",
            format!("{plural} are only read: nothing of them is made on the host"),
        )),
    }
}

fn by_tenant(facts: &Facts<'_>) -> Option<Answer> {
    let (state, message) = &facts.tenant;
    let (standing, reason) = match state {
        State::Synced => return None,
        State::Starting => (Standing::Waiting, "TenantStarting"),
        State::Frozen => (Standing::Frozen, "TenantFrozen"),
        State::Draining => (Standing::Waiting, "TenantDraining"),
    };
    Some(Answer::new(standing, reason, message.clone()))
}

fn by_hold(facts: &Facts<'_>) -> Option<Answer> {
    // What is gone inside may still be held by what ends on the host.
    if matches!(facts.inside, Inside::Absent) && !facts.on_host {
        return None;
    }
    Some(match facts.hold.clone()? {
        Hold::Waits { reason, message } => Answer::new(Standing::Waiting, reason, message),
        Hold::Failed { message } => Answer::new(Standing::Failing, "Failed", message),
        Hold::Refused {
            by,
            reason,
            field,
            message,
        } => Answer {
            standing: Standing::Refused,
            reason,
            message,
            by: Some(by),
            field,
        },
    })
}

/// An object that the host has and that is shown inside.
fn shown(facts: &Facts<'_>) -> Answer {
    let plural = facts.kind.plural();
    match facts.inside {
        Inside::There(object) if mirror::is_ours(object, facts.context) => {
            if facts.settled && !is_due(facts) {
                synced(facts)
            } else {
                waits(facts)
            }
        }
        Inside::There(_) => Answer::new(Standing::NotSynced, "OwnObject", own(facts)),
        Inside::Absent if facts.on_host => Answer::new(
            Standing::NotSynced,
            "NotShown",
            format!(
                "the host has it, and it is not shown: by spec.sync.fromHost.{plural}, or because nothing of this \
                 virtual cluster needs it"
            ),
        ),
        Inside::Absent => Answer::new(
            Standing::Unknown,
            "NotFound",
            format!(
                "neither the virtual cluster nor the host has it ({plural} come from the host)"
            ),
        ),
        Inside::Unknown(why) => unreadable(why),
    }
}

/// What there is to say of an object of the virtual cluster's own, of a kind that comes from the host.
fn own(facts: &Facts<'_>) -> String {
    let plural = facts.kind.plural();
    let class = Class::ALL.into_iter().find(|of| of.kind() == facts.kind);
    match class.map(|of| own_class::is_asked_for(of, facts.context)) {
        None => format!("it is the virtual cluster's own: {plural} come from the host"),
        Some(false) => format!(
            "it is the virtual cluster's own, and counts inside only: {plural} come from the host, and own ones go \
             there only with spec.sync.toHost.{plural} (enabled: true), as far as the host's administrator allows"
        ),
        Some(true) => format!(
            "it is the virtual cluster's own: it goes to the host by spec.sync.toHost.{plural}, as far as the host's \
             administrator allows; an Event on it says if it may not"
        ),
    }
}

/// Whether a look at it is due: a change on the host is not of its versions.
fn is_due(facts: &Facts<'_>) -> bool {
    facts
        .place
        .is_some_and(|place| place.in_work || place.waits_since.is_some() || place.failures > 0)
}

/// An object that goes to the host.
fn translated(facts: &Facts<'_>) -> Answer {
    let object = match facts.inside {
        Inside::There(object) => object,
        Inside::Absent => return absent(facts),
        Inside::Unknown(why) => return unreadable(why),
    };
    let stays = stays(facts, object);
    match (facts.on_host, facts.settled, stays) {
        (false, _, Some(answer)) => answer,
        (true, true, _) => synced(facts),
        (true | false, _, _) => waits(facts),
    }
}

fn absent(facts: &Facts<'_>) -> Answer {
    if facts.on_host {
        return Answer::new(
            Standing::Waiting,
            "BeingRemoved",
            "it is gone from the virtual cluster, and is being removed from the host",
        );
    }
    let message = if facts.namespace == Namespace::Absent {
        "the virtual cluster has no such namespace".to_owned()
    } else {
        format!(
            "the virtual cluster has no {} {:?} there",
            facts.kind, facts.name
        )
    };
    Answer::new(Standing::Unknown, "NotFound", message)
}

fn unreadable(why: &str) -> Answer {
    let message = format!("it cannot be read in the virtual cluster: {why}");
    Answer::new(Standing::Failing, "Unreadable", message)
}

/// Why an object has no counterpart on the host, if that is as it should be.
fn stays(facts: &Facts<'_>, object: &Value) -> Option<Answer> {
    let not_synced =
        |reason, message: String| Some(Answer::new(Standing::NotSynced, reason, message));
    if let Some(from) = mapping::mapped_from(object, facts.context) {
        let plural = facts.kind.plural();
        let message = format!(
            "it is shown from the host's {from} by a mapping of spec.sync.fromHost.{plural}"
        );
        return not_synced("Mapped", message);
    }
    if mirror::is_ours(object, facts.context) {
        let message = "sync itself made it inside; it has no translation on the host".to_owned();
        return not_synced("MadeBySync", message);
    }
    if let Err(refusal) = policy::admits(facts.kind, object, facts.context) {
        return Some(Answer {
            by: Some(By::Policy),
            field: refusal.field,
            ..Answer::new(Standing::Refused, refusal.reason.as_str(), refusal.message)
        });
    }
    if facts.kind.description().need == Need::Used && !facts.used {
        let plural = facts.kind.plural();
        let message = format!("{plural} are on the host only while an object there uses them");
        return not_synced("NotUsed", message);
    }
    let wanted = match &facts.kind.description().translation {
        Translation::ToHost(rules) => (rules.wanted)(object, facts.context),
        Translation::FromHost(_) | Translation::Bespoke(_) | Translation::ReadOnly => true,
    };
    if !wanted {
        return not_synced("NotNeeded", not_needed(facts.kind));
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let phase = text("/status/phase").filter(|_| facts.kind == Kind::Pod);
    if matches!(phase, Some("Succeeded" | "Failed")) {
        let message = "its containers have ended, and its host pod is gone".to_owned();
        return not_synced("Finished", message);
    }
    if text("/metadata/deletionTimestamp").is_some() {
        let message = "it is being deleted: a finalizer keeps it inside".to_owned();
        return not_synced("BeingDeleted", message);
    }
    match facts.namespace {
        Namespace::Terminating => {
            let message = "its namespace is being deleted inside".to_owned();
            not_synced("NamespaceTerminating", message)
        }
        Namespace::There | Namespace::Absent => None,
    }
}

/// Why objects of a kind may need no counterpart on the host.
fn not_needed(kind: Kind) -> String {
    if kind == Kind::Service {
        return "it needs no Service on the host: it is of type ExternalName, leads to the virtual API server or the DNS \
                server, or is the host's own"
            .to_owned();
    }
    if kind == Kind::EndpointSlice {
        return "the host makes its own from the Service's selector, or it leads to no Service"
            .to_owned();
    }
    if kind == Kind::PodDisruptionBudget {
        return "the virtual cluster's controller has not counted its pods yet (status.observedGeneration)".to_owned();
    }
    format!(
        "{} like this one have no counterpart on the host",
        kind.plural()
    )
}

fn synced(facts: &Facts<'_>) -> Answer {
    let message = match origin(facts.kind) {
        Origin::Host => "it is shown as the host has it",
        Origin::Inside | Origin::Told | Origin::Read => "both sides are as they should be",
    };
    Answer::new(Standing::Synced, "Synced", message)
}

/// Nothing explains it but that its turn has not come.
fn waits(facts: &Facts<'_>) -> Answer {
    let message = match facts.place {
        Some(place) if place.in_work => "it is being worked on",
        Some(place) if place.waits_since.is_some() => "it waits for its turn",
        Some(place) if place.failures > 0 => {
            "its last tries failed, and it is tried again; too many objects wait to keep the reason of each"
        }
        Some(_) => "it is looked at again later",
        None => "nothing is known to hold it: it is looked at now",
    };
    Answer::new(Standing::Waiting, "Queued", message)
}
