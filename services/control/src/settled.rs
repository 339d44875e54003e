//! Does an object already say what is wanted?
//!
//! Kubernetes adds defaults, and other writers add fields of their own; so the question is whether
//! everything that is wanted is there, not whether nothing else is. A field that *we* once wanted
//! and no longer want is removed by server-side apply when something else changes.

use serde_json::Value;

use crate::quantity::thousandths;

/// Whether everything in `wanted` is in `live`.
pub fn settled(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().all(|(key, wanted)| {
            match live.get(key) {
                Some(live) => settled(wanted, live),
                // The API server leaves out what is empty.
                None => is_empty(wanted),
            }
        }),
        // Lists are ours as a whole, but each element may have got defaults.
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(w, l)| settled(w, l))
        }
        (Value::String(wanted), Value::String(live)) => {
            wanted == live || same_quantity(wanted, live)
        }
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_)) => wanted == live,
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => false,
    }
}

/// Whether both say the same, and neither anything more. An empty list counts as none, as the API server leaves it out; an
/// empty object does not: a selector without requirements selects everything.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            keys.into_iter()
                .all(|key| match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => same(one, other),
                    (Some(value), None) | (None, Some(value)) => {
                        value.is_null() || value.as_array().is_some_and(Vec::is_empty)
                    }
                    (None, None) => true,
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => one == other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether both are the same quantity: the API server stores `1000m` as `1`.
fn same_quantity(one: &str, other: &str) -> bool {
    match (thousandths(one), thousandths(other)) {
        (Some(one), Some(other)) => one == other,
        (Some(_) | None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_foreign_fields_do_not_unsettle() {
        let wanted = json!({ "spec": { "ports": [{ "port": 443 }], "sessionAffinity": null } });
        let live = json!({
            "spec": { "ports": [{ "port": 443, "protocol": "TCP" }], "type": "ClusterIP" },
            "status": {},
        });
        assert!(settled(&wanted, &live));
    }

    #[test]
    fn what_is_the_same_has_nothing_more_but_what_is_empty() {
        let one =
            json!({ "egress": [{ "ports": [{ "port": 53, "protocol": "TCP" }] }], "ingress": [] });
        let other = json!({ "egress": [{ "ports": [{ "port": 53, "protocol": "TCP" }] }] });
        assert!(same(&one, &other) && same(&other, &one));
        let more = [
            ("/egress/0/ports/0", "endPort", json!(99)),
            ("/egress/0", "to", json!({})),
        ];
        for (pointer, key, value) in more {
            let mut other = other.clone();
            other.pointer_mut(pointer).unwrap()[key] = value;
            assert!(settled(&one, &other), "{other}");
            assert!(!same(&one, &other) && !same(&other, &one), "{other}");
        }
    }

    #[test]
    fn a_changed_missing_or_extra_element_unsettles() {
        let wanted = json!({ "a": [1, 2], "b": "x" });
        for live in [
            json!({ "a": [1, 2], "b": "y" }),
            json!({ "a": [1, 2] }),
            json!({ "a": [1], "b": "x" }),
            json!({ "a": [1, 2, 3], "b": "x" }),
            json!({ "a": "12", "b": "x" }),
        ] {
            assert!(!settled(&wanted, &live), "{live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (one, other) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1k", "1000"),
        ] {
            assert!(settled(&json!(one), &json!(other)), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1M", "1Mi"), ("v1.37.2", "v1.37.3"), ("", "0")] {
            assert!(!settled(&json!(one), &json!(other)), "{one} {other}");
        }
    }
}
