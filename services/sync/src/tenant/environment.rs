//! The ConfigMap that leads a tenant's containers to its own API server, made before its first pod.

use serde_json::Value;
use vcluster_resources::label;
use vcluster_translate::Patch;
use vcluster_translate::environment::{CONFIG_MAP, config_map};
use vcluster_translate::patch::Format;

use super::Tenant;
use super::store::STORE_UID;
use crate::apply::Failure;
use crate::object::{Kind, Name, Object, Side};

impl Tenant {
    /// Makes sure, once per stay and at each scan, that the ConfigMap is as it should be.
    pub async fn ensure_environment(&self) -> Result<(), Failure> {
        let mut ensured = self.environment.lock().await;
        if *ensured {
            return Ok(());
        }
        let mut wanted = config_map(&self.context);
        if let Some(uid) = self.store.get() {
            wanted["metadata"]["annotations"][STORE_UID] = uid.as_str().into();
        }
        let name = Name::new(self.context.host_namespace.as_str(), CONFIG_MAP);
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
                    && found.annotation(STORE_UID) == self.store.get().map(String::as_str) => {}
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

    fn is_of_another_store(&self, kept: &Object) -> bool {
        match (kept.annotation(STORE_UID), self.store.get()) {
            (Some(kept), Some(known)) => kept != known,
            (Some(_), None) | (None, Some(_) | None) => false,
        }
    }

    pub(super) fn made(&self, object: &Value) -> bool {
        let uid = object.pointer("/metadata/annotations");
        let uid = uid.and_then(|all| all.get(label::CLUSTER_UID));
        uid.and_then(Value::as_str) == Some(&self.context.cluster_uid)
    }
}
