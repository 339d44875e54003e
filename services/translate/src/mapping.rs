//! Objects that are mapped one by one: the host's shown inside, and Services of the virtual cluster shown outside.
//!
//! | kind | inside |
//! |---|---|
//! | ConfigMap, Secret | a copy, under the name and namespace that the mapping gives |
//! | Service | a Service without selector that has the *same* ClusterIP: the host's network leads it to the host Service's backends |
//! | Service, mapped out | a Service of a plain name in the host namespace, with the selector of the translated one |
//!
//! Never shown: what belongs to a virtual cluster itself, above all the keys of its control plane, and Secrets that hold
//! tokens of the host's ServiceAccounts. What lives in another namespace is shown only while the host's administrator
//! labels it `vcluster.dev/shareable=true`.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{
    CLUSTER, CLUSTER_UID, EXPORTED, MANAGED, MANAGED_VALUE, MAPPED_FROM, PART, SHAREABLE,
    SHAREABLE_VALUE,
};
use vcluster_resources::sync_policy::{HostObject, is_reserved};

use crate::{
    Change, Context, Kind, Owner, Patch, Refusal, change,
    json::{array, merge_patch, text},
    mirror,
    patch::Format,
    plan::{Cause, Delete},
    secret, service,
};

/// Kinds that are mapped.
pub const KINDS: [Kind; 3] = [Kind::ConfigMap, Kind::Secret, Kind::Service];
/// Fields of a host Service that are shown.
const SERVICE_FIELDS: [&str; 5] = [
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "ports",
];
/// Fields of a Service that is shown outside.
const EXPORTED_FIELDS: [&str; 7] = [
    "internalTrafficPolicy",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
];

/// Why a mapping is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It belongs to a virtual cluster.
    #[error("it belongs to a virtual cluster itself, and is never shown")]
    Ours,
    /// It holds a token of the host.
    #[error("it holds a token of the host cluster, and is never shown")]
    Token,
    /// It is in another namespace, and not shared.
    #[error(
        "it is in another namespace, where an administrator must label it {SHAREABLE}={SHAREABLE_VALUE}"
    )]
    NotShared,
    /// A Service that has no address to show.
    #[error("it has no ClusterIP: only Services with one can be shown inside")]
    NoAddress,
    /// The name is somebody else's.
    #[error("{0} exists and was not made for this mapping: remove it, or choose another name")]
    Taken(String),
    /// The Service that is to be shown outside cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The Service that is to be shown outside selects nothing.
    #[error("it has no selector: only Services that lead to pods can be shown outside")]
    NoSelector,
}

/// What is to be done next about the object that a mapping makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    /// Make it.
    Create(Value),
    /// Change it.
    Patch(Patch),
    /// Delete it; it is made anew if it is wanted.
    Delete(Delete),
}

/// The object inside that shows a host object of that kind.
///
/// # Errors
/// It must not be shown.
pub fn inside(
    kind: Kind,
    host: &Value,
    from: &HostObject,
    to: (&str, &str),
    context: &Context,
) -> Result<Value, Error> {
    let own = context.host_namespace.as_str();
    let namespace = from.namespace.as_deref().unwrap_or(own);
    may_be_shown(kind, host, namespace == own)?;
    let mut shown = json!({
        "apiVersion": kind.description().api.version(),
        "kind": kind.as_str(),
        "metadata": mirror::metadata(host, context),
    });
    shown["metadata"]["namespace"] = to.0.into();
    shown["metadata"]["name"] = to.1.into();
    shown["metadata"]["annotations"][MAPPED_FROM] = format!("{namespace}/{}", from.name).into();
    if kind == Kind::Service {
        shown["spec"] = shown_service(host)?;
        return Ok(shown);
    }
    for key in ["data", "binaryData", "type", "immutable"] {
        if let Some(value) = host.get(key).filter(|value| !value.is_null()) {
            shown[key] = value.clone();
        }
    }
    Ok(shown)
}

fn may_be_shown(kind: Kind, host: &Value, own: bool) -> Result<(), Error> {
    let marked = |map: &str, key: &str| {
        let found = host.pointer(map).and_then(|all| all.get(key));
        found.and_then(Value::as_str)
    };
    let label = |key| marked("/metadata/labels", key);
    let ours = label(PART).is_some()
        || label(CLUSTER).is_some()
        || marked("/metadata/annotations", CLUSTER_UID).is_some()
        || text(host, "/metadata/name").is_none_or(is_reserved);
    if ours {
        return Err(Error::Ours);
    }
    if kind == Kind::Secret && secret::holds_token(host) {
        return Err(Error::Token);
    }
    if !own && label(SHAREABLE) != Some(SHAREABLE_VALUE) {
        return Err(Error::NotShared);
    }
    Ok(())
}

fn shown_service(host: &Value) -> Result<Value, Error> {
    let address = text(host, "/spec/clusterIP").filter(|address| *address != "None");
    if address.is_none() || text(host, "/spec/type") == Some("ExternalName") {
        return Err(Error::NoAddress);
    }
    let mut spec = picked(&host["spec"], &SERVICE_FIELDS);
    spec["type"] = "ClusterIP".into();
    if array(&spec, "/clusterIPs").len() < 2 {
        // As it is: whoever may have a second address is given one inside, where it leads nowhere.
        spec["ipFamilyPolicy"] = "SingleStack".into();
    }
    without_node_ports(&mut spec);
    Ok(spec)
}

fn picked(spec: &Value, keys: &[&str]) -> Value {
    let all = keys.iter().filter_map(|key| {
        let value = spec.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), value.clone()))
    });
    Value::Object(all.collect())
}

fn without_node_ports(spec: &mut Value) {
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.remove("nodePort");
    }
}

/// The host Service called `name` that leads to the pods of a virtual one.
///
/// # Errors
/// The Service cannot be shown outside.
pub fn outside(service: &Value, name: &str, context: &Context) -> Result<Value, Error> {
    let owner = Owner::of_virtual(service, Kind::Service.as_str(), context)?;
    let translated = service::to_host(service, context)?;
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    if selector.is_none_or(Map::is_empty) {
        return Err(Error::NoSelector);
    }
    let mut spec = picked(&translated["spec"], &EXPORTED_FIELDS);
    spec["type"] = "ClusterIP".into();
    without_node_ports(&mut spec);
    let annotations: Map<String, Value> =
        [(EXPORTED.to_owned(), name.into())].into_iter().collect();
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": crate::owner::metadata(&owner, name, Map::new(), annotations, context),
        "spec": spec,
    }))
}

/// Whether an object inside was made for a mapping.
pub fn is_mapped(object: &Value, context: &Context) -> bool {
    mirror::is_ours(object, context) && is_marked(object)
}

/// Whether an object inside bears the marks of a mapping, which only sync can put there.
pub(crate) fn is_marked(object: &Value) -> bool {
    let managed = object
        .pointer("/metadata/labels")
        .and_then(|all| all.get(MANAGED));
    let from = object
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(MAPPED_FROM));
    managed.and_then(Value::as_str) == Some(MANAGED_VALUE) && from.is_some()
}

/// Whether a host Service was made for a Service of this virtual cluster that is mapped out.
pub fn is_exported(service: &Value, context: &Context) -> bool {
    let annotation = |key: &str| {
        let found = service.pointer("/metadata/annotations")?.get(key)?;
        found.as_str()
    };
    annotation(CLUSTER_UID) == Some(&context.cluster_uid)
        && annotation(EXPORTED) == text(service, "/metadata/name")
}

/// The next step about the object that shows a host object, `wanted` being how it should be.
///
/// # Errors
/// Its name is somebody else's.
pub fn step_inside(
    kind: Kind,
    wanted: Option<Value>,
    found: Option<&Value>,
    context: &Context,
) -> Result<Step, Error> {
    let Some(found) = found else {
        return Ok(wanted.map_or(Step::Nothing, Step::Create));
    };
    if !is_mapped(found, context) {
        return match wanted {
            Some(wanted) => Err(taken(kind, &wanted)),
            None => Ok(Step::Nothing),
        };
    }
    let Some(mut wanted) = wanted else {
        return Ok(removal(found, Cause::Unused));
    };
    let (keys, frozen): (&[&str], &[&str]) = if kind == Kind::Service {
        if found.pointer("/spec/clusterIP") != wanted.pointer("/spec/clusterIP") {
            return Ok(removal(found, Cause::Replace));
        }
        // What the API server adds is its own.
        let mut spec = found["spec"].clone();
        if let (Some(spec), Some(wanted)) = (spec.as_object_mut(), wanted["spec"].as_object()) {
            spec.extend(wanted.clone());
        }
        wanted["spec"] = spec;
        (&["spec"], &[])
    } else if found.get("immutable") == Some(&Value::Bool(true)) {
        (
            &["data", "binaryData", "type", "immutable"],
            &["/data", "/binaryData", "/type", "/immutable"],
        )
    } else {
        (&["data", "binaryData", "type", "immutable"], &["/type"])
    };
    Ok(match change::mirror(found, &wanted, keys, frozen) {
        Change::None => Step::Nothing,
        Change::Patch(patch) => Step::Patch(patch),
        Change::Replace => removal(found, Cause::Replace),
    })
}

/// The next step about the host Service of a Service that is mapped out.
///
/// # Errors
/// Its name is somebody else's.
pub fn step_outside(
    wanted: Option<Value>,
    found: Option<&Value>,
    context: &Context,
) -> Result<Step, Error> {
    let Some(found) = found else {
        return Ok(wanted.map_or(Step::Nothing, Step::Create));
    };
    if !is_exported(found, context) {
        return match wanted {
            Some(wanted) => Err(taken(Kind::Service, &wanted)),
            None => Ok(Step::Nothing),
        };
    }
    let Some(wanted) = wanted else {
        return Ok(removal(found, Cause::Unused));
    };
    let mut body = json!({});
    for key in EXPORTED_FIELDS {
        let none = Value::Null;
        let (old, new) = (
            &found["spec"][key],
            wanted["spec"].get(key).unwrap_or(&none),
        );
        // What is not said is left to the host's API server.
        if !new.is_null() && old != new {
            body["spec"][key] = merge_patch(old, new).unwrap_or_default();
        }
    }
    for key in ["labels", "annotations"] {
        let changed = change::members(&wanted, found, &format!("/metadata/{key}"), |_| false);
        if !changed.is_empty() {
            body["metadata"][key] = changed.into();
        }
    }
    if body.as_object().is_none_or(Map::is_empty) {
        return Ok(Step::Nothing);
    }
    let uid = text(found, "/metadata/uid").unwrap_or_default();
    Ok(Step::Patch(Patch::new(None, Format::Merge, uid, body)))
}

fn taken(kind: Kind, wanted: &Value) -> Error {
    let part = |key| text(wanted, key).unwrap_or_default();
    let (namespace, name) = (part("/metadata/namespace"), part("/metadata/name"));
    Error::Taken(format!("{kind} {namespace}/{name}"))
}

fn removal(found: &Value, cause: Cause) -> Step {
    Step::Delete(Delete {
        uid: text(found, "/metadata/uid").unwrap_or_default().to_owned(),
        grace_seconds: None,
        cause,
    })
}

#[cfg(test)]
mod tests;
