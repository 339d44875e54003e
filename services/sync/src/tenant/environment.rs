//! The ConfigMap that leads a tenant's containers to its own API server, made before its first pod.

use serde_json::Value;
use tokio::sync::MutexGuard;
use vcluster_resources::label;
use vcluster_translate::Patch;
use vcluster_translate::environment::{CONFIG_MAP, config_map};
use vcluster_translate::patch::Format;

use super::Tenant;
use super::store::STORE_UID;
use crate::apply::Failure;
use crate::object::{Kind, Name, Object, Side};

impl Tenant {
    /// Makes sure, once per stay and at each scan, that the ConfigMap is as it should be. Waits for others who do so.
    pub async fn ensure_environment(&self) -> Result<(), Failure> {
        let ensured = self.environment.lock().await;
        self.make_environment(ensured).await
    }

    /// The same for a worker, which must not wait for others: false if somebody is about it.
    pub(super) async fn try_environment(&self) -> Result<bool, Failure> {
        match self.environment.try_lock() {
            Ok(ensured) => self.make_environment(ensured).await.map(|()| true),
            Err(_in_hand) => Ok(false),
        }
    }

    async fn make_environment(&self, mut ensured: MutexGuard<'_, bool>) -> Result<(), Failure> {
        if *ensured {
            return Ok(());
        }
        let mut wanted = config_map(&self.context);
        let store = self.store_annotations();
        for (key, value) in store.iter().filter_map(Value::as_object).flatten() {
            wanted["metadata"]["annotations"][key] = value.clone();
        }
        let name = Name::new(self.context.host_namespace.as_str(), CONFIG_MAP);
        match self.read(Side::Host, Kind::ConfigMap, &name).await? {
            None => {
                without_null(&mut wanted["metadata"]["annotations"]);
                self.create(Side::Host, Kind::ConfigMap, &wanted).await?;
            }
            Some(found) if !self.made(found.json()) => {
                return Err(Failure::Refused {
                    code: 409,
                    message: format!(
                        "the ConfigMap {name} on the host was made by somebody else, or for an earlier virtual cluster \
                         (annotation vcluster.dev/cluster-uid), and is not touched: no pod can be made until it is \
                         deleted"
                    ),
                });
            }
            Some(found) if self.is_of_another_store(&found) => {
                // Which of the two is right is not ours to say.
                self.confirm_store().await?;
                return Err(Failure::Refused {
                    code: 409,
                    message: format!(
                        "the ConfigMap {name} on the host remembers another store of the virtual cluster: if that \
                         is wrong, remove its annotation {STORE_UID}"
                    ),
                });
            }
            Some(found)
                if found.json().get("data") == wanted.get("data")
                    && store.as_ref().is_none_or(|store| says(&found, store)) => {}
            Some(found) => {
                let mut body = serde_json::json!({"metadata": {"uid": found.uid()}});
                // The host's policy lets us write nothing without them.
                body["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
                body["data"] = wanted.get("data").cloned().unwrap_or_default();
                body["metadata"]["annotations"] = wanted["metadata"]["annotations"].clone();
                let patch = Patch {
                    subresource: None,
                    format: Format::Merge,
                    body,
                };
                self.patch(Side::Host, Kind::ConfigMap, &name, &patch)
                    .await?;
            }
        }
        *ensured = true;
        Ok(())
    }

    /// Has the ConfigMap read again before the next pod is made.
    pub async fn doubt_environment(&self) {
        *self.environment.lock().await = false;
    }

    pub(super) fn made(&self, object: &Value) -> bool {
        let uid = object.pointer("/metadata/annotations");
        let uid = uid.and_then(|all| all.get(label::CLUSTER_UID));
        uid.and_then(Value::as_str) == Some(&self.context.cluster_uid)
    }
}

/// Whether an object has these annotations, and not those that are null.
fn says(found: &Object, annotations: &Value) -> bool {
    let mut all = annotations.as_object().into_iter().flatten();
    all.all(|(key, value)| found.annotation(key) == value.as_str())
}

fn without_null(annotations: &mut Value) {
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|_, value| !value.is_null());
    }
}
