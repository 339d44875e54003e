//! Objects that a tenant makes, and rows about them.

use integration_tests::attempt::{Attempt, Outcome};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// Reason of the Event on what would reach the host.
pub(crate) const REFUSED: &str = "HostAccessRefused";

/// Merges objects, field by field.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// An object with `more` merged in.
pub(crate) fn object(version: &str, kind: &str, name: &str, more: &Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    merge(&mut object, more);
    object
}

fn container(more: &Value) -> Value {
    let mut container = json!({"name": "main", "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]});
    merge(&mut container, more);
    container
}

/// A pod with `more` in its spec or, under the keys `metadata` and `container`, there.
pub(crate) fn pod(name: &str, more: &Value) -> Value {
    let mut spec = more.clone();
    let members = spec.as_object_mut().expect("fields");
    let metadata = members.remove("metadata").unwrap_or_else(|| json!({}));
    let container = container(&members.remove("container").unwrap_or_else(|| json!({})));
    spec["containers"] = json!([container]);
    spec["terminationGracePeriodSeconds"] = 1.into();
    object(
        "v1",
        "Pod",
        name,
        &json!({"metadata": metadata, "spec": spec}),
    )
}

/// A row.
pub(crate) fn attempt(what: &'static str, object: Value, outcome: Outcome) -> Attempt {
    Attempt {
        what,
        object,
        outcome,
    }
}

/// It stays inside, and an Event says these words.
pub(crate) fn told(words: &[&'static str]) -> Outcome {
    Outcome::Told(words.to_vec())
}
