//! Custom resources on their way to the host.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Synced, accepted, guard, rewrite, sent};
use crate::{
    Change, Context, Kind, Owner, Refusal, annotation, change::change, json::text, kind::Reference,
    label, name, owner::metadata,
};

/// A subresource, mostly: it is not written with the rest of the object.
const STATUS: &str = "status";
/// Members that are not rules' to change.
const HEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The host object of a virtual one.
///
/// # Errors
/// No rule is for its kind, the rule does not fit it, or it names what belongs to the control plane.
pub fn to_host(object: &Value, context: &Context) -> Result<Value, Refusal> {
    let synced = synced(object, context)?;
    let owner = Owner::of_virtual(object, synced.kind.name(), context)?;
    let mut host = object.clone();
    for path in &synced.rule.host_owns {
        path.remove(&mut host);
    }
    rewrite::references(&mut host, object, &owner.namespace, synced, context)?;
    rewrite::patches(&mut host, object, synced, context)?;
    let mut body = body(&host);
    if synced.has_status {
        body.remove(STATUS);
    }
    let whole = Value::Object(body.clone());
    guard::check(&whole, synced, context)?;
    let host_name = name::of(&owner.namespace, &owner.name, context);
    let labels = label::OBJECT.translate(object, "/metadata/labels");
    let mut annotations = annotation::passed(object, &[], &[]);
    annotations.extend(sent::annotations(&whole));
    let api = Kind::Custom(synced.kind).description().api;
    body.insert("apiVersion".to_owned(), api.version().into());
    body.insert("kind".to_owned(), api.kind.into());
    let metadata = metadata(&owner, &host_name, labels, annotations, context);
    body.insert("metadata".to_owned(), metadata);
    Ok(body.into())
}

/// How the host object of a virtual one comes to be as it is wanted. What was not sent before, or may not have been, is
/// not taken away.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(object: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let synced = synced(object, context)?;
    let mut wanted = to_host(object, context)?;
    let is_resent = sent::digest(host) == sent::digest(&wanted);
    let is_accepted = is_resent && accepted::is_accepted(host, &wanted, synced);
    let known = if is_resent {
        sent::members(&Value::Object(body(&wanted)))
    } else {
        sent::known(host)
    };
    // What the host owns is as it is there.
    for path in &synced.rule.host_owns {
        if let Some((_, theirs)) = path.find(host).into_iter().next() {
            path.set(&mut wanted, theirs.clone());
        }
    }
    let keys: BTreeSet<String> = [host, &wanted]
        .into_iter()
        .flat_map(|object| body(object).into_iter().map(|(key, _)| key))
        .filter(|key| !owns(synced, key))
        .collect();
    for key in &keys {
        let theirs = host.get(key);
        let to_be = if is_accepted {
            theirs.cloned()
        } else {
            let known = known.get(key).unwrap_or(&Value::Null);
            sent::merge(theirs, wanted.get(key), known)
        };
        wanted[key.as_str()] = to_be.unwrap_or_default();
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Ok(change(host, &wanted, &keys))
}

/// The objects that it uses, of kinds that go to the host only if something does.
pub fn references(object: &Value, context: &Context) -> Vec<Reference> {
    named(object, context, |_| true)
}

/// Those of them that controllers of the host make.
pub fn made_by_host(object: &Value, context: &Context) -> Vec<Reference> {
    named(object, context, rewrite::comes_up)
}

fn named(
    object: &Value,
    context: &Context,
    wanted: impl Fn(&vcluster_resources::custom_resource::ReferenceRule) -> bool,
) -> Vec<Reference> {
    let Some(synced) = context.custom.of(object) else {
        return Vec::new();
    };
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    // Where a condition cannot be told, the translation refuses the object, and says why.
    let all = rewrite::named(object, synced, context).unwrap_or_default();
    let reference = |found: rewrite::Named<'_>| {
        let kind = match found.rule.kind.as_str() {
            "Secret" => Kind::Secret,
            "ConfigMap" => Kind::ConfigMap,
            _always_there => return None,
        };
        wanted(found.rule).then(|| Reference {
            kind,
            namespace: namespace.to_owned(),
            name: found.name.to_owned(),
            optional: true,
        })
    };
    all.into_iter().filter_map(reference).collect()
}

fn synced<'a>(object: &Value, context: &'a Context) -> Result<&'a Synced, Refusal> {
    context.custom.of(object).ok_or_else(|| {
        Refusal::not_supported(
            "kind",
            "has no rule in spec.sync.customResources of the virtual cluster",
        )
    })
}

/// The members of an object that are its own.
pub(super) fn body(object: &Value) -> Map<String, Value> {
    let members = object.as_object().into_iter().flatten();
    members
        .filter(|(key, _)| !HEAD.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Whether the host owns a whole member.
fn owns(synced: &Synced, key: &str) -> bool {
    let is_apart = key == STATUS && synced.has_status;
    let mut owned = synced.rule.host_owns.iter();
    is_apart || owned.any(|path| path.to_string() == key)
}
