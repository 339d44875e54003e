//! Objects as they came from an API server, and what they are called in here.
//!
//! An object stays JSON: what our libraries do not know is neither lost nor a reason to fail. Only the
//! few fields by which watches and maps work are read, and a field of the wrong type counts as absent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use vcluster_translate::Kind;
use vcluster_translate::at;
use vcluster_translate::kind::Reference;

pub mod page;

/// What kube needs to make paths.
pub fn resource(kind: Kind) -> ApiResource {
    let api = kind.description().api;
    ApiResource {
        group: api.group.to_owned(),
        version: api.version.to_owned(),
        api_version: api.version(),
        kind: api.kind.to_owned(),
        plural: api.plural.to_owned(),
    }
}

/// A moment as Kubernetes' `metav1.Time` writes it: RFC 3339, whole seconds, UTC.
pub fn time(moment: jiff::Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// In the virtual cluster.
    Virtual,
    /// In the host namespace; for what is not in namespaces, in the host cluster.
    Host,
}

/// A virtual object, existing or not: what work is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Which of that kind.
    pub name: Name,
}

impl Key {
    /// Makes a key.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            name: Name::new(namespace, name),
        }
    }

    /// The object that another one names.
    pub fn of(reference: &Reference) -> Self {
        Self::new(reference.kind, &reference.namespace, &reference.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Namespace and name; the namespace of a cluster-scoped object is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Name {
    /// Makes a name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: Arc::from(namespace),
            name: Arc::from(name),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An object of an API server, without `managedFields`.
#[derive(Clone)]
pub struct Object {
    meta: ObjectMeta,
    json: Arc<Value>,
}

impl Object {
    /// Takes JSON as an object.
    pub fn new(mut json: Value) -> Self {
        if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let text = |field: &str| {
            let value = json.get("metadata")?.get(field)?;
            value.as_str().map(ToOwned::to_owned)
        };
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self {
            meta,
            json: Arc::new(json),
        }
    }

    /// Sets `apiVersion` and `kind`, which the items of a list lack.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        if let Some(object) = Arc::make_mut(&mut self.json).as_object_mut() {
            let version = kind.description().api.version();
            object.insert("apiVersion".to_owned(), version.into());
            object.insert("kind".to_owned(), Value::from(kind.description().api.kind));
        }
        self
    }

    /// The whole of it.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The whole of it, to keep.
    pub fn shared(&self) -> Arc<Value> {
        Arc::clone(&self.json)
    }

    /// The whole of it, for itself.
    pub fn into_json(self) -> Value {
        Arc::unwrap_or_clone(self.json)
    }

    /// Namespace and name.
    pub fn name(&self) -> Name {
        Name::new(
            self.meta.namespace.as_deref().unwrap_or_default(),
            self.meta.name.as_deref().unwrap_or_default(),
        )
    }

    /// UID; empty if it has none.
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// Resource version as a number, by which versions of one object are ordered (KEP-5504).
    pub fn version(&self) -> Option<u64> {
        self.meta.resource_version.as_deref()?.parse().ok()
    }

    /// Generation of its spec.
    pub fn generation(&self) -> Option<i64> {
        at(&self.json, "/metadata/generation")?.as_i64()
    }

    /// Whether its deletion has begun.
    pub fn is_deleting(&self) -> bool {
        at(&self.json, "/metadata/deletionTimestamp").is_some_and(Value::is_string)
    }

    /// Whether nothing of it is left after this: its time is over, and nobody's finalizer keeps it.
    pub fn has_ended(&self) -> bool {
        let metadata = |field: &str| self.json.get("metadata")?.get(field);
        let grace = metadata("deletionGracePeriodSeconds").and_then(Value::as_i64);
        let finalizers = metadata("finalizers").and_then(Value::as_array);
        self.is_deleting() && grace == Some(0) && finalizers.is_none_or(Vec::is_empty)
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        at(&self.json, "/metadata/annotations")?.get(key)?.as_str()
    }

    /// A label.
    pub fn label(&self, key: &str) -> Option<&str> {
        at(&self.json, "/metadata/labels")?.get(key)?.as_str()
    }
}

impl fmt::Debug for Object {
    /// By name only: the content may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.name())
    }
}

impl<'de> Deserialize<'de> for Object {
    /// Passes over `managedFields` as it reads: they are half of a pod's text, and would be made into values for nothing.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Whole).map(Self::new)
    }
}

/// Reads an object.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = if key == "metadata" {
                members.next_value::<Metadata>()?.0
            } else {
                members.next_value()?
            };
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// Metadata without `managedFields`.
struct Metadata(Value);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(Self(Value::Null))
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_none<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut metadata = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if key == "managedFields" {
                members.next_value::<IgnoredAny>()?;
            } else {
                metadata.insert(key, members.next_value()?);
            }
        }
        Ok(Self(Value::Object(metadata)))
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_with_fields_of_wrong_types_is_still_read() {
        let object = Object::new(json!({
            "metadata": {"name": "a", "namespace": 7, "labels": ["x"], "deletionTimestamp": {}},
            "spec": {"newer": true},
        }));
        assert_eq!(object.name(), Name::new("", "a"));
        assert_eq!(
            (object.uid(), object.version(), object.is_deleting()),
            ("", None, false)
        );
        assert_eq!(object.label("x"), None);
        assert_eq!(object.json()["spec"]["newer"], true);
    }

    #[test]
    fn managed_fields_are_dropped_and_everything_else_is_kept() {
        let object = Object::new(json!({"metadata": {"managedFields": [1], "other": 2}}));
        assert_eq!(*object.json(), json!({"metadata": {"other": 2}}));
    }

    #[test]
    fn an_object_that_is_read_from_text_is_the_same_as_one_that_is_made_of_json() {
        for text in [
            r#"{"a": [1, {"metadata": {"managedFields": 1}}], "metadata": {"managedFields": [{"x": "}"}], "name": "a"}}"#,
            r#"{"metadata": null, "b": 1.5}"#,
            r#"{"metadata": {}, "c": {"managedFields": "stay"}}"#,
            "{}",
        ] {
            let read: Object = serde_json::from_str(text).unwrap();
            let made = Object::new(serde_json::from_str(text).unwrap());
            assert_eq!(read.json(), made.json(), "{text}");
            assert_eq!(read.name(), made.name());
        }
        assert!(serde_json::from_str::<Object>("[]").is_err());
    }
}
