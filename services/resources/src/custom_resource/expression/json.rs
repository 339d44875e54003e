//! JSON as CEL has it, and back.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::{Failure, RESULT};

const NO_JSON: Failure = Failure::Type("a value that JSON has");

/// JSON as CEL has it. Whole numbers are `int`, as in Kubernetes.
pub(super) fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(
            || cel::Value::Float(number.as_f64().unwrap_or_default()),
            cel::Value::Int,
        ),
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let members: HashMap<String, cel::Value> = members
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value)))
                .collect();
            members.into()
        }
    }
}

/// A result as JSON.
///
/// # Errors
/// JSON has no such value, or it is too large.
pub(super) fn from_cel(value: &cel::Value) -> Result<Value, Failure> {
    one(value, &mut { RESULT })
}

/// Takes what it makes from `left`, and ends when nothing is: the result may hold the same value many times.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other value is none of JSON's"
)]
fn one(value: &cel::Value, left: &mut usize) -> Result<Value, Failure> {
    let mut take = |size: usize| {
        *left = left.checked_sub(size).ok_or(Failure::TooLarge)?;
        Ok::<_, Failure>(())
    };
    take(1)?;
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(number) => Value::from(*number),
        cel::Value::UInt(number) => Value::from(*number),
        cel::Value::Float(number) => Number::from_f64(*number).ok_or(NO_JSON)?.into(),
        cel::Value::String(text) => {
            take(text.len())?;
            Value::from(text.as_str())
        }
        cel::Value::List(items) => items
            .iter()
            .map(|item| one(item, left))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        cel::Value::Map(members) => {
            let mut object = Map::new();
            for (key, value) in members.map.iter() {
                let key = key.to_string();
                *left = left.checked_sub(key.len()).ok_or(Failure::TooLarge)?;
                object.insert(key, one(value, left)?);
            }
            object.into()
        }
        _other => return Err(NO_JSON),
    })
}
