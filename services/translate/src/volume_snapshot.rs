//! VolumeSnapshots: taken by the host, of the host claims of virtual claims, where the host has a driver that takes
//! them. What the host has taken comes up.
//!
//! | field | on the host |
//! |---|---|
//! | `source.persistentVolumeClaimName` | host name of the claim |
//! | `source.volumeSnapshotContentName` | refused: it names a snapshot of the host's storage, whosever it is |
//! | `volumeSnapshotClassName` | passes; where absent, that which the host chose comes up |
//! | labels | namespaced, as on pods |
//! | annotations, finalizers | stay behind |
//! | `status` | comes up |
//!
//! The VolumeSnapshotContent that the status names is the host's, and not shown: it says how the host's storage is
//! reached, and a restore needs only the snapshot.
//!
//! A snapshot is what it was when it was taken. One that the host had taken and has no more is not taken again: that
//! would be other data under the same name.

use serde_json::{Map, Value, json};

use crate::{
    Context, Kind, Owner, Patch, Refusal,
    change::{Change, change},
    json::{is_set, merge_patch, object, text},
    kind::{Api, Description, Scope, ToHost},
    label, name,
    owner::metadata,
    patch::{Format, Subresource},
    refusal::Reason,
    text::Names,
};

/// Its row in the table of kinds.
pub const KIND: Description = Description::to_host(
    Api::new(
        "snapshot.storage.k8s.io",
        "v1",
        "VolumeSnapshot",
        "volumesnapshots",
        Scope::Namespaced,
    )
    .short(&["vs"]),
    ToHost {
        status: Some(to_virtual),
        ..ToHost::new(to_host, update_host)
    },
)
.defined();

/// Where a snapshot names the claim of which it is taken.
const CLAIM: &str = "/spec/source/persistentVolumeClaimName";
/// In the status: a group of snapshots of the host's, which is not shown.
const GROUP: &str = "volumeGroupSnapshotName";

/// The host snapshot of a virtual one.
///
/// # Errors
/// It names a snapshot of the host's, or the host had taken it and has it no more.
pub fn to_host(snapshot: &Value, context: &Context) -> Result<Value, Refusal> {
    let host = wanted(snapshot, context)?;
    if is_set(snapshot, "/status/boundVolumeSnapshotContentName") {
        return Err(Refusal::new(
            Reason::HostGone,
            "metadata.name",
            "the host cluster had taken this snapshot and has it no more; it is not taken again, as the data may be \
             others by now: delete it, and take a new one",
        ));
    }
    Ok(host)
}

fn wanted(snapshot: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(snapshot, KIND.api.kind, context)?;
    let Some(spec) = object(snapshot, "/spec") else {
        return Err(Refusal::invalid("spec", "must be an object"));
    };
    if is_set(snapshot, "/spec/source/volumeSnapshotContentName") {
        return Err(Refusal::host_access(
            "spec.source.volumeSnapshotContentName",
            "names a snapshot of the host cluster's storage, which virtual clusters may not; name a claim in \
             spec.source.persistentVolumeClaimName",
        ));
    }
    let Some(claim) = text(snapshot, CLAIM).filter(|claim| !claim.is_empty()) else {
        return Err(Refusal::invalid(
            "spec.source.persistentVolumeClaimName",
            "must not be empty",
        ));
    };
    let of_claim = name::of_kind(
        Kind::PersistentVolumeClaim,
        &owner.namespace,
        claim,
        context,
    );
    let mut spec = Value::Object(spec.clone());
    // Nothing but the claim: a source of tomorrow may name something of the host's.
    spec["source"] = json!({ "persistentVolumeClaimName": of_claim });
    let labels = label::OBJECT.translate(snapshot, "/metadata/labels");
    let host_name = name::of_kind(Kind::VolumeSnapshot, &owner.namespace, &owner.name, context);
    Ok(json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": metadata(&owner, &host_name, labels, Map::new(), context),
        "spec": spec,
    }))
}

/// How the host snapshot of a virtual one comes to be as it is wanted: its labels, as the rest is what it was when it
/// was taken.
///
/// # Errors
/// It names a snapshot of the host's.
pub fn update_host(snapshot: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    Ok(change(host, &wanted(snapshot, context)?, &[]))
}

/// What a virtual snapshot must be told of its host snapshot: first the class that the host chose, then its status.
pub fn to_virtual(host: &Value, snapshot: &Value, context: &Context) -> Option<Patch> {
    let uid = text(snapshot, "/metadata/uid").unwrap_or_default();
    let class = "/spec/volumeSnapshotClassName";
    if let Some(chosen) = text(host, class)
        && !is_set(snapshot, class)
    {
        let body = json!({"spec": {"volumeSnapshotClassName": chosen}});
        return Some(Patch::new(None, Format::Merge, uid, body));
    }
    let mut status = object(host, "/status")?.clone();
    status.remove(GROUP);
    let mut status = Value::Object(status);
    names(snapshot, context).translate_messages(&mut status);
    let empty = json!({});
    let change = merge_patch(snapshot.get("status").unwrap_or(&empty), &status)?;
    let body = json!({ "status": change });
    Some(Patch::new(
        Some(Subresource::Status),
        Format::Merge,
        uid,
        body,
    ))
}

/// The host names that texts about a snapshot may hold: its own and its claim's.
pub fn names(snapshot: &Value, context: &Context) -> Names {
    let mut names = Names::new(context);
    let Ok(owner) = Owner::of_virtual(snapshot, KIND.api.kind, context) else {
        return names;
    };
    let mut add = |kind, found: &str| {
        let host = name::of_kind(kind, &owner.namespace, found, context);
        names.add(host, &owner.namespace, found);
    };
    add(Kind::VolumeSnapshot, &owner.name);
    if let Some(claim) = text(snapshot, CLAIM) {
        add(Kind::PersistentVolumeClaim, claim);
    }
    names
}

#[cfg(test)]
mod tests;
