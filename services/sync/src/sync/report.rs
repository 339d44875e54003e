//! Telling a tenant, inside its cluster, why a pod is not as it should be.
//!
//! A condition on the pod (`vcluster.dev/Synced`) says what holds, an Event when it came to be. Both are
//! written once per reason. The pod is parked: it is looked at again when it changes, when a host pod of the
//! tenant goes away (a quota may have room then), and after a while anyway.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use vcluster_translate::refusal::Reason;
use vcluster_translate::{Refusal, pod};

use super::{Next, Step};
use crate::engine::Engine;
use crate::object::{Key, Kind, Side};
use crate::queue::Lane;
use crate::state::Problem;
use crate::tenant::Tenant;

/// When a pod that the host refused is tried again without any other reason.
const PARKED: Duration = Duration::from_mins(1);

/// Pods that the host refused, for a cause that may pass.
#[derive(Debug, Default)]
pub struct Refusals {
    parked: Mutex<HashSet<Key>>,
}

/// Why a pod is not as it should be.
#[derive(Debug)]
pub(super) struct Trouble {
    refusal: Refusal,
    may_pass: bool,
}

impl Trouble {
    /// The translation refuses: only a change of the pod helps.
    pub(super) fn ours(refusal: &Refusal) -> Self {
        Self {
            refusal: refusal.clone(),
            // A name that is taken may become free, and nobody tells.
            may_pass: refusal.reason == Reason::NameTaken,
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
        }
    }
}

impl Refusals {
    fn locked(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// Says on the pod why it is not as it should be, and parks it.
    pub(super) async fn report(
        &self,
        engine: &Engine,
        key: &Key,
        pod: Option<&Value>,
        trouble: Trouble,
    ) -> Step {
        let Trouble { refusal, may_pass } = trouble;
        let reason = refusal.reason.as_str();
        let problem = Problem {
            reason: reason.to_owned(),
            message: refusal.to_string(),
        };
        self.state().set_problem(key, Some(problem));
        if let Some(pod) = pod {
            self.say(engine, key, pod, &refusal).await;
        }
        if !may_pass {
            return Step::Done(Next::Settled);
        }
        self.refusals.locked().insert(key.clone());
        Step::Done(Next::Until(Instant::now() + PARKED))
    }

    /// Says it by condition and Event, unless the condition says it already: a restart says nothing anew.
    async fn say(&self, engine: &Engine, key: &Key, pod: &Value, refusal: &Refusal) {
        let now = engine
            .clock
            .now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let Some(patch) = pod::refused(pod, refusal, &now) else {
            return;
        };
        tracing::info!(tenant = %self.id, %key, %refusal, "pod is refused");
        self.tell(engine, pod, refusal.reason.as_str(), &refusal.to_string())
            .await;
        match self
            .patch(Side::Virtual, Kind::Pod, &key.name, &patch)
            .await
        {
            Ok(patched) => {
                self.take_note(Side::Virtual, key, &patched);
            }
            // The next look at the pod says it again.
            Err(failure) => {
                tracing::debug!(tenant = %self.id, %key, %failure, "condition not written");
            }
        }
    }

    /// The pod is as it should be.
    pub(super) fn settle(&self, key: &Key) {
        self.state().settle(key);
        self.refusals.locked().remove(key);
    }

    /// Something of this tenant's went away on the host: there may be room now.
    pub fn wake_parked(&self) {
        let parked: Vec<_> = self.refusals.locked().drain().collect();
        for key in parked {
            self.add(key, Lane::Live);
        }
    }

    /// Writes an Event about a pod inside, at most as many as the tenant may have.
    pub(super) async fn tell(&self, engine: &Engine, pod: &Value, reason: &str, message: &str) {
        if !self.events.try_take() {
            return;
        }
        let event = event(pod, reason, message, &engine.clock.now().to_string());
        // Best effort: what holds stands on the pod itself.
        if let Err(failure) = self.create(Side::Virtual, Kind::Event, &event).await {
            tracing::debug!(tenant = %self.id, reason, %failure, "event not written");
        }
    }
}

/// An Event whose name is the same for the same thing said of the same pod.
fn event(pod: &Value, reason: &str, message: &str, now: &str) -> Value {
    let field = |name: &str| {
        pod.pointer("/metadata")
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
            "namespace": text("namespace"),
        },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod",
            "namespace": text("namespace"), "name": text("name"), "uid": text("uid"),
        },
        "type": "Warning",
        "reason": reason,
        "message": message.chars().take(1024).collect::<String>(),
        "source": {"component": "vcluster-sync"},
        "reportingComponent": "vcluster-sync",
        "firstTimestamp": seconds(now),
        "lastTimestamp": seconds(now),
        "count": 1,
    })
}

/// Kubernetes' `Time` has whole seconds.
fn seconds(now: &str) -> String {
    match now.split_once('.') {
        Some((whole, _fraction)) => format!("{whole}Z"),
        None => now.to_owned(),
    }
}
