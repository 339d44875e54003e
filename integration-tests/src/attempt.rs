//! A table of what somebody tries inside a virtual cluster, and what becomes of it.
//!
//! Every row is tried, and all that turned out otherwise are told at once.

use std::fmt::Write as _;

use serde_json::Value;

use crate::eventually::{DEADLINE, in_time};
use crate::{Tenant, host};

/// One row.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What is tried.
    pub what: &'static str,
    /// The object that is created, in the namespace `default` if it has one.
    pub object: Value,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of an object.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The virtual API server refuses it with these words.
    Refused(Vec<&'static str>),
    /// It stays inside, and an Event on it says these words.
    Told(Vec<&'static str>),
    /// It stays inside: nothing of it is on the host.
    StaysInside,
    /// It is harmless on the host: this is said of its translation.
    Harmless(Vec<Fact>),
}

/// What is said of an object of the host.
#[derive(Debug, Clone)]
pub enum Fact {
    /// At this JSON pointer there is this value; null stands for nothing.
    Is(&'static str, Value),
    /// This text is nowhere in it.
    Lacks(String),
}

/// Tries every row, and fails with those that turned out otherwise.
#[track_caller]
pub fn try_all(tenant: &Tenant, attempts: &[Attempt]) {
    let mut wrong = String::new();
    let mut note = |attempt: &Attempt, found: Result<(), String>| {
        if let Err(found) = found {
            // Writing to a String does not fail.
            let _ = writeln!(wrong, "- {}: {found}", attempt.what);
        }
    };
    // All of them first, so that sync works on them while we look at the first ones.
    for attempt in attempts {
        note(attempt, create(tenant, attempt));
    }
    // What leaves no trace comes last: by then sync has come to the rows that do.
    let (unseen, seen): (Vec<_>, Vec<_>) = attempts.iter().partition(|attempt| is_unseen(attempt));
    for attempt in seen.into_iter().chain(unseen) {
        note(attempt, judge(tenant, attempt));
    }
    assert!(wrong.is_empty(), "not as the table says:\n{wrong}");
}

fn create(tenant: &Tenant, attempt: &Attempt) -> Result<(), String> {
    let output = tenant
        .kubectl("create -f -")
        .input(attempt.object.to_string())
        .run();
    match &attempt.outcome {
        Outcome::Refused(words) => {
            let said = words.iter().all(|word| output.stderr.contains(word));
            (!output.succeeded() && said)
                .then_some(())
                .ok_or_else(|| format!("should have been refused with {words:?}: {output}"))
        }
        Outcome::Told(_) | Outcome::StaysInside | Outcome::Harmless(_) => output
            .succeeded()
            .then_some(())
            .ok_or_else(|| format!("could not be made: {output}")),
    }
}

fn judge(tenant: &Tenant, attempt: &Attempt) -> Result<(), String> {
    match &attempt.outcome {
        Outcome::Refused(_) => absent(tenant, &attempt.object),
        Outcome::StaysInside => {
            decided(tenant, attempt)?;
            absent(tenant, &attempt.object)
        }
        Outcome::Told(words) => {
            told(tenant, attempt, words)?;
            absent(tenant, &attempt.object)
        }
        Outcome::Harmless(facts) => {
            let made = in_time("is on the host", DEADLINE, || {
                translation(tenant, &attempt.object).ok_or("nothing of that name")
            })?;
            facts.iter().try_for_each(|fact| fact.holds(&made))
        }
    }
}

fn is_unseen(attempt: &Attempt) -> bool {
    match attempt.outcome {
        Outcome::StaysInside => true,
        Outcome::Refused(_) | Outcome::Told(_) | Outcome::Harmless(_) => false,
    }
}

/// Waits until sync says that it is not synced, or refused: before that its absence says nothing.
fn decided(tenant: &Tenant, attempt: &Attempt) -> Result<(), String> {
    let kind = attempt.object["kind"].as_str().unwrap_or_default();
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let args = format!(
        "explain {kind}/{} -n default --cluster {name} --host-namespace {namespace} -o json",
        host::name(&attempt.object)
    );
    in_time("is decided about", DEADLINE, || {
        let answer = tenant.host().vcluster(&args).json();
        let state = answer["state"].as_str().unwrap_or_default();
        matches!(state, "NotSynced" | "Refused")
            .then_some(())
            .ok_or(answer)
    })
}

fn told(tenant: &Tenant, attempt: &Attempt, words: &[&str]) -> Result<(), String> {
    let name = host::name(&attempt.object);
    let kind = attempt.object["kind"].as_str().unwrap_or_default();
    // An object without a namespace has its Events in this one too.
    let args = format!(
        "get events -n default --field-selector=involvedObject.kind={kind},involvedObject.name={name} -o json"
    );
    in_time("an Event tells", DEADLINE, || {
        let events = host::items(&tenant.kubectl(&args).json());
        let said: Vec<String> = events
            .iter()
            .map(|event| format!("{}: {}", event["reason"], event["message"]))
            .collect();
        let fits = |said: &String| words.iter().all(|word| said.contains(word));
        said.iter()
            .any(fits)
            .then_some(())
            .ok_or_else(|| format!("{words:?} not in {said:?}"))
    })
}

fn absent(tenant: &Tenant, object: &Value) -> Result<(), String> {
    match translation(tenant, object) {
        None => Ok(()),
        Some(found) => Err(format!("is on the host: {found}")),
    }
}

/// The host object that was made for a virtual one, which must name its kind, by its annotations.
pub fn translation(tenant: &Tenant, object: &Value) -> Option<Value> {
    let kind = object["kind"].as_str()?;
    let args = format!("-n {} {kind}", tenant.namespace);
    tenant.host().list(&args).into_iter().find(|found| {
        let notes = &found["metadata"]["annotations"];
        notes["vcluster.dev/kind"] == kind && notes["vcluster.dev/name"] == host::name(object)
    })
}

impl Fact {
    fn holds(&self, object: &Value) -> Result<(), String> {
        let holds = match self {
            Self::Is(pointer, wanted) => object.pointer(pointer).unwrap_or(&Value::Null) == wanted,
            Self::Lacks(text) => !object.to_string().contains(text.as_str()),
        };
        holds
            .then_some(())
            .ok_or_else(|| format!("{self:?} does not hold for {object}"))
    }
}
