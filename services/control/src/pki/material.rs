//! The contents of a Secret, kept out of logs and wiped when dropped.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

/// Keys and values of a Secret. `Debug` shows the keys only.
#[derive(Clone, Default)]
pub struct Material(BTreeMap<String, SecretSlice<u8>>);

impl Material {
    /// Takes the contents of a Secret.
    pub fn of(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default();
        Self(
            data.into_iter()
                .map(|(key, ByteString(value))| (key, value.into()))
                .collect(),
        )
    }

    /// Adds or replaces a value.
    pub fn insert(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.0.insert(key.to_owned(), value.into().into());
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(ExposeSecret::expose_secret)
    }

    /// The value of a key as text; `None` also where it is not UTF-8.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The form that the API takes; leaves the secrecy of this type.
    pub fn expose(&self) -> BTreeMap<String, ByteString> {
        self.0
            .iter()
            .map(|(key, value)| (key.clone(), ByteString(value.expose_secret().to_vec())))
            .collect()
    }

    /// A short digest of everything in it; differs whenever a key or value differs. Of 64 bits: it
    /// only tells two states of one Secret apart.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for (key, value) in &self.0 {
            for part in [key.as_bytes(), value.expose_secret()] {
                // With its length before it no part can run into the next.
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        hex::encode(&digest.finalize()[..8])
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_keys_and_never_values() {
        let mut material = Material::default();
        material.insert("tls.key", "hunter2");
        assert_eq!(format!("{material:?}"), r#"{"tls.key"}"#);
    }

    #[test]
    fn fingerprint_tells_where_one_value_ends_and_the_next_begins() {
        let mut one = Material::default();
        one.insert("a", "bc");
        let mut other = Material::default();
        other.insert("ab", "c");
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.fingerprint(), one.clone().fingerprint());
    }
}
