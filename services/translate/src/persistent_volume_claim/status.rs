//! Binding and status of a claim: up from the host.

use serde_json::{Map, Value, json};

use super::{NAME, to_host::beta_class};
use crate::{
    Context, Kind, Owner, Patch,
    json::{array, is_set, merge_patch, object, text},
    name,
    patch::{Format, Subresource},
    text::Names,
};

/// Annotation by which Kubernetes' own components know that a binding is complete.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Conditions that the host's resizer and modifier set: gone there means gone. Others are those of
/// controllers inside, and stay.
const HOST_CONDITIONS: [&str; 6] = [
    "ControllerResizeError",
    "FileSystemResizePending",
    "ModifyVolumeError",
    "ModifyingVolume",
    "NodeResizeError",
    "Resizing",
];
/// Condition that says since when no pod uses the claim. The host sets it too, of its own claim; of
/// the virtual one the virtual cluster's controller says it.
const UNUSED: &str = "Unused";

/// The PersistentVolume that a claim names, of either side: they bear the same names.
pub fn volume(claim: &Value) -> Option<&str> {
    text(claim, "/spec/volumeName")
}

/// Whether a claim was once bound: only a binder says so, as nobody can at its creation.
pub fn is_bound(claim: &Value) -> bool {
    matches!(text(claim, "/status/phase"), Some("Bound" | "Lost"))
}

/// The change that gives a virtual claim what the host has decided: its volume, if `volume` is to
/// be shown already, and its class where it named none. Nothing if it has both.
pub fn bind(host: &Value, claim: &Value, volume: Option<&str>) -> Option<Patch> {
    let mut body = Map::new();
    if let Some(volume) = volume.filter(|_| super::volume(claim).is_none()) {
        body.insert("volumeName".to_owned(), volume.into());
    }
    let unnamed = !is_set(claim, "/spec/storageClassName") && beta_class(claim).is_none();
    if let Some(class) = text(host, "/spec/storageClassName").filter(|_| unnamed) {
        body.insert("storageClassName".to_owned(), class.into());
    }
    if body.is_empty() {
        return None;
    }
    let mut body = json!({ "spec": body });
    if body["spec"].get("volumeName").is_some() {
        body["metadata"] = json!({"annotations": { BIND_COMPLETED: "yes" }});
    }
    Some(patch(claim, None, body))
}

/// The change that brings a virtual claim's status to that of its host claim; nothing if it is
/// there. The host's status is whole: what it lacks, goes, all but conditions of controllers inside.
pub fn status_to_virtual(host: &Value, claim: &Value, names: &Names) -> Option<Patch> {
    let mut status = object(host, "/status")?.clone();
    if volume(claim).is_none() && text(host, "/status/phase") == Some("Bound") {
        // Not before it names its volume.
        status.insert("phase".to_owned(), "Pending".into());
    }
    let (conditions, foreign) = conditions(host, claim);
    if conditions.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".to_owned(), conditions.into());
    }
    let mut status = Value::Object(status);
    names.translate_messages(&mut status);
    let empty = json!({});
    let change = merge_patch(claim.get("status").unwrap_or(&empty), &status)?;
    let mut body = json!({ "status": change });
    if foreign && body.pointer("/status/conditions").is_some() {
        // The list is written whole: another writer's condition must not be lost.
        body["metadata"] = json!({"resourceVersion": claim.pointer("/metadata/resourceVersion")});
    }
    Some(patch(claim, Some(Subresource::Status), body))
}

/// The virtual claim's conditions, and whether any of them is not from the host.
fn conditions(host: &Value, claim: &Value) -> (Vec<Value>, bool) {
    let type_ = |condition: &Value| text(condition, "/type").unwrap_or_default().to_owned();
    let mut all: Vec<_> = array(host, "/status/conditions").to_vec();
    all.retain(|condition| type_(condition) != UNUSED);
    let known: Vec<_> = all.iter().map(type_).collect();
    let own = array(claim, "/status/conditions")
        .iter()
        .filter(|condition| {
            let type_ = type_(condition);
            !HOST_CONDITIONS.contains(&type_.as_str()) && !known.contains(&type_)
        });
    all.extend(own.cloned());
    let foreign = all.len() > known.len();
    (all, foreign)
}

/// The change by which a bound claim without a host claim is shown as lost; nothing if it is. A new
/// host claim would be an empty volume under the name of the old one.
pub fn lost(claim: &Value) -> Option<Patch> {
    (text(claim, "/status/phase") != Some("Lost")).then(|| {
        let body = json!({"status": {"phase": "Lost"}});
        patch(claim, Some(Subresource::Status), body)
    })
}

/// The host names that texts about a virtual claim may hold: its own and its source's.
pub fn names(claim: &Value, host: Option<&Value>, context: &Context) -> Names {
    let mut names = Names::new(context);
    let Ok(owner) = Owner::of_virtual(claim, NAME, context) else {
        return names;
    };
    let sources = ["/spec/dataSource/name", "/spec/dataSourceRef/name"];
    let sources = sources.into_iter().filter_map(|field| text(claim, field));
    for found in sources.chain([owner.name.as_str()]) {
        let host = name::of_kind(
            Kind::PersistentVolumeClaim,
            &owner.namespace,
            found,
            context,
        );
        names.add(host, &owner.namespace, found);
    }
    if let Some(host) = host {
        names.add_object(host, &owner);
    }
    names
}

fn patch(claim: &Value, subresource: Option<Subresource>, body: Value) -> Patch {
    let uid = text(claim, "/metadata/uid").unwrap_or_default();
    Patch::new(subresource, Format::Merge, uid, body)
}
