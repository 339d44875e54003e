//! Secrets and ConfigMaps that a controller of the host makes for a tenant's object, such as the Secret of a
//! certificate: they come up into the virtual cluster, under the name by which the object names them.
//!
//! The host's object is nobody's translation and is never written. Inside, its copy bears an annotation; one that the
//! tenant made himself is left alone. Data and type come up; labels and annotations stay behind, as they are for the
//! host's controllers.

use serde_json::{Value, json};
use vcluster_resources::label::MADE_BY_HOST;

use crate::{
    Change, Context, Kind, Patch, Refusal,
    json::{merge_patch, text},
    patch::Format,
    secret,
};

/// Whether a virtual object is the copy of one that the host made.
pub fn is_copy(object: &Value, context: &Context) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    let mark = annotations
        .and_then(|all| all.get(MADE_BY_HOST))
        .and_then(Value::as_str);
    mark == Some(&context.cluster_uid)
}

/// The virtual object `namespace`/`name` for one that the host made.
///
/// # Errors
/// It holds a token of the host's.
pub fn copy(
    kind: Kind,
    namespace: &str,
    name: &str,
    host: &Value,
    context: &Context,
) -> Result<Value, Refusal> {
    if secret::holds_token(host) {
        return Err(Refusal::host_access(
            "type",
            "the Secret on the host holds a token of the host's, which is not shown",
        ));
    }
    let api = kind.description().api;
    let mut copy = json!({
        "apiVersion": api.version(),
        "kind": api.kind,
        "metadata": {
            "namespace": namespace,
            "name": name,
            "annotations": {MADE_BY_HOST: context.cluster_uid},
        },
    });
    for key in content(kind) {
        if let Some(value) = host.get(*key).filter(|value| !value.is_null()) {
            copy[*key] = value.clone();
        }
    }
    Ok(copy)
}

/// How a copy comes to be as it is wanted.
pub fn difference(kind: Kind, found: &Value, wanted: &Value) -> Change {
    let mut body = json!({});
    for key in content(kind) {
        let found = found.get(*key).unwrap_or(&Value::Null);
        let wanted = wanted.get(*key).unwrap_or(&Value::Null);
        let is_empty = |value: &Value| {
            value.as_object().is_none_or(serde_json::Map::is_empty) && !value.is_string()
        };
        if is_empty(found) && is_empty(wanted) {
            continue;
        }
        if let Some(change) = merge_patch(found, wanted) {
            body[*key] = change;
        }
    }
    let is_frozen = found.get("immutable") == Some(&Value::Bool(true));
    match body.as_object() {
        Some(changes) if changes.is_empty() => Change::None,
        Some(changes) if changes.contains_key("type") || is_frozen => Change::Replace,
        Some(_) | None => {
            let uid = text(found, "/metadata/uid").unwrap_or_default();
            Change::Patch(Patch::new(None, Format::Merge, uid, body))
        }
    }
}

fn content(kind: Kind) -> &'static [&'static str] {
    if kind == Kind::Secret {
        &["type", "data"]
    } else {
        &["data", "binaryData"]
    }
}

#[cfg(test)]
mod tests;
