//! Whose a host object is: written at translation, read before every change and delete.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{
    CLUSTER, CLUSTER_UID, PART, Part, VIRTUAL_KIND, VIRTUAL_NAME, VIRTUAL_NAMESPACE, VIRTUAL_UID,
};

use crate::{
    Context, Kind, Refusal,
    json::{at, member, text},
    name,
};

/// The virtual object for which a host object was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// UID of the VirtualCluster.
    pub cluster_uid: String,
    /// Kind inside the virtual cluster, for example `Pod`.
    pub kind: String,
    /// Namespace inside the virtual cluster.
    pub namespace: String,
    /// Name inside the virtual cluster.
    pub name: String,
    /// UID inside the virtual cluster.
    pub uid: String,
}

impl Owner {
    /// The owner that the host object made for this virtual object will name.
    ///
    /// # Errors
    /// The object lacks a name, namespace or UID, which no stored object does.
    pub fn of_virtual(object: &Value, kind: &str, context: &Context) -> Result<Self, Refusal> {
        let part = |field: &str| {
            text(object, &format!("/metadata/{field}"))
                .map(str::to_owned)
                .ok_or_else(|| Refusal::invalid(format!("metadata.{field}"), "must not be empty"))
        };
        Ok(Self {
            cluster_uid: context.cluster_uid.clone(),
            kind: kind.to_owned(),
            namespace: part("namespace")?,
            name: part("name")?,
            uid: part("uid")?,
        })
    }

    /// The owner that a host object's annotations name; nothing unless they are complete.
    pub fn of_host(object: &Value) -> Option<Self> {
        let annotation = |key: &str| {
            at(object, "/metadata/annotations")?
                .get(key)?
                .as_str()
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        Some(Self {
            cluster_uid: annotation(CLUSTER_UID)?,
            kind: annotation(VIRTUAL_KIND)?,
            namespace: annotation(VIRTUAL_NAMESPACE)?,
            name: annotation(VIRTUAL_NAME)?,
            uid: annotation(VIRTUAL_UID)?,
        })
    }

    /// The annotations by which the owner is known.
    pub fn annotations(&self) -> Map<String, Value> {
        [
            member(CLUSTER_UID, self.cluster_uid.as_str()),
            member(VIRTUAL_KIND, self.kind.as_str()),
            member(VIRTUAL_NAMESPACE, self.namespace.as_str()),
            member(VIRTUAL_NAME, self.name.as_str()),
            member(VIRTUAL_UID, self.uid.as_str()),
        ]
        .into_iter()
        .collect()
    }

    /// The labels by which its host objects are found and selected.
    pub fn labels(&self, context: &Context) -> Map<String, Value> {
        [
            member(CLUSTER, context.cluster.as_str()),
            member(CLUSTER_UID, context.cluster_uid.as_str()),
            member(PART, Part::Workload.as_str()),
            // The same key as the annotation: a namespace's name is always a label's value too.
            member(VIRTUAL_NAMESPACE, self.namespace.as_str()),
        ]
        .into_iter()
        .collect()
    }

    /// Whether a host object of this name can be this owner's: its translation, or, for a pod, the
    /// Secret of its tokens.
    fn has_named(&self, host: &str, context: &Context) -> bool {
        let (namespace, name) = (&self.namespace, &self.name);
        let translated = match Kind::named(&self.kind) {
            Some(kind) => Some(name::of_kind(kind, namespace, name, context)),
            // Of custom kinds any may have been synced, whatever the rules are now.
            None if self.kind.contains('.') => Some(name::of(namespace, name, context)),
            None => None,
        };
        translated.is_some_and(|translated| host == translated)
            || (self.kind == "Pod" && host == name::of_tokens(&self.namespace, &self.name, context))
    }
}

/// The owner of a host object that this virtual cluster made; nothing if the object is anybody
/// else's: of another virtual cluster or another namespace, without complete annotations, or a
/// copy of one of ours under another name. What is not ours is never changed or deleted.
pub fn of_ours(object: &Value, context: &Context) -> Option<Owner> {
    let owner = Owner::of_host(object)?;
    let host_name = text(object, "/metadata/name")?;
    let ours = owner.cluster_uid == context.cluster_uid
        && text(object, "/metadata/namespace") == Some(context.host_namespace.as_str())
        && owner.has_named(host_name, context);
    ours.then_some(owner)
}

/// Metadata of the host object `name` of `owner`. Finalizers and owners of the virtual object
/// never pass: the virtual cluster alone acts on them. The VirtualCluster controls the object, so
/// that no controller of the host adopts it and `kubectl drain` works without `--force`.
pub(crate) fn metadata(
    owner: &Owner,
    name: &str,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    context: &Context,
) -> Value {
    let mut all_labels = labels;
    all_labels.extend(owner.labels(context));
    let mut all_annotations = annotations;
    all_annotations.extend(owner.annotations());
    json!({
        "name": name,
        "namespace": context.host_namespace.as_str(),
        "labels": all_labels,
        "annotations": all_annotations,
        "ownerReferences": [{
            "apiVersion": "vcluster.dev/v1alpha1",
            "kind": "VirtualCluster",
            "name": context.cluster.as_str(),
            "uid": context.cluster_uid,
            "controller": true,
            "blockOwnerDeletion": false,
        }],
    })
}

#[cfg(test)]
mod tests;
