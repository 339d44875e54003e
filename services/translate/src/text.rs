//! Host names in text for people, put back into the virtual cluster's.
//!
//! Status messages, events and refusals of the host name host objects. A name is replaced only
//! where it stands as a whole word, and the host namespace only beside such a name, as both are
//! ordinary words otherwise.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Context, Kind, Owner, json::text, name, persistent_volume_claim, pod, volume_snapshot,
};

/// The host names that a text may hold, and what they are called inside the virtual cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    host_namespace: String,
    objects: BTreeMap<String, (String, String)>,
    uids: BTreeMap<String, String>,
}

impl Names {
    /// No names yet.
    pub fn new(context: &Context) -> Self {
        Self {
            host_namespace: context.host_namespace.as_str().to_owned(),
            ..Self::default()
        }
    }

    /// The host names that the host may say of one virtual object, `(namespace, name)`: its own, and those of what it
    /// names. Without the object, as one that is gone, only its own.
    pub fn about(
        kind: Kind,
        (namespace, name): (&str, &str),
        object: Option<&Value>,
        context: &Context,
    ) -> Self {
        let mut names = match (kind, object) {
            (Kind::Pod, Some(pod)) => pod::names(pod, None, context),
            (Kind::PersistentVolumeClaim, Some(claim)) => {
                persistent_volume_claim::names(claim, None, context)
            }
            (Kind::VolumeSnapshot, Some(snapshot)) => volume_snapshot::names(snapshot, context),
            (_, Some(_) | None) => Self::new(context),
        };
        let host = |kind, name: &str| name::of_kind(kind, namespace, name, context);
        names.add(host(kind, name), namespace, name);
        let references = kind.description().references;
        if let (Some(references), Some(object)) = (references, object) {
            for found in references(object, context) {
                names.add(host(found.kind, &found.name), namespace, &found.name);
            }
        }
        names
    }

    /// Adds the host name of the virtual object `namespace`/`name`.
    pub fn add(&mut self, host: String, namespace: &str, name: &str) {
        self.objects
            .insert(host, (namespace.to_owned(), name.to_owned()));
    }

    /// Adds the name and UID of a host object.
    pub fn add_object(&mut self, host: &Value, owner: &Owner) {
        if let Some(name) = text(host, "/metadata/name") {
            self.add(name.to_owned(), &owner.namespace, &owner.name);
        }
        if let Some(uid) = text(host, "/metadata/uid") {
            self.uids.insert(uid.to_owned(), owner.uid.clone());
        }
    }

    /// `text` with every known host name, and the host namespace beside one, put back.
    pub fn translate(&self, text: &str) -> String {
        let words = words(text);
        let mut out = String::with_capacity(text.len());
        for (index, word) in words.iter().enumerate() {
            out.push_str(&self.word(&words, index, word));
        }
        out
    }

    /// The same in every `message`, however deep: of an object, its conditions, its containers.
    pub(crate) fn translate_messages(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("message", Value::String(text)) => *text = self.translate(text),
                        (_, value) => self.translate_messages(value),
                    }
                }
            }
            Value::Array(list) => {
                for value in list {
                    self.translate_messages(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The same in every text, however deep.
    pub(crate) fn translate_strings(&self, value: &mut Value) {
        match value {
            Value::Object(map) => map
                .values_mut()
                .for_each(|value| self.translate_strings(value)),
            Value::Array(list) => list
                .iter_mut()
                .for_each(|value| self.translate_strings(value)),
            Value::String(text) => *text = self.translate(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn word(&self, words: &[&str], index: usize, word: &str) -> String {
        // A full stop belongs to the sentence, not to the name.
        let bare = word.trim_end_matches('.');
        let rest = &word[bare.len()..];
        if let Some((_, name)) = self.objects.get(bare) {
            return format!("{name}{rest}");
        }
        if let Some(uid) = self.uids.get(bare) {
            return format!("{uid}{rest}");
        }
        if bare == self.host_namespace {
            let beside = |joint: Option<usize>, other: Option<usize>| {
                let joint = *words.get(joint?)?;
                let other = words.get(other?)?.trim_end_matches('.');
                let joined = matches!(joint, "/" | "_" | "\"/\"" | "'/'");
                joined.then(|| self.objects.get(other)).flatten()
            };
            let before = beside(index.checked_sub(1), index.checked_sub(2));
            let after = beside(index.checked_add(1), index.checked_add(2));
            if let Some((namespace, _)) = after.or(before) {
                return format!("{namespace}{rest}");
            }
        }
        word.to_owned()
    }
}

/// The text in pieces: those that could be object names, and what stands between them.
fn words(text: &str) -> Vec<&str> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let mut words = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        if last.is_some_and(|last| last != named(c)) {
            words.push(&text[start..at]);
            start = at;
        }
        last = Some(named(c));
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

#[cfg(test)]
mod tests;
