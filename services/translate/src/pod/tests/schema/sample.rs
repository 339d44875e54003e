//! The leaves of the recorded schema, and objects with one of them set.

use serde_json::{Value, json};

/// A field that holds no other fields.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// `a.b[].c{}`.
    pub(super) path: String,
    /// As in the recorded schema.
    type_: Value,
}

pub(super) fn schema() -> Value {
    serde_json::from_str(include_str!("pod.json")).expect("the recorded schema")
}

/// Every leaf of a Pod.
pub(super) fn leaves() -> Vec<Leaf> {
    let schema = schema();
    let mut found = Vec::new();
    let pod = schema["types"]["Pod"].as_object().expect("Pod");
    for (field, type_) in pod {
        if !matches!(field.as_str(), "apiVersion" | "kind") {
            gather(field.clone(), type_, &schema["types"], &mut found);
        }
    }
    assert!(found.len() > 1000, "the walk ends too early");
    found
}

fn gather(path: String, type_: &Value, types: &Value, found: &mut Vec<Leaf>) {
    if let Some(items) = type_.as_array() {
        return gather(path + "[]", &items[0], types, found);
    }
    if let Some(values) = type_.get("") {
        return gather(path + "{}", values, types, found);
    }
    let fields = type_.as_str().and_then(|name| types.get(name));
    match fields.and_then(Value::as_object) {
        Some(fields) => {
            for (field, type_) in fields {
                gather(format!("{path}.{field}"), type_, types, found);
            }
        }
        None => found.push(Leaf {
            path,
            type_: type_.clone(),
        }),
    }
}

impl Leaf {
    /// The values that the API knows, if it lists them.
    pub(super) fn listed(&self) -> Option<Vec<Value>> {
        self.type_.get("enum")?.as_array().cloned()
    }

    /// Values to try.
    pub(super) fn samples(&self) -> Vec<Value> {
        if let Some(listed) = self.listed() {
            return listed;
        }
        match self.type_.as_str().expect("a scalar") {
            "string" => vec![json!("text")],
            "boolean" => vec![json!(true), json!(false)],
            "integer" => vec![json!(7)],
            "IntOrString" => vec![json!(8080), json!("http")],
            "Quantity" => vec![json!("1")],
            "Time" => vec![json!("2026-01-01T00:00:00Z")],
            "FieldsV1" => vec![json!({"f:a": {}})],
            unknown => panic!("{}: no sample of {unknown}", self.path),
        }
    }

    /// `into` with this field set.
    pub(super) fn set(&self, into: &mut Value, value: Value) {
        let mut at = into;
        for (key, sort) in self.steps() {
            if !at.is_object() {
                *at = json!({});
            }
            at = match sort {
                Sort::Field => &mut at[key],
                Sort::List => {
                    if !at[key].is_array() {
                        at[key] = json!([{}]);
                    }
                    &mut at[key][0]
                }
                Sort::Map => &mut at[key]["k"],
            };
        }
        *at = value;
    }

    /// This field of an object whose `envFrom` begins with two entries of ours, if `host`.
    pub(super) fn get<'a>(&self, object: &'a Value, host: bool) -> Option<&'a Value> {
        let mut at = object;
        for (key, sort) in self.steps() {
            at = at.get(key)?;
            at = match sort {
                Sort::Field => at,
                Sort::List => at.get(2 * usize::from(host && key == "envFrom"))?,
                Sort::Map => at.get("k")?,
            };
        }
        Some(at)
    }

    /// The field as a refusal names it.
    pub(super) fn named(&self) -> String {
        self.path.replace("[]", "[0]").replace("{}", "")
    }

    fn steps(&self) -> impl Iterator<Item = (&str, Sort)> {
        self.path.split('.').map(|step| {
            if let Some(key) = step.strip_suffix("[]") {
                (key, Sort::List)
            } else if let Some(key) = step.strip_suffix("{}") {
                (key, Sort::Map)
            } else {
                (step, Sort::Field)
            }
        })
    }
}

enum Sort {
    Field,
    List,
    Map,
}

/// Adds to `object` what the parents of a leaf must have, where they are there and lack it.
pub(super) fn dress(object: &mut Value, needs: &[(&str, Value)]) {
    for (pointer, member) in needs {
        let Some(parent) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else {
            continue;
        };
        for (key, value) in member.as_object().expect("an object") {
            parent.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}
