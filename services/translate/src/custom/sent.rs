//! What was sent of a custom resource, as its host object says, so that an edit takes away on the host what was sent
//! before and nothing that a controller there has added.
//!
//! | annotation | what it says |
//! |---|---|
//! | `vcluster.dev/sent` | a fingerprint of what was sent last |
//! | `vcluster.dev/sent-fields` | which members that had, of which lists; without values |
//!
//! On doubt nothing is taken away: where the second is missing, of another write than the first, or would have been too
//! long, a member that is on the host and not wanted stays. A list is one value: it is written whole, unless the same
//! list was sent before; then what the host added to its items stays.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{
    digest::Digest,
    json::{at, text},
};

/// Annotation of a host object: fingerprint of what was sent last.
pub(super) const SENT: &str = "vcluster.dev/sent";
/// Annotation of a host object: which members that had.
pub(super) const FIELDS: &str = "vcluster.dev/sent-fields";
/// Bytes of the names of members at most. Objects are read by many, and an annotation is in each answer.
const LIMIT: usize = 16 << 10;
/// Characters of a list's fingerprint: who makes two that are alike harms nobody but himself.
const LIST: usize = 16;

/// The annotations of the host object that say that `body` is sent.
pub(super) fn annotations(body: &Value) -> Map<String, Value> {
    let digest = Digest::of(body).to_string();
    // The fingerprint once more, in case that somebody who knows no fields writes another one.
    let fields = |members: &str| format!(r#"{{"of":"{digest}","members":{members}}}"#);
    let mut all = String::new();
    write(&members(body), &mut all);
    all = fields(&all);
    if all.len() > LIMIT {
        all = fields("{}");
    }
    Map::from_iter([
        (FIELDS.to_owned(), all.into()),
        (SENT.to_owned(), digest.into()),
    ])
}

/// Fingerprint of what was sent last.
pub(super) fn digest(host: &Value) -> Option<&str> {
    annotation(host, SENT)
}

/// As JSON with the members sorted. Not left to serde_json, whose order depends on features that any crate of the build
/// may switch on: another order would be another annotation, to be written again.
fn write(members: &Value, out: &mut String) {
    let Value::Object(all) = members else {
        // Writing to a String does not fail.
        let _ = write!(out, "{members}");
        return;
    };
    let mut all: Vec<_> = all.iter().collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (n, (key, members)) in all.into_iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}:", Value::String(key.clone()));
        write(members, out);
    }
    out.push('}');
}

/// The [`members`] of what was sent last, as far as they are known.
pub(super) fn known(host: &Value) -> Value {
    let fields = annotation(host, FIELDS).and_then(|text| serde_json::from_str(text).ok());
    let mut fields: Value = fields.unwrap_or_default();
    if digest(host).is_some() && text(&fields, "/of") == digest(host) {
        fields["members"].take()
    } else {
        Value::Null
    }
}

fn annotation<'a>(host: &'a Value, key: &str) -> Option<&'a str> {
    at(host, "/metadata/annotations")?.get(key)?.as_str()
}

/// The members of a value and of the objects in it: of a list its fingerprint, of another value nothing more. A null is
/// no member: to an API server it is the same as nothing.
pub(super) fn members(value: &Value) -> Value {
    match value {
        Value::Object(all) => all
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), members(value)))
            .collect(),
        Value::Array(_) => list(value).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0.into(),
    }
}

fn list(value: &Value) -> String {
    let mut digest = Digest::of(value).to_string();
    digest.truncate(LIST);
    digest
}

/// What is to be where `theirs` is and `ours` is wanted, of which `known` was sent before; nothing if nothing is.
pub(super) fn merge(theirs: Option<&Value>, ours: Option<&Value>, known: &Value) -> Option<Value> {
    let ours = ours.filter(|ours| !ours.is_null());
    match (theirs, ours) {
        (None, ours) => ours.cloned(),
        (Some(theirs), None) => take_away(theirs, known),
        (Some(theirs), Some(ours)) if theirs == ours => Some(theirs.clone()),
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            let keys = theirs
                .keys()
                .chain(ours.keys().filter(|key| !theirs.contains_key(*key)));
            let merged = keys.filter_map(|key| {
                let known = known.get(key).unwrap_or(&Value::Null);
                Some((key.clone(), merge(theirs.get(key), ours.get(key), known)?))
            });
            Some(merged.collect())
        }
        (Some(theirs @ Value::Array(_)), Some(ours @ Value::Array(_))) => {
            let both = overlay(theirs, ours);
            let is_kept = match known {
                Value::String(sent) => *sent == list(ours),
                Value::Object(_) | Value::Number(_) => false,
                // It may have been sent, and is there with more.
                Value::Null | Value::Bool(_) | Value::Array(_) => both == *theirs,
            };
            Some(if is_kept { both } else { ours.clone() })
        }
        (Some(_), Some(ours)) => Some(ours.clone()),
    }
}

/// What is left of `theirs` without what is known to have been sent.
fn take_away(theirs: &Value, known: &Value) -> Option<Value> {
    match (theirs, known) {
        (theirs, Value::Null) => Some(theirs.clone()),
        (Value::Object(theirs), Value::Object(known)) => {
            let left = theirs.iter().filter_map(|(key, theirs)| {
                let known = known.get(key).unwrap_or(&Value::Null);
                Some((key.clone(), take_away(theirs, known)?))
            });
            let left: Map<String, Value> = left.collect();
            (!left.is_empty()).then(|| left.into())
        }
        (_, _) => None,
    }
}

/// A list, or what is in one, on top of what is there: what the host added to its items stays.
fn overlay(theirs: &Value, ours: &Value) -> Value {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let mut both = theirs.clone();
            for (key, ours) in ours.iter().filter(|(_, ours)| !ours.is_null()) {
                let there = theirs.get(key).unwrap_or(&Value::Null);
                both.insert(key.clone(), overlay(there, ours));
            }
            both.into()
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => theirs
            .iter()
            .zip(ours)
            .map(|(theirs, ours)| overlay(theirs, ours))
            .collect(),
        // Nothing was sent: what is there was added.
        (theirs, Value::Null) => theirs.clone(),
        (_, ours) => ours.clone(),
    }
}

#[cfg(test)]
mod tests;
