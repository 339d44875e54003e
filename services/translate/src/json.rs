//! Reading and changing JSON whose shape nobody promised.
//!
//! A value of an unexpected type reads as absent; nothing panics.

use serde_json::{Map, Value};

/// The value at a JSON pointer: [`Value::pointer`], but that copies each part of the pointer twice to undo escapes, and
/// objects are asked so many times.
pub fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return value.pointer(pointer);
    }
    let mut parts = pointer.split('/');
    if !parts.next()?.is_empty() {
        return None;
    }
    parts.try_fold(value, |value, part| match value {
        Value::Object(members) => members.get(part),
        Value::Array(items) => item(items, part),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// The item of that number, which is written in one way only.
fn item<'a>(items: &'a [Value], number: &str) -> Option<&'a Value> {
    let is_plain = !number.starts_with('+') && (number == "0" || !number.starts_with('0'));
    items.get(number.parse::<usize>().ok().filter(|_| is_plain)?)
}

/// The string at a JSON pointer, if there is one that is not empty.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    at(value, pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// The array at a JSON pointer; empty if there is none.
pub(crate) fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The object at a JSON pointer, if there is one.
pub(crate) fn object<'a>(value: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    at(value, pointer).and_then(Value::as_object)
}

/// The pairs of strings in the object at a JSON pointer, such as labels.
pub(crate) fn strings<'a>(
    value: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    object(value, pointer)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Whether the value at a JSON pointer is `true`.
pub(crate) fn is_true(value: &Value, pointer: &str) -> bool {
    at(value, pointer) == Some(&Value::Bool(true))
}

/// Whether anything but null or nothing is at a JSON pointer.
pub(crate) fn is_set(value: &Value, pointer: &str) -> bool {
    at(value, pointer).is_some_and(|v| !v.is_null())
}

/// The members of the array under `key`, to change them.
pub(crate) fn array_mut<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// A pair of text as a JSON member.
pub(crate) fn member(key: &str, value: impl Into<Value>) -> (String, Value) {
    (key.to_owned(), value.into())
}

/// The JSON merge patch (RFC 7386) that makes `wanted` of `found`; nothing if they are equal. A
/// null in `wanted` means absent.
pub(crate) fn merge_patch(found: &Value, wanted: &Value) -> Option<Value> {
    if found == wanted {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (found, wanted) else {
        return Some(wanted.clone());
    };
    let mut patch = Map::new();
    for (key, value) in to {
        let change = match from.get(key) {
            None if value.is_null() => None,
            None => Some(value.clone()),
            Some(old) => merge_patch(old, value),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_at_a_pointer_is_what_serde_finds_there() {
        let value = json!({"a": {"b": [1, {"c": 2}], "": 3, "~": 4, "x/y": 5}, "0": 6});
        for pointer in [
            "",
            "/",
            "/a",
            "/a/b",
            "/a/b/0",
            "/a/b/1/c",
            "/a/b/00",
            "/a/b/+1",
            "/a/b/01",
            "/a/b/2",
            "/a/b/-",
            "/a/b/x",
            "/a/",
            "/a/~0",
            "/a/x~1y",
            "/0",
            "a",
            "/a/b/1/c/d",
            "/b",
            "/a/b/18446744073709551616",
        ] {
            assert_eq!(at(&value, pointer), value.pointer(pointer), "{pointer:?}");
        }
    }

    #[test]
    fn a_merge_patch_holds_the_difference_and_nothing_else() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1}), json!({}), Some(json!({"a": null}))),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1, "c": 3}}),
                Some(json!({"a": {"c": 3}})),
            ),
            (
                json!({"a": [1, 2]}),
                json!({"a": [1]}),
                Some(json!({"a": [1]})),
            ),
            (json!({}), json!({"a": null}), None),
            (json!(null), json!({"a": 1}), Some(json!({"a": 1}))),
        ];
        for (found, wanted, patch) in cases {
            assert_eq!(merge_patch(&found, &wanted), patch, "{found} to {wanted}");
        }
    }
}
