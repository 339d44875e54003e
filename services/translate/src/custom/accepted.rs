//! What the host's admission makes of custom resources: a webhook may write a value in another way (`2160h` as
//! `2160h0m0s`), or put a bound to it.
//!
//! The answer to our own write says so, and nothing else does: what differs later was changed by somebody. So such an
//! answer is accepted by an annotation of the host object, a fingerprint of what was sent and of what the host made of
//! it. While both are so, nothing is written; when either changes, what is wanted is sent again.

use serde_json::{Value, json};

use super::to_host::{body, update_host};
use super::{Synced, sent};
use crate::{
    Change, Context, Patch,
    digest::Digest,
    json::{at, text},
    patch::Format,
};

/// Annotation of a host object: fingerprint of what was sent, and of what the host made of that.
const ACCEPTED: &str = "vcluster.dev/accepted";
/// Most fields that are named.
const NAMED: usize = 5;

/// That the host writes an object otherwise is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Has the host object say so.
    pub patch: Patch,
    /// In a sentence, for the tenant.
    pub message: String,
}

/// Whether `host` was accepted as what became of `wanted`, and nobody has changed it since.
pub(super) fn is_accepted(host: &Value, wanted: &Value, synced: &Synced) -> bool {
    let said = at(host, "/metadata/annotations").and_then(|all| all.get(ACCEPTED));
    said.is_some_and(|said| *said == fingerprint(host, wanted, synced))
}

fn fingerprint(host: &Value, wanted: &Value, synced: &Synced) -> String {
    let wanted_body = Value::Object(body(wanted));
    let mut made = made_of(host, &wanted_body);
    // What the host owns changes as it likes.
    for path in &synced.rule.host_owns {
        path.set(&mut made, Value::Null);
    }
    Digest::of(&json!([sent::digest(wanted), made])).to_string()
}

/// What is on the host where something was sent; what its controllers add elsewhere does not count.
fn made_of(theirs: &Value, ours: &Value) -> Value {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => ours
            .iter()
            .map(|(key, ours)| {
                let there = theirs.get(key).unwrap_or(&Value::Null);
                (key.clone(), made_of(there, ours))
            })
            .collect(),
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => theirs
            .iter()
            .zip(ours)
            .map(|(theirs, ours)| made_of(theirs, ours))
            .collect(),
        (theirs, _) => theirs.clone(),
    }
}

/// What `host`, the answer to the write of `written`, makes of an object; nothing if it is as it was sent, or if
/// somebody else may have changed it: then it is to be put right. Nor if the host left something out: its definition may
/// know the field one day.
pub fn accept(
    object: &Value,
    host: &Value,
    written: &Value,
    context: &Context,
) -> Option<Accepted> {
    let synced = context.custom.of(object)?;
    let wanted = super::to_host(object, context).ok()?;
    if sent::digest(host) != sent::digest(&wanted) {
        return None;
    }
    let Ok(Change::Patch(left)) = update_host(object, host, context) else {
        return None;
    };
    let left = Value::Object(body(&left.body));
    let mut fields = Vec::new();
    name(&left, "", &mut fields);
    if fields.is_empty() || !covers(written, &left) || !is_there(host, &left) {
        return None;
    }
    let more = match fields.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    fields.truncate(NAMED);
    let fields = fields.join(", ");
    let uid = text(host, "/metadata/uid").unwrap_or_default();
    let note = json!({"metadata": {"annotations": {ACCEPTED: fingerprint(host, &wanted, synced)}}});
    Some(Accepted {
        patch: Patch::new(None, Format::Merge, uid, note),
        message: format!(
            "the host cluster writes {fields}{more} in its own way, which counts there: see the host object, and write \
             the same here if that is what you want"
        ),
    })
}

/// Whether a write wrote everything that is left to write.
fn covers(written: &Value, left: &Value) -> bool {
    match (written, left) {
        (Value::Object(written), Value::Object(left)) => left.iter().all(|(key, left)| {
            written
                .get(key)
                .is_some_and(|written| covers(written, left))
        }),
        (Value::Object(_), _) => false,
        (_, _) => true,
    }
}

/// Whether an object has a value wherever a patch sets one.
fn is_there(object: &Value, patch: &Value) -> bool {
    match patch {
        Value::Object(members) => members.iter().all(|(key, patch)| {
            patch.is_null()
                || object
                    .get(key)
                    .is_some_and(|there| !there.is_null() && is_there(there, patch))
        }),
        Value::Null | Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            true
        }
    }
}

/// The paths of what a patch sets.
fn name(patch: &Value, path: &str, fields: &mut Vec<String>) {
    match patch {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let dot = if path.is_empty() { "" } else { "." };
                name(value, &format!("{path}{dot}{key}"), fields);
            }
        }
        Value::Object(_) if path.is_empty() => {}
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => fields.push(path.to_owned()),
    }
}
