//! The variables by which containers find the Services of their namespace: one ConfigMap per virtual namespace on
//! the host.
//!
//! It is made before the first pod of the namespace, follows the Services from then on, and goes with the namespace.
//! Only the variables are kept in memory, and only of Services that have an address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vcluster_translate::environment::{
    namespace_of, service_variables, services_config_map, services_name,
};
use vcluster_translate::patch::Format;
use vcluster_translate::plan::{Cause, Delete};
use vcluster_translate::refusal::Reason;
use vcluster_translate::{Patch, Refusal};

use super::Tenant;
use crate::apply::Failure;
use crate::hash::HashMap;
use crate::object::{Kind, Name, Object, Side};

/// Largest data of a ConfigMap, with room for the rest of it.
const MOST: usize = 1000 << 10;

/// The field of a pod that asks for them.
const LINKS: &str = "spec.enableServiceLinks";

/// The least time between two writes of one ConfigMap for the sake of Services: many that are made one after the other
/// are written together. A pod that needs it does not wait.
const PAUSE: Duration = Duration::from_secs(1);
/// When a worker looks again that has found another about it.
const IN_HAND: Duration = Duration::from_millis(100);

/// The variables of a namespace's Services.
#[derive(Debug, Default)]
struct Variables {
    by_service: BTreeMap<Arc<str>, Map<String, Value>>,
    /// Rises with each change; no two namespaces ever have the same.
    version: u64,
}

/// What became of a ConfigMap when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is to be read again.
    Unknown,
    /// It is as the variables want it.
    Written,
    /// There is no room for so many.
    TooMany,
    /// It is somebody else's.
    NotOurs,
}

/// A ConfigMap that is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    outcome: Outcome,
    version: u64,
    at: Instant,
}

type AllKept<'a> = tokio::sync::MutexGuard<'a, HashMap<Arc<str>, Kept>>;

/// The variables of a tenant's Services, and which ConfigMaps are as they should be.
#[derive(Debug, Default)]
pub(super) struct Links {
    services: Mutex<Services>,
    kept: tokio::sync::Mutex<HashMap<Arc<str>, Kept>>,
}

#[derive(Debug, Default)]
struct Services {
    by_namespace: HashMap<Arc<str>, Variables>,
    changes: u64,
}

impl Links {
    /// Takes note of a virtual Service.
    pub(super) fn see(&self, name: &Name, service: &Value) {
        let variables = service_variables(service);
        if variables.is_empty() {
            self.forget(name);
            return;
        }
        let mut services = self.services();
        let version = services.changes + 1;
        let namespace = services
            .by_namespace
            .entry(Arc::clone(&name.namespace))
            .or_default();
        if namespace.by_service.get(&name.name) == Some(&variables) {
            return;
        }
        namespace
            .by_service
            .insert(Arc::clone(&name.name), variables);
        namespace.version = version;
        services.changes = version;
    }

    /// Takes note that a virtual Service is gone.
    pub(super) fn forget(&self, name: &Name) {
        let mut services = self.services();
        let version = services.changes + 1;
        if let Some(namespace) = services.by_namespace.get_mut(&name.namespace)
            && namespace.by_service.remove(&name.name).is_some()
        {
            namespace.version = version;
            services.changes = version;
        }
    }

    /// Takes note that a virtual namespace is gone.
    pub(super) fn forget_namespace(&self, namespace: &str) {
        self.services().by_namespace.remove(namespace);
    }

    fn version(&self, namespace: &str) -> u64 {
        let services = self.services();
        let found = services.by_namespace.get(namespace);
        found.map_or(0, |found| found.version)
    }

    fn of(&self, namespace: &str) -> (u64, Vec<Map<String, Value>>) {
        let services = self.services();
        let found = services.by_namespace.get(namespace);
        found.map_or((0, Vec::new()), |found| {
            let all = found.by_service.values().cloned().collect();
            (found.version, all)
        })
    }

    fn services(&self) -> MutexGuard<'_, Services> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// Makes sure that everything is there from which the containers of a pod take their variables; false if somebody
    /// else is about it. Requests are made meanwhile: no worker waits for another's.
    pub async fn ensure_variables(&self, pod: &Value) -> Result<bool, Failure> {
        if !self.try_environment().await? {
            return Ok(false);
        }
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        let unlinked = pod.pointer("/spec/enableServiceLinks") == Some(&Value::Bool(false));
        match namespace {
            Some(namespace) if !unlinked => match self.links.kept.try_lock() {
                Ok(kept) => self.ensure_links(kept, namespace).await.map(|()| true),
                Err(_in_hand) => Ok(false),
            },
            Some(_) | None => Ok(true),
        }
    }

    /// Brings the ConfigMap of a namespace up to date, if there is one; tells when to do so if it is not time yet. That
    /// there is no room for it is an error once.
    pub async fn follow_links(&self, namespace: &str) -> Result<Option<Instant>, Failure> {
        match self.links.kept.try_lock() {
            Ok(kept) => self.follow_kept(kept, namespace).await,
            Err(_in_hand) => Ok(Some(Instant::now() + IN_HAND)),
        }
    }

    async fn follow_kept(
        &self,
        all: AllKept<'_>,
        namespace: &str,
    ) -> Result<Option<Instant>, Failure> {
        let kept = all.get(namespace).copied();
        let Some(kept) = kept.filter(|_| self.labels().contains_key(namespace)) else {
            return Ok(None);
        };
        let is_known = kept.outcome != Outcome::Unknown;
        if is_known && kept.version == self.links.version(namespace) {
            return Ok(None);
        }
        let due = kept.at + PAUSE;
        if is_known && Instant::now() < due {
            return Ok(Some(due));
        }
        match self.ensure_links(all, namespace).await {
            Err(Failure::Refused { .. } | Failure::Ours(_))
                if matches!(kept.outcome, Outcome::TooMany | Outcome::NotOurs) =>
            {
                Ok(None)
            }
            Ok(()) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Looks at everything from which containers take their variables, and puts it right.
    pub async fn renew_variables(&self) -> Result<(), Failure> {
        self.doubt_environment().await;
        self.ensure_environment().await?;
        let namespaces: Vec<_> = {
            let mut kept = self.links.kept.lock().await;
            // What is written leaves with the namespace, when a scan shows it.
            kept.retain(|namespace, kept| {
                kept.outcome == Outcome::Written || self.labels().contains_key(namespace)
            });
            for kept in kept.values_mut() {
                match kept.outcome {
                    Outcome::Written => kept.outcome = Outcome::Unknown,
                    // Nothing but another Service, or a pod that asks, makes a difference.
                    Outcome::Unknown | Outcome::TooMany | Outcome::NotOurs => {}
                }
            }
            kept.keys().cloned().collect()
        };
        let mut renewed = Ok(());
        for namespace in namespaces {
            let all = self.links.kept.lock().await;
            match self.follow_kept(all, &namespace).await {
                Ok(_) => {}
                // The others would wait for the same deadline.
                Err(failure @ Failure::Later { reached: false, .. }) => return Err(failure),
                // One of them does not hold up the others.
                Err(failure) => renewed = renewed.and(Err(failure)),
            }
        }
        renewed
    }

    /// Removes the ConfigMap of a namespace that is gone, when a scan shows it.
    pub async fn drop_links(&self, found: &Object) -> Result<(), Failure> {
        let name = found.name();
        let Some(namespace) = namespace_of(&name.name) else {
            return Ok(());
        };
        // A namespace that was made a moment ago may be known later than its pods.
        let unused = {
            let state = self.state();
            state.is_listed(Side::Virtual, Kind::Namespace)
                && state.is_listed(Side::Virtual, Kind::Pod)
                && !state.any(Kind::Pod, |pod| *pod.namespace == *namespace)
        };
        let gone = unused && self.link.is_up() && !self.labels().contains_key(namespace);
        if !gone || !self.made(found.json()) {
            return Ok(());
        }
        let delete = Delete {
            uid: found.uid().to_owned(),
            grace_seconds: None,
            cause: Cause::Orphan,
        };
        // An emptied store has no namespace either.
        self.confirm_store().await?;
        tracing::info!(tenant = %self.id, %name, "deletes the variables of a namespace that is gone");
        // Until it is gone nobody may think that it is there.
        let mut kept = self.links.kept.lock().await;
        kept.remove(namespace);
        match self
            .delete(Side::Host, Kind::ConfigMap, &name, &delete)
            .await
        {
            Ok(_) | Err(Failure::Gone) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The lock is held while writing, so that an older state never comes after a newer one.
    async fn ensure_links(&self, mut all: AllKept<'_>, namespace: &str) -> Result<(), Failure> {
        let (version, variables) = self.links.of(namespace);
        let kept = all.get(namespace).filter(|kept| kept.version == version);
        let (outcome, said) = match kept.map(|kept| kept.outcome) {
            Some(Outcome::Written) => return Ok(()),
            Some(Outcome::TooMany) => return Err(too_many(namespace)),
            Some(Outcome::Unknown | Outcome::NotOurs) | None => {
                self.write_links(namespace, variables).await?
            }
        };
        let at = Instant::now();
        let kept = Kept {
            outcome,
            version,
            at,
        };
        all.insert(Arc::from(namespace), kept);
        said.map_or(Ok(()), Err)
    }

    /// Writes the ConfigMap if it differs; tells what became of it, and why it cannot be kept.
    async fn write_links(
        &self,
        namespace: &str,
        variables: Vec<Map<String, Value>>,
    ) -> Result<(Outcome, Option<Failure>), Failure> {
        let wanted = services_config_map(namespace, variables, &self.context);
        if wanted["data"].to_string().len() > MOST {
            return Ok((Outcome::TooMany, Some(too_many(namespace))));
        }
        let name = Name::new(
            self.context.host_namespace.as_str(),
            &services_name(namespace),
        );
        match self.read(Side::Host, Kind::ConfigMap, &name).await? {
            None => {
                self.create(Side::Host, Kind::ConfigMap, &wanted).await?;
            }
            Some(found) if !self.made(found.json()) => {
                let failure = Failure::Ours(Refusal {
                    reason: Reason::NameTaken,
                    field: LINKS.to_owned(),
                    message: format!("the ConfigMap {name} exists on the host and is not ours"),
                });
                return Ok((Outcome::NotOurs, Some(failure)));
            }
            Some(found) => {
                if let Some(patch) = difference(&found, &wanted) {
                    self.patch(Side::Host, Kind::ConfigMap, &name, &patch)
                        .await?;
                }
            }
        }
        Ok((Outcome::Written, None))
    }
}

fn too_many(namespace: &str) -> Failure {
    Failure::Ours(Refusal {
        reason: Reason::NotSupported,
        field: LINKS.to_owned(),
        message: format!(
            "the namespace {namespace:?} has too many Services to name them all in environment variables: set \
             enableServiceLinks to false in the pod"
        ),
    })
}

fn difference(found: &Object, wanted: &Value) -> Option<Patch> {
    let empty = Map::new();
    let data = |object: &Value| object.get("data").and_then(Value::as_object).cloned();
    let (old, new) = (data(found.json()), data(wanted));
    let (old, new) = (
        old.as_ref().unwrap_or(&empty),
        new.as_ref().unwrap_or(&empty),
    );
    if old == new {
        return None;
    }
    let mut data = new.clone();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        data.insert(key.clone(), Value::Null);
    }
    let body = json!({
        // The host's policy lets us write nothing without the labels.
        "metadata": {"uid": found.uid(), "labels": wanted["metadata"]["labels"]},
        "data": data,
    });
    Some(Patch {
        subresource: None,
        format: Format::Merge,
        body,
    })
}
