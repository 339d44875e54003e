//! Fingerprints of JSON, to see whether a write would change anything.

use std::fmt::{self, Write as _};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Fingerprint of a JSON value: 128 bits of the SHA-256 of its canonical text. Values that differ
/// only in the order of members have the same one, in every process and version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Fingerprint of `value`.
    pub fn of(value: &Value) -> Self {
        let mut canonical = String::new();
        write(value, &mut canonical);
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(canonical.as_bytes())[..16]);
        Self(digest)
    }
}

/// Members sorted by key, no blanks. Not left to serde_json, whose order depends on features that
/// any crate of the build may switch on.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in members {
                // Writing to a String does not fail.
                let _ = write!(out, "{}:", Value::String(key.clone()));
                write(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_members_does_not_count_and_that_of_items_does() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(Digest::of(&one), Digest::of(&two));
        assert_ne!(Digest::of(&json!([1, 2])), Digest::of(&json!([2, 1])));
    }

    #[test]
    fn it_is_the_same_in_every_version() {
        assert_eq!(
            Digest::of(&json!({"a": [1, "x", null, true]})).to_string(),
            "044a4c8bf1d08f7ef9139a12481c0c45"
        );
    }
}
