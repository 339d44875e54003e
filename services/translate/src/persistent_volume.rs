//! PersistentVolumes: the host's that are bound to claims of a virtual cluster, shown inside.
//!
//! A host volume is the host's, and how its storage is reached is nobody's business inside. So the
//! virtual volume is made of what is listed here, and nothing passes by default.
//!
//! | shown | left out |
//! |---|---|
//! | name, capacity, access modes, reclaim policy, class, volume mode, volume attributes class | labels, annotations, finalizers, UID |
//! | node affinity: the nodes bear their real names | mount options, which may hold credentials |
//! | `csi`: driver, volume handle, file system, read-only | its attributes and references to Secrets |
//! | any other source: its kind, as an attribute of the driver [`HIDDEN_DRIVER`] | servers, monitors, paths, Secrets |
//! | `claimRef`: the virtual claim | |
//! | phase and reason | message, which names the host's storage |
//!
//! A volume is shown as long as the host keeps it for the claim for which it was made: bound, or
//! released and retained. Which that was stands in two annotations of the virtual volume, because
//! the host claim may be gone by then.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER_UID, HOST_CLAIM_UID, HOST_UID, MANAGED, MANAGED_VALUE};

use crate::{
    Context, Owner, Patch,
    json::{merge_patch, object, text},
    kind::{Api, Bespoke, Description, Inside, Outside, Scope},
    patch::{Format, Subresource},
};

pub use crate::mirror::is_ours;

/// Its row in the table of kinds. A tenant's own are followed too, to be told that they are of no
/// use.
pub const KIND: Description = Description::bespoke(
    Bespoke::PersistentVolume,
    Api::core("PersistentVolume", "persistentvolumes", Scope::Cluster).short(&["pv"]),
    Inside::Everything,
    Outside::Everything { prune },
);

/// What is never shown.
fn prune(volume: &mut Value) {
    for (holder, key) in [
        ("/metadata", "annotations"),
        ("/metadata", "labels"),
        ("/spec", "mountOptions"),
    ] {
        if let Some(holder) = volume.pointer_mut(holder).and_then(Value::as_object_mut) {
            holder.remove(key);
        }
    }
}

/// Driver of a volume whose source is not shown. An API server wants one; nobody inside mounts it.
pub const HIDDEN_DRIVER: &str = "host.vcluster.dev";

/// Fields of the spec that pass as they are.
const PASSED: [&str; 7] = [
    "accessModes",
    "capacity",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];
/// Those of them that an API server lets change.
const CHANGEABLE: [&str; 4] = [
    "accessModes",
    "capacity",
    "persistentVolumeReclaimPolicy",
    "volumeAttributesClassName",
];
/// Fields of the spec that are no source of the volume.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// Namespace, name and UID of the host claim for which a host volume is, or was.
pub fn claim_ref(host: &Value) -> Option<(&str, &str, &str)> {
    Some((
        text(host, "/spec/claimRef/namespace")?,
        text(host, "/spec/claimRef/name")?,
        text(host, "/spec/claimRef/uid")?,
    ))
}

/// The virtual volume of a host volume that is bound to the host claim of `claim`, status included.
/// An API server ignores the status at creation; it is written by a second request.
pub fn to_virtual(host: &Value, claim: &Owner, context: &Context) -> Value {
    let found = &host["spec"];
    let mut spec: Map<String, Value> = PASSED
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), found.get(*key)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    spec.insert("csi".to_owned(), source(host));
    spec.insert(
        "claimRef".to_owned(),
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.namespace,
            "name": claim.name,
            "uid": claim.uid,
        }),
    );
    json!({
        "apiVersion": "v1",
        "kind": KIND.api.kind,
        "metadata": {
            "name": text(host, "/metadata/name"),
            "labels": { MANAGED: MANAGED_VALUE },
            "annotations": {
                CLUSTER_UID: context.cluster_uid,
                HOST_UID: text(host, "/metadata/uid"),
                HOST_CLAIM_UID: text(host, "/spec/claimRef/uid"),
            },
        },
        "spec": spec,
        "status": status(host),
    })
}

/// What may be known inside of where the data is.
fn source(host: &Value) -> Value {
    let spec = &host["spec"];
    if let Some(csi) = object(spec, "/csi") {
        let shown = ["driver", "volumeHandle", "fsType", "readOnly"];
        let shown = shown
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), csi.get(*key)?.clone())));
        return Value::Object(shown.collect());
    }
    let kind = object(host, "/spec")
        .into_iter()
        .flatten()
        .find(|(key, value)| !NO_SOURCE.contains(&key.as_str()) && value.is_object())
        .map(|(key, _)| key.as_str());
    json!({
        "driver": HIDDEN_DRIVER,
        "volumeHandle": text(host, "/metadata/name"),
        "volumeAttributes": {"source": kind.unwrap_or("unknown")},
    })
}

fn status(host: &Value) -> Value {
    let mut status = Map::new();
    for key in ["phase", "reason"] {
        if let Some(value) = text(host, &format!("/status/{key}")) {
            status.insert(key.to_owned(), value.into());
        }
    }
    status.into()
}

/// Whether a virtual volume of ours mirrors this very host volume, still kept for the claim for
/// which it was made.
pub fn mirrors(volume: &Value, host: &Value) -> bool {
    let same = |key, pointer| {
        let seen = text(host, pointer);
        seen.is_some() && annotation(volume, key) == seen
    };
    same(HOST_UID, "/metadata/uid") && same(HOST_CLAIM_UID, "/spec/claimRef/uid")
}

/// Whether a virtual volume was made for this virtual claim: the host's claim may have been handed over to another.
pub fn is_of(volume: &Value, claim: &Owner) -> bool {
    text(volume, "/spec/claimRef/uid") == Some(&claim.uid)
}

/// Whether a virtual volume is bound to this very virtual claim.
pub fn is_for(volume: &Value, claim: &Value) -> bool {
    let uid = text(claim, "/metadata/uid");
    uid.is_some() && text(volume, "/spec/claimRef/uid") == uid
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations.get(key)?.as_str()
}

/// What must change on a virtual volume; nothing if all is as it should be. Its claim, source and
/// node affinity are what they were when it was made.
pub fn update_virtual(host: &Value, volume: &Value) -> Option<Patch> {
    let mut spec = Map::new();
    for key in CHANGEABLE {
        let wanted = &host["spec"][key];
        if let Some(change) = merge_patch(&volume["spec"][key], wanted) {
            spec.insert(key.to_owned(), change);
        }
    }
    (!spec.is_empty()).then(|| patch(volume, None, json!({ "spec": spec })))
}

/// What must change on a virtual volume's status; nothing if all is as it should be.
pub fn status_to_virtual(host: &Value, volume: &Value) -> Option<Patch> {
    let wanted = status(host);
    let found = status(volume);
    let change = merge_patch(&found, &wanted)?;
    Some(patch(
        volume,
        Some(Subresource::Status),
        json!({ "status": change }),
    ))
}

/// The change after which a virtual volume may be deleted: one that says that it is bound is kept
/// by the virtual cluster's own protection. Nothing if it says so no more.
pub fn release(volume: &Value) -> Option<Patch> {
    (text(volume, "/status/phase") == Some("Bound")).then(|| {
        let body = json!({"status": {"phase": "Released"}});
        patch(volume, Some(Subresource::Status), body)
    })
}

fn patch(volume: &Value, subresource: Option<Subresource>, body: Value) -> Patch {
    let uid = text(volume, "/metadata/uid").unwrap_or_default();
    Patch::new(subresource, Format::Merge, uid, body)
}

#[cfg(test)]
mod tests;
