//! At which addresses an object is served: said by the host's controllers, shown inside.
//!
//! Controllers inside may serve objects too (an ingress controller or MetalLB of the tenant's own), and write the same
//! part of the status. So what the host does not say is left alone, unless it is what the host said before: of that,
//! an annotation of the virtual object keeps a note, written with the status itself.

use serde_json::{Map, Value, json};

use crate::{
    Patch,
    digest::Digest,
    json::{array, merge_patch, text},
    patch::{Format, Subresource},
};

/// Annotation of a virtual object: what of its status came from the host, as JSON.
const FROM_HOST: &str = "vcluster.dev/status-from-host";

/// What the host says.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    /// `status.loadBalancer`, if the host serves the object.
    pub(crate) load_balancer: Option<&'a Value>,
    /// `status.conditions`, in words of the virtual cluster.
    pub(crate) conditions: Vec<Value>,
}

/// What the virtual `object` must be told of it; nothing if it says so.
pub(crate) fn status_to_virtual(said: &Said<'_>, object: &Value) -> Option<Patch> {
    let noted = note_of(object);
    let found = object.pointer("/status/loadBalancer").cloned();
    let found = found.unwrap_or_else(|| json!({}));
    let given = said.load_balancer.filter(|given| !is_empty(given));
    let wanted = match given {
        Some(given) => given.clone(),
        None if noted.get("loadBalancer") == Some(&digest(&found)) => json!({}),
        None => found.clone(),
    };
    let mut status = Map::new();
    if let Some(change) = merge_patch(&found, &wanted) {
        status.insert("loadBalancer".to_owned(), change);
    }
    let before = array(object, "/status/conditions");
    let conditions = conditions(&said.conditions, before, array(&noted, "/conditions"));
    let mut metadata = Map::new();
    if conditions != before {
        status.insert("conditions".to_owned(), conditions.into());
        // The list is written whole: another writer's condition must not be lost.
        let version = object.pointer("/metadata/resourceVersion").cloned();
        metadata.insert("resourceVersion".to_owned(), version.into());
    }
    let note = note(given, &said.conditions);
    if note != noted {
        let text = (!is_empty(&note)).then(|| note.to_string());
        metadata.insert("annotations".to_owned(), json!({ FROM_HOST: text }));
    }
    if status.is_empty() && metadata.is_empty() {
        return None;
    }
    let mut body = json!({ "metadata": metadata });
    if !status.is_empty() {
        body["status"] = status.into();
    }
    let uid = text(object, "/metadata/uid").unwrap_or_default();
    Some(Patch::new(
        Some(Subresource::Status),
        Format::Merge,
        uid,
        body,
    ))
}

/// The conditions `before`, with those that the host says, without those that it said (`noted`, by type) and says no
/// more. Their order stays, as nobody must fight over it.
fn conditions(said: &[Value], before: &[Value], noted: &[Value]) -> Vec<Value> {
    let same = |one: &Value, other: &Value| one.get("type") == other.get("type");
    let kept = before.iter().filter_map(|before| {
        let now = said.iter().find(|said| same(said, before));
        let gone = before
            .get("type")
            .is_some_and(|type_| noted.contains(type_));
        now.or_else(|| Some(before).filter(|_| !gone))
    });
    let new = |said: &&Value| !before.iter().any(|before| same(said, before));
    kept.chain(said.iter().filter(new)).cloned().collect()
}

fn note(load_balancer: Option<&Value>, conditions: &[Value]) -> Value {
    let mut note = json!({});
    if let Some(given) = load_balancer {
        note["loadBalancer"] = digest(given);
    }
    if !conditions.is_empty() {
        let types: Vec<_> = conditions.iter().map(|said| said["type"].clone()).collect();
        note["conditions"] = types.into();
    }
    note
}

fn note_of(object: &Value) -> Value {
    let annotations = object.pointer("/metadata/annotations");
    let note = annotations.and_then(|all| all.get(FROM_HOST)?.as_str());
    let note = note.and_then(|note| serde_json::from_str::<Value>(note).ok());
    note.filter(Value::is_object).unwrap_or_else(|| json!({}))
}

fn digest(load_balancer: &Value) -> Value {
    Digest::of(load_balancer).to_string().into()
}

/// Whether it says nothing, by whatever emptiness.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::patched;

    fn object(status: &Value) -> Value {
        json!({"metadata": {"uid": "1", "resourceVersion": "7"}, "status": status})
    }

    fn at(ip: &str) -> Value {
        json!({"ingress": [{"ip": ip}]})
    }

    fn tell(host: Option<&Value>, conditions: &[Value], object: &Value) -> Option<Patch> {
        let said = Said {
            load_balancer: host,
            conditions: conditions.to_vec(),
        };
        status_to_virtual(&said, object)
    }

    #[test]
    fn what_a_controller_inside_says_stays_while_the_host_says_nothing() {
        let own =
            object(&json!({"loadBalancer": at("192.0.2.9"), "conditions": [{"type": "Own"}]}));
        for nothing in [None, Some(&json!({})), Some(&json!({"ingress": []}))] {
            assert_eq!(tell(nothing, &[], &own), None);
        }
    }

    #[test]
    fn what_the_host_said_goes_when_the_host_says_it_no_more() {
        let given = at("192.0.2.1");
        let shown = tell(Some(&given), &[], &object(&json!({}))).unwrap();
        let shown = patched(&object(&json!({})), &shown);
        assert_eq!(shown["status"]["loadBalancer"], given);
        assert_eq!(tell(Some(&given), &[], &shown), None);
        let gone = patched(&shown, &tell(None, &[], &shown).unwrap());
        assert_eq!(gone["status"]["loadBalancer"], json!({}));
        assert_eq!(tell(None, &[], &gone), None);
        // Another has taken over meanwhile: only the note goes.
        let mut taken = shown;
        taken["status"]["loadBalancer"] = at("192.0.2.9");
        let patch = tell(None, &[], &taken).unwrap();
        assert_eq!(patch.body.get("status"), None);
        assert_eq!(tell(None, &[], &patched(&taken, &patch)), None);
    }

    #[test]
    fn conditions_are_matched_by_type() {
        let is = |type_: &str, status: &str| json!({"type": type_, "status": status});
        let before = object(&json!({"conditions": [is("Own", "True"), is("Pool", "False")]}));
        let patch = tell(None, &[is("Ports", "True"), is("Pool", "True")], &before).unwrap();
        assert_eq!(patch.body["metadata"]["resourceVersion"], "7");
        let after = patched(&before, &patch);
        assert_eq!(
            after["status"]["conditions"],
            json!([is("Own", "True"), is("Pool", "True"), is("Ports", "True")])
        );
        let patch = tell(None, &[is("Pool", "True")], &after).unwrap();
        assert_eq!(
            patched(&after, &patch)["status"]["conditions"],
            json!([is("Own", "True"), is("Pool", "True")])
        );
    }
}
