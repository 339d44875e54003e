//! Events: the host's about translated objects, told inside the virtual cluster.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use vcluster_resources::name::SUBDOMAIN_LIMIT;

use crate::{
    Context, Owner,
    json::text,
    kind::{Api, Bespoke, Description, Inside, Outside, Scope},
    pod::hosts,
    text::Names,
};

/// Its row in the table of kinds. What happens to synced objects is watched for all tenants at once,
/// and not kept.
pub const KIND: Description = Description::bespoke(
    Bespoke::Event,
    Api::core("Event", "events", Scope::Namespaced).short(&["ev"]),
    Inside::Nothing,
    Outside::Nothing,
);

/// The host object of which an event speaks; the engine looks its owner up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct About {
    /// Kind of the object, for example `Pod`.
    pub kind: String,
    /// Name in the host namespace.
    pub name: String,
    /// UID on the host, if the event says.
    pub uid: Option<String>,
}

/// The object in the host namespace of which a host event speaks; nothing if it is elsewhere.
pub fn about(event: &Value, context: &Context) -> Option<About> {
    let involved = event.get("involvedObject")?;
    if text(involved, "/namespace") != Some(context.host_namespace.as_str()) {
        return None;
    }
    Some(About {
        kind: text(involved, "/kind")?.to_owned(),
        name: text(involved, "/name")?.to_owned(),
        uid: text(involved, "/uid").map(str::to_owned),
    })
}

/// Fields of an event that pass; the rest names objects of the host.
const PASSED: [&str; 11] = [
    "action",
    "count",
    "eventTime",
    "firstTimestamp",
    "lastTimestamp",
    "reason",
    "reportingComponent",
    "reportingInstance",
    "series",
    "source",
    "type",
];

/// The virtual event of a host event about the host object of `owner`, whose UID is `host_uid`;
/// nothing if the event speaks of an earlier object of that name, or of another kind than the
/// owner's. One host event gives one name, so that its repeats update one virtual event.
pub fn to_virtual(
    event: &Value,
    owner: &Owner,
    host_uid: &str,
    names: &Names,
    context: &Context,
) -> Option<Value> {
    let about = about(event, context)?;
    // The kind of an owner is `KIND.GROUP` where it is a custom one.
    let kind = owner.kind.split('.').next().unwrap_or_default();
    if about.kind != kind || about.uid.is_some_and(|uid| uid != host_uid) {
        return None;
    }
    let field = text(event, "/involvedObject/fieldPath").unwrap_or_default();
    if field.contains(&format!("{{{}}}", hosts::NAME)) {
        // A container that is none inside.
        return None;
    }
    let host_name = text(event, "/metadata/name")?;
    let host_event = text(event, "/metadata/uid").unwrap_or(host_name);
    let mut involved = json!({
        "apiVersion": text(event, "/involvedObject/apiVersion"),
        "kind": kind,
        "namespace": owner.namespace,
        "name": owner.name,
        "uid": owner.uid,
    });
    // Names a container of the pod; the same inside.
    if let Some(path) = event.pointer("/involvedObject/fieldPath") {
        involved["fieldPath"] = path.clone();
    }
    let mut virtual_event: Map<String, Value> = PASSED
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), event.get(*key)?.clone())))
        .collect();
    let message = text(event, "/message").unwrap_or_default();
    virtual_event.extend([
        ("apiVersion".to_owned(), "v1".into()),
        ("kind".to_owned(), "Event".into()),
        ("involvedObject".to_owned(), involved),
        ("message".to_owned(), names.translate(message).into()),
        (
            "metadata".to_owned(),
            json!({"name": event_name(&owner.name, host_event), "namespace": owner.namespace}),
        ),
    ]);
    Some(virtual_event.into())
}

/// `OBJECT.HASH`, as client-go's recorders name events, of a host event's UID.
fn event_name(object: &str, host_event: &str) -> String {
    let hash = format!("{:x}", Sha256::digest(host_event.as_bytes()));
    let hash = &hash[..16];
    let mut end = object.len().min(SUBDOMAIN_LIMIT - 1 - hash.len());
    while !object.is_char_boundary(end) {
        end -= 1;
    }
    let object = object[..end].trim_end_matches(['-', '.']);
    format!("{object}.{hash}")
}

#[cfg(test)]
mod tests;
