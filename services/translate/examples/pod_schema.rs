//! Prints what of a Kubernetes API is reachable from Pod, for the test that every field of a pod has
//! a decision. With a cluster of the pinned version and that version as argument:
//! `kubectl get --raw /openapi/v3/api/v1 | cargo run -p vcluster-translate --example pod_schema -- v1.37.2 >
//! services/translate/src/pod/tests/schema/pod.json`.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use serde_json::{Map, Value, json};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let version = std::env::args()
        .nth(1)
        .ok_or("say the version, such as v1.37.2")?;
    let api: Value = serde_json::from_reader(io::stdin().lock())?;
    let schemas = api
        .pointer("/components/schemas")
        .and_then(Value::as_object)
        .ok_or("not an OpenAPI v3 document")?;
    let mut types = BTreeMap::new();
    reach("io.k8s.api.core.v1.Pod", schemas, &mut types)?;
    let reduced = json!({"kubernetes": version, "types": types});
    writeln!(io::stdout().lock(), "{reduced:#}")?;
    Ok(())
}

/// Adds a type and those that its fields are of.
fn reach(
    name: &str,
    schemas: &Map<String, Value>,
    types: &mut BTreeMap<String, Value>,
) -> Result<(), Error> {
    if types.contains_key(short(name)) {
        return Ok(());
    }
    let schema = schemas
        .get(name)
        .ok_or_else(|| format!("no schema {name}"))?;
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        // Such as a quantity: a leaf.
        return Ok(());
    };
    types.insert(short(name).to_owned(), Value::Null);
    let mut fields = Map::new();
    for (field, schema) in properties {
        fields.insert(field.clone(), of(schema, schemas, types)?);
    }
    types.insert(short(name).to_owned(), fields.into());
    Ok(())
}

/// What a field holds: `"TypeOrScalar"`, `["items"]`, `{"": "values"}` or `{"enum": [...]}`.
fn of(
    schema: &Value,
    schemas: &Map<String, Value>,
    types: &mut BTreeMap<String, Value>,
) -> Result<Value, Error> {
    if let Some(reference) = reference(schema) {
        reach(reference, schemas, types)?;
        return Ok(short(reference).into());
    }
    if let Some(items) = schema.get("items") {
        return Ok(json!([of(items, schemas, types)?]));
    }
    if let Some(values) = schema.get("additionalProperties") {
        return Ok(json!({"": of(values, schemas, types)?}));
    }
    if let Some(values) = schema.get("enum") {
        return Ok(json!({ "enum": values }));
    }
    let type_ = schema.get("type").ok_or("a field of no type")?;
    Ok(type_.clone())
}

fn reference(schema: &Value) -> Option<&str> {
    let own = schema.get("$ref");
    let all = schema.get("allOf").and_then(Value::as_array);
    let of_all = all.and_then(|all| all.first()).and_then(|s| s.get("$ref"));
    own.or(of_all)?
        .as_str()?
        .strip_prefix("#/components/schemas/")
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
