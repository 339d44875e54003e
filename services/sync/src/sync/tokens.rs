//! Service-account tokens of pods: issued by the virtual API server, bound to the virtual pod, delivered as
//! one Secret per pod beside its host pod, and renewed at four fifths of their life.
//!
//! What is held of a token is when it must be renewed, never the token. After a restart that is read from the
//! Secrets' annotations, as the host's objects are listed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use vcluster_translate::patch::Format;
use vcluster_translate::plan::{self, Knowledge};
use vcluster_translate::pod::{self, Token};
use vcluster_translate::refusal::Reason;
use vcluster_translate::{Owner, Patch, Refusal, name, owner, secret};

use crate::apply::Failure;
use crate::engine::Engine;
use crate::hash::{HashMap, HashSet};
use crate::object::{Key, Kind, Name, Object, Side};
use crate::tenant::Tenant;

/// The least time between two renewals, whatever a token says.
const LEAST: Duration = Duration::from_mins(1);

/// The token Secrets of a tenant, by pod.
#[derive(Debug, Default)]
pub struct Tokens {
    held: Mutex<HashMap<Name, Held>>,
}

/// A token Secret on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// UID of the virtual pod.
    pod: Box<str>,
    /// When its first token must be renewed.
    renew: Instant,
    /// The pod's key wakes at that time.
    followed: bool,
}

impl Tokens {
    /// Pods whose tokens nobody has looked after, or must be renewed.
    pub fn due(&self) -> Vec<Name> {
        let now = Instant::now();
        let held = self.locked();
        let due = held
            .iter()
            .filter(|(_, held)| !held.followed || held.renew <= now);
        due.map(|(name, _)| name.clone()).collect()
    }

    /// These and no others are on the host: a Secret that somebody removed is made again.
    pub fn keep(&self, there: &HashSet<Name>) {
        let now = Instant::now();
        for (name, held) in self.locked().iter_mut() {
            if !there.contains(name) {
                held.renew = now;
            }
        }
    }

    /// The Secret of that pod lacks its labels: it is written again.
    pub fn renew_now(&self, pod: &Name) {
        if let Some(held) = self.locked().get_mut(pod) {
            held.renew = Instant::now();
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Name, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// Takes note of a token Secret on the host; false if it is not one.
    pub fn see_tokens(&self, object: &Object, now: Timestamp) -> bool {
        let Some(owner) = owner::of_ours(object.json(), &self.context) else {
            return false;
        };
        if owner.kind != Kind::Pod.as_str() {
            return false;
        }
        let held = Held {
            pod: owner.uid.as_str().into(),
            renew: Instant::now() + until(secret::renew_at(object.json()), now),
            followed: false,
        };
        let pod = Name::new(&owner.namespace, &owner.name);
        let mut tokens = self.tokens.locked();
        if tokens.get(&pod).is_none_or(|known| known.pod != held.pod) {
            tokens.insert(pod, held);
        }
        true
    }

    /// Makes sure that the Secret with the pod's tokens is on the host.
    pub(super) async fn ensure_tokens(
        &self,
        engine: &Engine,
        key: &Key,
        pod: &Value,
        tokens: &[Token],
    ) -> Result<(), Failure> {
        let uid = pod
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let held = self.tokens.locked().get(&key.name).cloned();
        if held.is_some_and(|held| *held.pod == *uid && Instant::now() < held.renew) {
            return Ok(());
        }
        let issued = self.issue(engine, key, uid, tokens).await?;
        let renew_at = engine.clock.now() + issued.renew.duration_since(Instant::now());
        let wanted = secret::of_tokens(pod, &issued.values, &renew_at.to_string(), &self.context);
        let wanted = wanted.map_err(Failure::Ours)?;
        match self.create(Side::Host, Kind::Secret, &wanted).await {
            Ok(_) => {}
            Err(Failure::Exists) => self.replace_tokens(key, pod, &wanted).await?,
            Err(failure) => return Err(failure),
        }
        let held = Held {
            pod: uid.into(),
            renew: issued.renew,
            followed: true,
        };
        self.tokens.locked().insert(key.name.clone(), held);
        Ok(())
    }

    /// Renews the tokens of a pod that is on the host, if it is time; tells when it will be. Those of an earlier pod of
    /// that name give way.
    pub(super) async fn refresh_tokens(
        &self,
        engine: &Engine,
        key: &Key,
        pod: &Value,
    ) -> Result<Option<Instant>, Failure> {
        let finished = pod.pointer("/status/phase").and_then(Value::as_str);
        if matches!(finished, Some("Succeeded" | "Failed")) {
            return Ok(None);
        }
        let Some(held) = self.tokens.locked().get(&key.name).cloned() else {
            return Ok(None);
        };
        let is_its_own = pod["metadata"]["uid"] == *held.pod;
        if is_its_own && Instant::now() < held.renew {
            if let Some(held) = self.tokens.locked().get_mut(&key.name) {
                held.followed = true;
            }
            return Ok(Some(held.renew));
        }
        // Even of a pod that would be refused now: its containers run.
        let (_, tokens) = pod::needs(pod, &self.context);
        if tokens.is_empty() && !is_its_own {
            return self.drop_tokens(key, Some(pod)).await;
        }
        self.ensure_tokens(engine, key, pod, &tokens).await?;
        Ok(self.tokens.locked().get(&key.name).map(|held| held.renew))
    }

    /// Removes the token Secret of a pod that is on neither side, or of one before the pod of that name.
    pub(super) async fn drop_tokens(
        &self,
        key: &Key,
        pod: Option<&Value>,
    ) -> Result<Option<Instant>, Failure> {
        if !self.tokens.locked().contains_key(&key.name) {
            return Ok(None);
        }
        let name = self.token_name(key);
        let knowledge = self.knows(Kind::Pod, true);
        if knowledge == Knowledge::Partial {
            return Ok(Some(Instant::now() + super::LISTS));
        }
        if let Some(found) = self.read(Side::Host, Kind::Secret, &name).await? {
            let delete = plan::token_secret(pod, found.json(), knowledge, &self.context);
            if let Some(delete) = delete {
                // An emptied store has no pod either.
                self.confirm_store().await?;
                self.delete(Side::Host, Kind::Secret, &name, &delete)
                    .await?;
            }
        }
        self.tokens.locked().remove(&key.name);
        Ok(None)
    }

    /// Puts new tokens into a Secret that is there already, if it is this pod's; removes an earlier pod's.
    async fn replace_tokens(&self, key: &Key, pod: &Value, wanted: &Value) -> Result<(), Failure> {
        let name = self.token_name(key);
        let Some(found) = self.read(Side::Host, Kind::Secret, &name).await? else {
            return Err(Failure::Changed);
        };
        let same = |owner: &Owner| {
            Owner::of_virtual(pod, Kind::Pod.as_str(), &self.context)
                .is_ok_and(|wanted| wanted == *owner)
        };
        let Some(owner) = owner::of_ours(found.json(), &self.context) else {
            return Err(Failure::Ours(Refusal {
                reason: Reason::NameTaken,
                field: "metadata.name".to_owned(),
                message: format!(
                    "the Secret {name} exists on the host and was not made for this pod"
                ),
            }));
        };
        if same(&owner) {
            let patch = Patch {
                subresource: None,
                format: Format::Merge,
                body: json!({
                    "metadata": {
                        "uid": found.uid(),
                        "annotations": wanted.pointer("/metadata/annotations"),
                        // Without them no scan would find it, and each would have it written again.
                        "labels": wanted.pointer("/metadata/labels"),
                    },
                    "stringData": wanted.get("stringData"),
                }),
            };
            return self
                .patch(Side::Host, Kind::Secret, &name, &patch)
                .await
                .map(drop);
        }
        let delete =
            plan::token_secret(Some(pod), found.json(), Knowledge::Complete, &self.context);
        if let Some(delete) = delete {
            self.delete(Side::Host, Kind::Secret, &name, &delete)
                .await?;
        }
        self.create(Side::Host, Kind::Secret, wanted)
            .await
            .map(drop)
    }

    fn token_name(&self, key: &Key) -> Name {
        let name = name::of_tokens(&key.name.namespace, &key.name.name, &self.context);
        Name::new(self.context.host_namespace.as_str(), &name)
    }

    async fn issue(
        &self,
        engine: &Engine,
        key: &Key,
        uid: &str,
        tokens: &[Token],
    ) -> Result<Issued, Failure> {
        let mut issued = Issued {
            values: BTreeMap::new(),
            renew: Instant::now() + Duration::from_hours(24),
        };
        for token in tokens {
            let account = Name::new(&key.name.namespace, &token.service_account);
            let asked = Instant::now();
            let body = request(token, &key.name.name, uid);
            let answer =
                self.request_token(&account, &body)
                    .await
                    .map_err(|failure| match failure {
                        // Of the account, not of the pod.
                        Failure::Gone => Failure::Later {
                            message: format!("the ServiceAccount {account} does not exist"),
                            after: None,
                            reached: true,
                        },
                        failure @ (Failure::Exists
                        | Failure::Changed
                        | Failure::NotKept { .. }
                        | Failure::Ours(_)
                        | Failure::Refused { .. }
                        | Failure::Later { .. }) => failure,
                    })?;
            let (text, expires) = issued_token(&answer).ok_or_else(|| Failure::Later {
                message: format!(
                    "the answer for the ServiceAccount {account} has no token or no expiry"
                ),
                after: None,
                reached: true,
            })?;
            let life = expires.duration_since(engine.clock.now());
            let life = Duration::try_from(life).unwrap_or_default();
            issued.renew = issued.renew.min(asked + life.mul_f64(0.8).max(LEAST));
            issued.values.insert(token.key.clone(), text.to_owned());
        }
        Ok(issued)
    }
}

struct Issued {
    values: BTreeMap<String, String>,
    renew: Instant,
}

/// The token of an answer, and when it ends; nothing if either is missing.
fn issued_token(answer: &Value) -> Option<(&str, Timestamp)> {
    let text = |path| answer.pointer(path).and_then(Value::as_str);
    let token = text("/status/token").filter(|token| !token.is_empty())?;
    let expires = text("/status/expirationTimestamp")?.parse().ok()?;
    Some((token, expires))
}

fn request(token: &Token, pod: &str, uid: &str) -> Value {
    let audiences: Vec<_> = token.audience.iter().collect();
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": token.expiration_seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid},
        },
    })
}

/// How long from `now` until that time; nothing if it has passed or is none.
fn until(at: Option<&str>, now: Timestamp) -> Duration {
    let at = at
        .and_then(|at| at.parse::<Timestamp>().ok())
        .unwrap_or(now);
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_is_past_or_unreadable_is_due_at_once() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            until(Some("2026-01-01T00:01:00Z"), now),
            Duration::from_mins(1)
        );
        for due in [Some("2025-01-01T00:00:00Z"), Some("x"), None] {
            assert_eq!(until(due, now), Duration::ZERO, "{due:?}");
        }
    }
}
