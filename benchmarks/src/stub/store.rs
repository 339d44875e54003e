//! The objects of one simulated API server, and what has happened to them lately. No I/O.
//!
//! It keeps what sync relies on: versions that grow, UIDs that never come back, preconditions, patches that change
//! nothing and tell nobody. It validates nothing, defaults little, and knows no kinds.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde_json::{Value, json};

/// Changes that are remembered; who lags more lists again.
const REMEMBERED: usize = 8192;
const NOW: &str = "2026-01-01T00:00:00Z";

/// Where an object is: its collection over all namespaces, its namespace, its name.
pub(super) type Place = (String, String, String);

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound,
    Exists,
    Conflict,
    Malformed,
}

/// A change that watches tell.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: &'static str,
    pub(super) place: Place,
    pub(super) object: Bytes,
}

/// The objects.
#[derive(Debug, Default)]
pub(super) struct Store {
    number: usize,
    version: u64,
    objects: BTreeMap<Place, Bytes>,
    changes: VecDeque<Change>,
}

impl Store {
    /// What an API server holds from the start.
    pub(super) fn new(number: usize) -> Self {
        let mut store = Self {
            number,
            version: 1,
            ..Self::default()
        };
        for namespace in ["default", "kube-system"] {
            // Nothing has the name yet.
            let _made = store.create(
                "/api/v1/namespaces",
                "",
                json!({"metadata": {"name": namespace}}),
            );
        }
        store
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Objects of a collection, of one namespace or, without one, of all.
    pub(super) fn list(&self, collection: &str, namespace: &str) -> Vec<(&Place, &Bytes)> {
        let from = (collection.to_owned(), namespace.to_owned(), String::new());
        let all = self.objects.range(from..);
        let is_here =
            |place: &Place| place.0 == collection && (namespace.is_empty() || place.1 == namespace);
        all.take_while(|(place, _)| is_here(place)).collect()
    }

    pub(super) fn get(&self, place: &Place) -> Result<Bytes, Refused> {
        self.objects.get(place).cloned().ok_or(Refused::NotFound)
    }

    pub(super) fn create(
        &mut self,
        collection: &str,
        namespace: &str,
        mut object: Value,
    ) -> Result<Bytes, Refused> {
        let next = self.version + 1;
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.ok_or(Refused::Malformed)?;
        if !metadata.contains_key("name") {
            let stem = metadata.get("generateName").and_then(Value::as_str);
            let name = format!("{}{next}", stem.ok_or(Refused::Malformed)?);
            metadata.insert("name".to_owned(), name.into());
        }
        let name = metadata["name"]
            .as_str()
            .ok_or(Refused::Malformed)?
            .to_owned();
        let place = (collection.to_owned(), namespace.to_owned(), name);
        if self.objects.contains_key(&place) {
            return Err(Refused::Exists);
        }
        metadata.insert("uid".to_owned(), self.uid(next).into());
        metadata.insert("creationTimestamp".to_owned(), NOW.into());
        metadata.insert("generation".to_owned(), 1.into());
        if !namespace.is_empty() {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        let kind = collection.rsplit('/').next().unwrap_or_default();
        default(kind, &mut object);
        Ok(self.put("ADDED", place, object))
    }

    /// Changes an object by what `change` makes of it; what it leaves as it was is told to nobody.
    pub(super) fn change(
        &mut self,
        place: &Place,
        uid: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Bytes, Refused> {
        let before = self.get(place)?;
        let mut object = parse(&before)?;
        if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
            return Err(Refused::Conflict);
        }
        let original = object.clone();
        change(&mut object);
        object["metadata"] = keep_identity(&original["metadata"], object["metadata"].take());
        if object == original {
            return Ok(before);
        }
        Ok(self.put("MODIFIED", place.clone(), object))
    }

    pub(super) fn delete(&mut self, place: &Place, uid: Option<&str>) -> Result<Bytes, Refused> {
        let mut object = parse(&self.get(place)?)?;
        if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
            return Err(Refused::Conflict);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.remove(place);
        let bytes = Bytes::from(object.to_string());
        self.remember("DELETED", place.clone(), bytes.clone());
        Ok(bytes)
    }

    /// Forgets everything, as a new API server on a new store; versions count on, and so do UIDs.
    pub(super) fn reset(&mut self) {
        let version = self.version;
        *self = Self::new(self.number);
        self.changes.clear();
        self.version += version;
        for namespace in ["default", "kube-system"] {
            let place = (
                "/api/v1/namespaces".to_owned(),
                String::new(),
                namespace.to_owned(),
            );
            // It is there, and nothing is asked of it.
            let _gone = self.delete(&place, None);
            let _made = self.create(
                "/api/v1/namespaces",
                "",
                json!({"metadata": {"name": namespace}}),
            );
        }
        self.changes.clear();
    }

    /// Changes after a version; none if some of them are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        let oldest = self
            .changes
            .front()
            .map_or(self.version, |change| change.version - 1);
        let from = self
            .changes
            .partition_point(move |change| change.version <= version);
        (version >= oldest).then(|| self.changes.range(from..))
    }

    fn put(&mut self, kind: &'static str, place: Place, mut object: Value) -> Bytes {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let bytes = Bytes::from(object.to_string());
        self.objects.insert(place.clone(), bytes.clone());
        self.remember(kind, place, bytes.clone());
        bytes
    }

    fn remember(&mut self, kind: &'static str, place: Place, object: Bytes) {
        self.changes.push_back(Change {
            version: self.version,
            kind,
            place,
            object,
        });
        if self.changes.len() > REMEMBERED {
            self.changes.pop_front();
        }
    }

    fn uid(&self, version: u64) -> String {
        format!("{:08x}-0000-4000-8000-{version:012x}", self.number)
    }
}

fn parse(bytes: &Bytes) -> Result<Value, Refused> {
    serde_json::from_slice(bytes).map_err(|_error| Refused::Malformed)
}

/// What sync waits for and nobody else here makes.
fn default(kind: &str, object: &mut Value) {
    match kind {
        "pods" => {
            object["status"] = json!({"phase": "Pending", "qosClass": "Burstable"});
            for (key, value) in [
                ("serviceAccountName", "default"),
                ("restartPolicy", "Always"),
                ("dnsPolicy", "ClusterFirst"),
            ] {
                if object["spec"].get(key).is_none() {
                    object["spec"][key] = value.into();
                }
            }
        }
        "servicecidrs" => {
            object["status"] = json!({"conditions": [{
                "type": "Ready", "status": "True", "reason": "Simulated", "message": "", "lastTransitionTime": NOW,
            }]});
        }
        "namespaces" => object["status"] = json!({"phase": "Active"}),
        _other => {}
    }
}

fn keep_identity(before: &Value, mut after: Value) -> Value {
    for key in [
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
        "resourceVersion",
    ] {
        if let Some(value) = before.get(key) {
            after[key] = value.clone();
        }
    }
    after
}

/// JSON merge patch (RFC 7386).
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        (
            "/api/v1/pods".to_owned(),
            "load".to_owned(),
            name.to_owned(),
        )
    }

    #[test]
    fn a_patch_that_changes_nothing_tells_nobody() {
        let mut store = Store::new(3);
        store
            .create("/api/v1/pods", "load", json!({"metadata": {"name": "a"}}))
            .unwrap();
        let version = store.version();
        store
            .change(&place("a"), None, |pod| {
                merge(pod, json!({"status": {"phase": "Pending"}}));
            })
            .unwrap();
        assert_eq!(store.since(version).unwrap().count(), 0);
        store
            .change(&place("a"), None, |pod| {
                merge(pod, json!({"status": {"phase": "Running"}}));
            })
            .unwrap();
        let kinds: Vec<_> = store
            .since(version)
            .unwrap()
            .map(|change| change.kind)
            .collect();
        assert_eq!(kinds, ["MODIFIED"]);
    }

    #[test]
    fn another_object_of_the_name_is_neither_changed_nor_deleted() {
        let mut store = Store::new(3);
        store
            .create("/api/v1/pods", "load", json!({"metadata": {"name": "a"}}))
            .unwrap();
        assert_eq!(
            store.delete(&place("a"), Some("other")),
            Err(Refused::Conflict)
        );
        assert_eq!(
            store.change(&place("a"), Some("other"), |_| {}),
            Err(Refused::Conflict)
        );
        assert_eq!(store.list("/api/v1/pods", "").len(), 1);
        assert_eq!(store.list("/api/v1/pods", "shop").len(), 0);
    }

    #[test]
    fn who_lags_too_much_must_list_again() {
        let mut store = Store::new(3);
        store
            .create("/api/v1/pods", "load", json!({"metadata": {"name": "a"}}))
            .unwrap();
        let version = store.version();
        for n in 0..=REMEMBERED {
            store
                .change(&place("a"), None, |pod| pod["n"] = n.into())
                .unwrap();
        }
        assert!(store.since(version).is_none());
        assert!(store.since(store.version()).is_some());
    }
}
