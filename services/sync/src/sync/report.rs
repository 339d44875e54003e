//! Telling a tenant, inside its cluster, why an object is not as it should be.
//!
//! An Event says when it came to be, and for a pod also a condition (`vcluster.dev/Synced`) what holds. Both are
//! written once per reason; an Event that could not be written is written later, and again when it is forgotten.
//! The object is parked: it is looked at again when it changes, when a host object of the tenant goes away (a quota
//! may have room then), and after a while anyway.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use vcluster_translate::refusal::Reason;
use vcluster_translate::text::Names;
use vcluster_translate::{Refusal, pod};

use super::{Next, Step};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Kind, Name, Side, time};
use crate::queue::Lane;
use crate::state::Problem;
use crate::tenant::Tenant;

/// When an object that the host refused is tried again without any other reason.
pub(super) const PARKED: Duration = Duration::from_mins(1);
/// As many are tried again at once when something goes away. Each that is refused again has cost a request.
const WOKEN: usize = 16;
/// What a tenant is told whose change the host's API server took and left out: an older version, or a webhook.
const NOT_KEPT: &str = "the host cluster does not keep what was changed: a webhook or a controller there changes it back, or \
                        its version is older; it is written once a minute";
/// When a tenant is told again of what still holds. API servers forget Events after an hour.
const AGAIN: Duration = Duration::from_mins(30);

/// Objects that the host refused, for a cause that may pass.
#[derive(Debug, Default)]
pub struct Refusals {
    parked: Mutex<Parked>,
}

#[derive(Debug, Default)]
struct Parked {
    keys: BTreeSet<Key>,
    /// The last that was woken: the next come after it, so that each has its turn.
    woken: Option<Key>,
}

/// Why an object is not as it should be.
#[derive(Debug)]
pub(super) struct Trouble {
    refusal: Refusal,
    may_pass: bool,
    /// When the next look is due, if that is known.
    again: Option<Instant>,
}

impl Trouble {
    /// The translation refuses: only a change of the object helps.
    pub(super) fn ours(refusal: &Refusal) -> Self {
        Self {
            refusal: refusal.clone(),
            // A name that is taken may become free, and nobody tells.
            may_pass: refusal.reason == Reason::NameTaken,
            again: None,
        }
    }

    /// It is refused for the sake of another object, which may change.
    pub(super) fn passing(refusal: Refusal) -> Self {
        Self {
            refusal,
            may_pass: true,
            again: None,
        }
    }

    /// An object that it uses is refused: for the same reason, because the same person can help.
    pub(super) fn of_used(problem: &Problem) -> Self {
        match Reason::named(&problem.reason) {
            None | Some(Reason::HostRefused) => Self::hosts(&problem.message),
            Some(reason) => Self::passing(Refusal {
                reason,
                field: "spec".to_owned(),
                message: problem.message.clone(),
            }),
        }
    }

    /// The host refuses: quota, policy, pod security.
    pub(super) fn hosts(message: &str) -> Self {
        Self {
            refusal: Refusal {
                reason: Reason::HostRefused,
                field: "host".to_owned(),
                message: message.to_owned(),
            },
            may_pass: true,
            again: None,
        }
    }

    /// When it is looked at again without any other reason.
    fn next(&self) -> Next {
        Next::Until(self.again.unwrap_or_else(|| Instant::now() + PARKED))
    }

    /// What a write to the host that was not done tells the tenant. Failures of which it learns nothing are returned.
    pub(super) fn of_write(failure: Failure) -> Result<Self, Failure> {
        match failure {
            Failure::Refused { message, .. } => Ok(Self::hosts(&message)),
            Failure::NotKept { again } => Ok(Self {
                again: Some(again),
                ..Self::hosts(NOT_KEPT)
            }),
            Failure::Ours(refusal) => Ok(Self::passing(refusal)),
            failure @ (Failure::Gone
            | Failure::Exists
            | Failure::Changed
            | Failure::Later { .. }) => Err(failure),
        }
    }
}

impl Refusals {
    fn locked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parked {
    /// Takes out as many, in turn.
    fn next(&mut self, most: usize) -> Vec<Key> {
        let begin = self.woken.take().map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.keys.range((begin, Bound::Unbounded));
        let mut next: Vec<_> = after.take(most).cloned().collect();
        for key in &next {
            self.keys.remove(key);
        }
        while next.len() < most
            && let Some(key) = self.keys.pop_first()
        {
            next.push(key);
        }
        self.woken = next.last().cloned();
        next
    }
}

impl Tenant {
    /// Says by an Event why an object other than a pod is not as it should be, once per reason, and parks it. Who
    /// uses it is looked at again, because a tenant looks at pods.
    pub(super) async fn park(
        &self,
        engine: &Engine,
        key: &Key,
        object: Option<&Value>,
        trouble: Trouble,
    ) -> Step {
        let trouble = self.in_words_inside(key, object, trouble);
        let next = trouble.next();
        let Trouble {
            refusal, may_pass, ..
        } = trouble;
        let reason = refusal.reason.as_str();
        let problem = Problem {
            reason: reason.to_owned(),
            message: format!("{} {:?}: {refusal}", key.kind, &*key.name.name),
        };
        if self.state().set_problem(key, Some(problem)) {
            tracing::info!(tenant = %self.id, %key, %refusal, "object is refused");
            self.wake_users(key);
        }
        let told = match object {
            Some(object) => self.tell_refusal(engine, key, object, &refusal).await,
            None => true,
        };
        let hold = Hold::refusal(&refusal);
        if !may_pass && told {
            return Step::Held(hold, Next::Settled);
        }
        if may_pass {
            self.refusals.locked().keys.insert(key.clone());
        }
        Step::Held(hold, next)
    }

    /// Says by an Event why an object is refused, unless that was said lately; false if it could not be said.
    async fn tell_refusal(
        &self,
        engine: &Engine,
        key: &Key,
        object: &Value,
        refusal: &Refusal,
    ) -> bool {
        if self.state().is_told(key, AGAIN) {
            return true;
        }
        let (reason, message) = (refusal.reason.as_str(), refusal.to_string());
        let told = self.tell(engine, key.kind, object, reason, &message).await;
        if told {
            self.state().set_told(key);
        }
        told
    }

    /// Says on the pod why it is not as it should be, and parks it.
    pub(super) async fn report(
        &self,
        engine: &Engine,
        key: &Key,
        pod: Option<&Value>,
        trouble: Trouble,
    ) -> Step {
        let trouble = self.in_words_inside(key, pod, trouble);
        let next = trouble.next();
        let Trouble {
            refusal, may_pass, ..
        } = trouble;
        let reason = refusal.reason.as_str();
        let problem = Problem {
            reason: reason.to_owned(),
            message: refusal.to_string(),
        };
        self.state().set_problem(key, Some(problem));
        if let Some(pod) = pod {
            self.say(engine, key, pod, &refusal).await;
        }
        let hold = Hold::refusal(&refusal);
        if !may_pass {
            return Step::Held(hold, Next::Settled);
        }
        self.refusals.locked().keys.insert(key.clone());
        Step::Held(hold, next)
    }

    /// Says it by condition and Event, unless the condition says it already: a restart says nothing anew.
    async fn say(&self, engine: &Engine, key: &Key, pod: &Value, refusal: &Refusal) {
        let now = time(engine.clock.now());
        let Some(patch) = pod::refused(pod, refusal, &now) else {
            return;
        };
        tracing::info!(tenant = %self.id, %key, %refusal, "pod is refused");
        let (reason, message) = (refusal.reason.as_str(), refusal.to_string());
        self.tell(engine, Kind::Pod, pod, reason, &message).await;
        match self
            .patch(Side::Virtual, Kind::Pod, &key.name, &patch)
            .await
        {
            Ok(patched) => {
                // What the status had before is to be written once more when this is over.
                self.brake.took(Side::Virtual, Kind::Pod, &key.name, &patch);
                self.take_note(Side::Virtual, key, &patched);
            }
            // The next look at the pod says it again.
            Err(failure) => {
                tracing::debug!(tenant = %self.id, %key, %failure, "condition not written");
            }
        }
    }

    /// What the host says of an object, with the names that it has inside.
    fn in_words_inside(&self, key: &Key, object: Option<&Value>, mut trouble: Trouble) -> Trouble {
        if trouble.refusal.reason == Reason::HostRefused {
            let Name { namespace, name } = &key.name;
            let names = Names::about(key.kind, (namespace, name), object, &self.context);
            trouble.refusal.message = names.translate(&trouble.refusal.message);
        }
        trouble
    }

    /// The object is as it should be.
    pub(super) fn settle(&self, key: &Key) {
        self.state().settle(key);
        self.refusals.locked().keys.remove(key);
    }

    /// Something of this tenant's went away on the host: there may be room now, for a few. They come after what has
    /// really changed, and the others are looked at in their time.
    pub fn wake_parked(&self) {
        let woken = self.refusals.locked().next(WOKEN);
        for key in woken {
            self.add(key, Lane::List);
        }
    }

    /// Writes an Event about an object inside, at most as many as the tenant may have; tells whether it is there.
    pub(super) async fn tell(
        &self,
        engine: &Engine,
        kind: Kind,
        object: &Value,
        reason: &str,
        message: &str,
    ) -> bool {
        let api = kind.description().api;
        let of = (api.version(), api.kind);
        self.tell_of(engine, of, object, reason, message).await
    }

    /// The same of an object of any `apiVersion` and kind.
    pub(crate) async fn tell_of(
        &self,
        engine: &Engine,
        of: (String, &str),
        object: &Value,
        reason: &str,
        message: &str,
    ) -> bool {
        if !self.tellings.try_take() {
            return false;
        }
        let now = time(engine.clock.now());
        let event = event(of, object, reason, message, &now);
        // Best effort: of a pod, what holds stands on itself.
        match self.create(Side::Virtual, Kind::Event, &event).await {
            Ok(_) | Err(Failure::Exists) => true,
            Err(failure) => {
                tracing::debug!(tenant = %self.id, reason, %failure, "event not written");
                false
            }
        }
    }
}

/// An Event whose name is the same for the same thing said of the same object.
fn event(
    (version, kind): (String, &str),
    object: &Value,
    reason: &str,
    message: &str,
    now: &str,
) -> Value {
    let field = |name: &str| {
        object
            .pointer("/metadata")
            .and_then(|metadata| metadata.get(name))
    };
    let text = |name: &str| field(name).and_then(Value::as_str).unwrap_or_default();
    let said = [text("uid"), reason, message].join("\0");
    let hash = format!("{:x}", Sha256::digest(said));
    let name: String = text("name").chars().take(200).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{}", name.trim_end_matches(['-', '.']), &hash[..16]),
            // Where Kubernetes keeps what is said of objects without one.
            "namespace": field("namespace").and_then(Value::as_str).unwrap_or("default"),
        },
        "involvedObject": {
            "apiVersion": version, "kind": kind,
            "namespace": text("namespace"), "name": text("name"), "uid": text("uid"),
        },
        "type": "Warning",
        "reason": reason,
        "message": message.chars().take(1024).collect::<String>(),
        "source": {"component": "vcluster-sync"},
        "reportingComponent": "vcluster-sync",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_woken_at_a_time_and_each_has_its_turn() {
        let all: BTreeSet<_> = (0..40)
            .map(|n| Key::new(Kind::Pod, "shop", &format!("p{n:02}")))
            .collect();
        let mut parked = Parked {
            keys: all.clone(),
            woken: None,
        };
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let woken = parked.next(WOKEN);
            assert_eq!(woken.len(), WOKEN);
            // Refused again.
            parked.keys.extend(woken.iter().cloned());
            seen.extend(woken);
        }
        assert_eq!(seen, all);
        parked.keys.retain(|key| *key.name.name < *"p03");
        assert_eq!(parked.next(WOKEN).len(), 3);
        assert!(parked.next(WOKEN).is_empty());
    }
}
