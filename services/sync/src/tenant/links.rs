//! The variables by which containers find the Services of their namespace: one ConfigMap per virtual namespace on
//! the host.
//!
//! It is made before the first pod of the namespace, follows the Services from then on, and goes with the namespace.
//! Only the variables are kept in memory, and only of Services that have an address.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use vcluster_translate::Patch;
use vcluster_translate::digest::Digest;
use vcluster_translate::environment::{
    namespace_of, service_variables, services_config_map, services_name,
};
use vcluster_translate::patch::Format;
use vcluster_translate::plan::{Cause, Delete};

use super::Tenant;
use crate::apply::Failure;
use crate::object::{Kind, Name, Object, Side};

/// Largest data of a ConfigMap, with room for the rest of it.
const MOST: usize = 1000 << 10;

type Variables = BTreeMap<Arc<str>, Map<String, Value>>;

/// The variables of a tenant's Services, and which ConfigMaps are as they should be.
#[derive(Debug, Default)]
pub(super) struct Links {
    services: Mutex<HashMap<Arc<str>, Variables>>,
    written: tokio::sync::Mutex<HashMap<Arc<str>, Option<Digest>>>,
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
        let namespace = services.entry(Arc::clone(&name.namespace)).or_default();
        namespace.insert(Arc::clone(&name.name), variables);
    }

    /// Takes note that a virtual Service is gone.
    pub(super) fn forget(&self, name: &Name) {
        let mut services = self.services();
        if let Some(namespace) = services.get_mut(&name.namespace) {
            namespace.remove(&name.name);
            if namespace.is_empty() {
                services.remove(&name.namespace);
            }
        }
    }

    fn of(&self, namespace: &str) -> Vec<Map<String, Value>> {
        let services = self.services();
        let found = services.get(namespace);
        found
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    fn services(&self) -> MutexGuard<'_, HashMap<Arc<str>, Variables>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// Makes sure that everything is there from which the containers of a pod take their variables.
    pub async fn ensure_variables(&self, pod: &Value) -> Result<(), Failure> {
        self.ensure_environment().await?;
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        let unlinked = pod.pointer("/spec/enableServiceLinks") == Some(&Value::Bool(false));
        match namespace {
            Some(namespace) if !unlinked => self.ensure_links(namespace).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Brings the ConfigMap of a namespace up to date, if there is one.
    pub async fn follow_links(&self, namespace: &str) -> Result<(), Failure> {
        let followed = self.links.written.lock().await.contains_key(namespace);
        if followed && self.labels().contains_key(namespace) {
            self.ensure_links(namespace).await?;
        }
        Ok(())
    }

    /// Looks at everything from which containers take their variables, and puts it right.
    pub async fn renew_variables(&self) -> Result<(), Failure> {
        self.doubt_environment().await;
        self.ensure_environment().await?;
        let namespaces: Vec<_> = {
            let mut written = self.links.written.lock().await;
            written.values_mut().for_each(|digest| *digest = None);
            written.keys().cloned().collect()
        };
        for namespace in namespaces {
            self.follow_links(&namespace).await?;
        }
        Ok(())
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
            let mut pods = state.keys(Kind::Pod).into_iter();
            state.is_listed(Side::Virtual, Kind::Namespace)
                && state.is_listed(Side::Virtual, Kind::Pod)
                && !pods.any(|pod| *pod.name.namespace == *namespace)
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
        tracing::info!(tenant = %self.id, %name, "deletes the variables of a namespace that is gone");
        self.links.written.lock().await.remove(namespace);
        match self
            .delete(Side::Host, Kind::ConfigMap, &name, &delete)
            .await
        {
            Ok(_) | Err(Failure::Gone) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn ensure_links(&self, namespace: &str) -> Result<(), Failure> {
        // Held while writing, so that an older state never comes after a newer one.
        let mut written = self.links.written.lock().await;
        let variables = self.links.of(namespace);
        let wanted = services_config_map(namespace, variables, &self.context);
        let digest = Digest::of(&wanted);
        if written.get(namespace) == Some(&Some(digest)) {
            return Ok(());
        }
        if wanted["data"].to_string().len() > MOST {
            return Err(Failure::Refused {
                code: 413,
                message: format!(
                    "the namespace {namespace:?} has too many Services to name them all in environment variables: \
                     set enableServiceLinks to false in the pod"
                ),
            });
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
                return Err(Failure::Refused {
                    code: 409,
                    message: format!("the ConfigMap {name} exists on the host and is not ours"),
                });
            }
            Some(found) => {
                if let Some(patch) = difference(&found, &wanted) {
                    self.patch(Side::Host, Kind::ConfigMap, &name, &patch)
                        .await?;
                }
            }
        }
        written.insert(Arc::from(namespace), Some(digest));
        Ok(())
    }
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
