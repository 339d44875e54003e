//! How an object that exists comes to be as translation wants it.
//!
//! One rule says with what it is compared. What translation alone decides (our labels and annotations, selectors,
//! names, a mirror's fields) is compared with the object as it is, so that a change by hand is undone. What the
//! host's admission may decide for good (images, tolerations and resources of pods, sizes of claims) is compared with
//! what was last applied, of which an annotation keeps a digest or the values: it is not fought over, and a later
//! change of the user's still goes down.

use serde_json::{Map, Value, json};

use crate::{
    Patch, annotation,
    json::{merge_patch, object, text},
    label,
    patch::Format,
};

/// How an object comes to be as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is.
    None,
    /// By a patch.
    Patch(Patch),
    /// Not at all: what differs cannot be changed. It must be deleted and made again.
    Replace,
}

/// How `host` comes to be `wanted`, in what translation writes: `keys` of the object, our labels
/// and annotations. What is under other keys is somebody else's and stays. An object that is
/// `immutable`, or of another `type`, is replaced.
pub fn change(host: &Value, wanted: &Value, keys: &[&str]) -> Change {
    let body = fields(host, wanted, keys);
    if body.get("type").is_some() {
        return Change::Replace;
    }
    let frozen = host.get("immutable") == Some(&Value::Bool(true));
    if frozen && body.as_object().is_some_and(|body| !body.is_empty()) {
        return Change::Replace;
    }
    with_marks(host, wanted, body)
}

/// The same where what is at a JSON pointer of `frozen` is what cannot be changed.
pub(crate) fn change_frozen(
    host: &Value,
    wanted: &Value,
    keys: &[&str],
    frozen: &[&str],
) -> Change {
    let body = fields(host, wanted, keys);
    if frozen.iter().any(|pointer| body.pointer(pointer).is_some()) {
        return Change::Replace;
    }
    with_marks(host, wanted, body)
}

/// The patch, with our labels and annotations.
fn with_marks(host: &Value, wanted: &Value, mut body: Value) -> Change {
    let labels = members(wanted, host, "/metadata/labels", label::is_virtual);
    let annotations = members(wanted, host, "/metadata/annotations", |key| {
        annotation::is_passed(host, key)
    });
    for (key, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            body["metadata"][key] = changes.into();
        }
    }
    patch(host, body)
}

/// What must change of the object at a JSON pointer of `host`: the members to set, and as null
/// those that `is_ours` and are not wanted any more.
pub(crate) fn members(
    wanted: &Value,
    host: &Value,
    pointer: &str,
    is_ours: impl Fn(&str) -> bool,
) -> Map<String, Value> {
    let empty = Map::new();
    let wanted = object(wanted, pointer).unwrap_or(&empty);
    let found = object(host, pointer).unwrap_or(&empty);
    let set = wanted
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()));
    let removed = found
        .keys()
        .filter(|key| !wanted.contains_key(*key) && is_ours(key))
        .map(|key| (key.clone(), Value::Null));
    set.chain(removed).collect()
}

/// How the mirror `found` of a host object, inside, comes to be `wanted`: `keys` of the object, its labels
/// and annotations are the host's alone. What is at a JSON pointer of `frozen` cannot be changed.
pub(crate) fn mirror(found: &Value, wanted: &Value, keys: &[&str], frozen: &[&str]) -> Change {
    let mut body = fields(found, wanted, keys);
    if frozen.iter().any(|pointer| body.pointer(pointer).is_some()) {
        return Change::Replace;
    }
    for key in ["labels", "annotations"] {
        let empty = json!({});
        let pointer = format!("/metadata/{key}");
        let found = found.pointer(&pointer).unwrap_or(&empty);
        let wanted = wanted.pointer(&pointer).unwrap_or(&empty);
        if let Some(change) = merge_patch(found, wanted) {
            body["metadata"][key] = change;
        }
    }
    patch(found, body)
}

/// The merge patch of these keys of the object.
fn fields(found: &Value, wanted: &Value, keys: &[&str]) -> Value {
    let mut body = json!({});
    for key in keys {
        let found = found.get(*key).unwrap_or(&Value::Null);
        let wanted = wanted.get(*key).unwrap_or(&Value::Null);
        // Nothing and empty are the same.
        let is_empty = |value: &Value| {
            value.is_null()
                || *value == Value::Bool(false)
                || value.as_object().is_some_and(Map::is_empty)
        };
        if is_empty(found) && is_empty(wanted) {
            continue;
        }
        if let Some(change) = merge_patch(found, wanted) {
            body[*key] = change;
        }
    }
    body
}

fn patch(found: &Value, body: Value) -> Change {
    if body.as_object().is_none_or(Map::is_empty) {
        return Change::None;
    }
    let uid = text(found, "/metadata/uid").unwrap_or_default();
    Change::Patch(Patch::new(None, Format::Merge, uid, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_ours_that_are_not_wanted_any_more_go_and_those_of_others_stay() {
        let host = json!({"metadata": {"uid": "b057", "labels": {
            "label.vcluster.dev/app": "web", "label.vcluster.dev/old": "x", "by-hand": "y",
        }}});
        let wanted = json!({"metadata": {"labels": {"label.vcluster.dev/app": "db"}}});
        let Change::Patch(patch) = change(&host, &wanted, &[]) else {
            panic!("not patched")
        };
        assert_eq!(
            patch.body,
            json!({"metadata": {"uid": "b057", "labels": {
                "label.vcluster.dev/app": "db", "label.vcluster.dev/old": null,
            }}})
        );
    }

    #[test]
    fn what_others_put_on_a_host_object_stays_and_what_is_frozen_is_replaced() {
        let host = json!({"metadata": {"uid": "1", "labels": {"cost-centre": "7", "vcluster.dev/cluster": "x"},
            "annotations": {"policy": "seen"}}, "value": 1});
        let wanted = json!({"metadata": {"labels": {"vcluster.dev/cluster": "demo"}}, "value": 1});
        let Change::Patch(patch) = change_frozen(&host, &wanted, &["value"], &["/value"]) else {
            panic!("not patched")
        };
        let body = json!({"metadata": {"uid": "1", "labels": {"vcluster.dev/cluster": "demo"}}});
        assert_eq!(patch.body, body);
        let moved = json!({"metadata": wanted["metadata"], "value": 2});
        let replaced = change_frozen(&host, &moved, &["value"], &["/value"]);
        assert_eq!(replaced, Change::Replace);
    }

    #[test]
    fn a_mirror_has_the_host_s_labels_and_no_others_and_is_replaced_where_it_is_frozen() {
        let found = json!({"metadata": {"uid": "1", "labels": {"a": "b"}}, "value": 1, "spec": {}});
        let wanted = json!({"metadata": {"labels": {"c": "d"}}, "value": 1});
        let keys = ["value", "spec"];
        let Change::Patch(patch) = mirror(&found, &wanted, &keys, &["/value", "/spec/a"]) else {
            panic!("not patched")
        };
        assert_eq!(
            patch.body,
            json!({"metadata": {"uid": "1", "labels": {"a": null, "c": "d"}}})
        );
        for pointer in ["/value", "/spec/a"] {
            let mut wanted = wanted.clone();
            wanted["spec"] = json!({});
            wanted["value"] = 1.into();
            match pointer {
                "/value" => wanted["value"] = 2.into(),
                _ => wanted["spec"]["a"] = 2.into(),
            }
            let frozen = [pointer];
            assert_eq!(mirror(&found, &wanted, &keys, &frozen), Change::Replace);
        }
    }
}
