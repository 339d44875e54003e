//! From a virtual claim to its host claim.

use serde_json::{Map, Value, json};

use super::NAME;
use crate::{
    Context, Kind, Owner, Patch, Refusal,
    annotation::passed_of,
    change::{Change, change},
    digest::Digest,
    json::{array, is_set, is_true, object, strings, text},
    label, name,
    owner::metadata,
};

const CLAIM: Kind = Kind::PersistentVolumeClaim;
/// User's annotations that pass: read by provisioners, and harmful to nobody else. Others may name
/// volumes or paths of the host's storage, such as one to import.
const PASSED: [&str; 1] = ["volumeType"];
/// The storage class, before there was a field for it.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// Annotation of a host claim: the digest of the changeable part of its spec as last applied. Not
/// compared with the host's spec itself, which the host's admission may have changed for good.
const APPLIED: &str = "vcluster.dev/applied";

/// The host claim of a virtual one.
///
/// # Errors
/// It asks for a volume of the host's, or for a source that is not translated.
pub fn to_host(claim: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(claim, NAME, context)?;
    let spec = spec(claim, &owner, context)?;
    let mut annotations = passed_of(claim, |key| PASSED.contains(&key));
    let applied = Digest::of(&changeable(&spec)).to_string();
    annotations.insert(APPLIED.to_owned(), applied.into());
    let labels = label::OBJECT.translate(claim, "/metadata/labels");
    let host_name = name::of_kind(CLAIM, &owner.namespace, &owner.name, context);
    Ok(json!({
        "apiVersion": "v1",
        "kind": NAME,
        "metadata": metadata(&owner, &host_name, labels, annotations, context),
        "spec": spec,
    }))
}

fn spec(claim: &Value, owner: &Owner, context: &Context) -> Result<Map<String, Value>, Refusal> {
    let Some(spec) = object(claim, "/spec") else {
        return Err(Refusal::invalid("spec", "must be an object"));
    };
    let mut spec = spec.clone();
    spec.retain(|_, value| !value.is_null());
    if spec.contains_key("selector") {
        return Err(Refusal::host_access(
            "spec.selector",
            "chooses among the host cluster's PersistentVolumes, which virtual clusters may not; \
             leave it out and name a storage class",
        ));
    }
    // The host binds. That it names what the host has bound is seen where both are compared.
    spec.remove("volumeName");
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = spec.get_mut(field) {
            rewrite_source(source, &format!("spec.{field}"), owner, context)?;
        }
    }
    if !spec.contains_key("storageClassName")
        && let Some(class) = beta_class(claim)
    {
        spec.insert("storageClassName".to_owned(), class.into());
    }
    Ok(spec)
}

/// The storage class that an annotation names, empty or not.
pub(super) fn beta_class(claim: &Value) -> Option<&str> {
    let mut annotations = strings(claim, "/metadata/annotations");
    annotations
        .find(|(key, _)| *key == BETA_CLASS)
        .map(|(_, class)| class)
}

fn rewrite_source(
    source: &mut Value,
    field: &str,
    owner: &Owner,
    context: &Context,
) -> Result<(), Refusal> {
    let group = text(source, "/apiGroup").unwrap_or_default();
    let kind = text(source, "/kind").unwrap_or_default();
    let known = [CLAIM, Kind::VolumeSnapshot].into_iter().find(|known| {
        let api = known.description().api;
        (group, kind) == (api.group, api.kind)
    });
    let Some(kind) = known else {
        return Err(Refusal::not_supported(
            field,
            format!(
                "a source of kind {kind:?} is not translated to the host; allowed are \
                 PersistentVolumeClaim and VolumeSnapshot"
            ),
        ));
    };
    let elsewhere = text(source, "/namespace").is_some_and(|other| other != owner.namespace);
    if elsewhere {
        return Err(Refusal::not_supported(
            format!("{field}.namespace"),
            "a source in another namespace is not translated to the host; it must be in the \
             claim's own",
        ));
    }
    let Some(found) = text(source, "/name") else {
        return Err(Refusal::invalid(
            format!("{field}.name"),
            "must not be empty",
        ));
    };
    source["name"] = name::of_kind(kind, &owner.namespace, found, context).into();
    if let Some(source) = source.as_object_mut() {
        // Its own, which on the host is another's name.
        source.remove("namespace");
    }
    Ok(())
}

/// Whether the claim is to begin as a copy of a VolumeSnapshot.
pub fn is_of_snapshot(claim: &Value) -> bool {
    let snapshot = Kind::VolumeSnapshot.as_str();
    ["/spec/dataSource/kind", "/spec/dataSourceRef/kind"]
        .iter()
        .any(|pointer| text(claim, pointer) == Some(snapshot))
}

/// Why a claim is not made that [`is_of_snapshot`] on a host without snapshots: a provisioner that knows none would
/// make it empty.
pub fn no_snapshots() -> Refusal {
    Refusal::not_supported(
        "spec.dataSource",
        "the host cluster has no VolumeSnapshots: a claim cannot be made of one",
    )
}

/// The part of a claim's spec that may change: of a bound claim.
fn changeable(spec: &Map<String, Value>) -> Value {
    json!({
        "resources": spec.get("resources"),
        "volumeAttributesClassName": spec.get("volumeAttributesClassName"),
    })
}

/// What must change on the host claim of a virtual one; nothing if all is as it should be.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(
    claim: &Value,
    host: &Value,
    context: &Context,
) -> Result<Option<Patch>, Refusal> {
    let wanted = to_host(claim, context)?;
    // A change of the spec is one of the digest too.
    let mut patch = match change(host, &wanted, &[]) {
        Change::Patch(patch) => patch,
        Change::None | Change::Replace => return Ok(None),
    };
    let pointer = "/metadata/annotations/vcluster.dev~1applied";
    if wanted.pointer(pointer) != host.pointer(pointer) {
        for key in ["resources", "volumeAttributesClassName"] {
            if let Some(value) = wanted["spec"].get(key) {
                patch.body["spec"][key] = value.clone();
            }
        }
    }
    Ok(Some(patch))
}

/// Whether the claim was made for a generic ephemeral volume of the pod: a claim that only bears
/// the name is somebody else's, and a pod must not start with it.
pub fn is_of_pod(claim: &Value, pod: &Value) -> bool {
    let uid = text(pod, "/metadata/uid");
    is_set(pod, "/metadata/uid")
        && array(claim, "/metadata/ownerReferences")
            .iter()
            .any(|owner| is_true(owner, "/controller") && text(owner, "/uid") == uid)
}

/// Why a pod does not start with a claim that [`is_of_pod`] denies it.
pub fn is_anothers(claim: &str) -> Refusal {
    Refusal::invalid(
        "spec.volumes",
        format!(
            "the claim {claim:?} was not made for the ephemeral volume of this pod; delete it, or \
             rename the volume"
        ),
    )
}
