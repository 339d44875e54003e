//! What the translation of one pod gathers on its way.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Context, Owner, Refusal, label, name};

pub use crate::kind::{Kind as ReferenceKind, Reference};

/// A service-account token that a pod mounts. The virtual API server issues it (TokenRequest, bound
/// to the virtual pod); it reaches the pod as a key of the pod's token Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// Its key in the Secret.
    pub key: String,
    /// ServiceAccount, in the pod's virtual namespace.
    pub service_account: String,
    /// Audience that was asked for; the API server's own if none.
    pub audience: Option<String>,
    /// Life that was asked for, in seconds.
    pub expiration_seconds: i64,
}

/// The pod at hand and what its fields were found to need.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) context: &'a Context,
    pub(super) owner: &'a Owner,
    /// The virtual pod.
    pub(super) pod: &'a Value,
    /// By kind and name; the value is whether every mention is optional.
    references: BTreeMap<(ReferenceKind, String), bool>,
    pub(super) tokens: Vec<Token>,
    /// Annotations that the downward API was redirected to.
    pub(super) annotations: Map<String, Value>,
    refusal: Option<Refusal>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(pod: &'a Value, owner: &'a Owner, context: &'a Context) -> Self {
        Self {
            context,
            owner,
            pod,
            references: BTreeMap::new(),
            tokens: Vec::new(),
            annotations: Map::new(),
            refusal: None,
        }
    }

    /// Notes that the pod is refused. The first reason counts. Translation goes on all the same: a
    /// host pod that was made when less was refused lives on, with everything that it refers to.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// [`Self::refuse`], if that is the verdict.
    pub(super) fn judge(&mut self, verdict: Result<(), Refusal>) {
        if let Err(refusal) = verdict {
            self.refuse(refusal);
        }
    }

    /// The verdict on what was translated since it was last asked for. What is translated must not
    /// be used before it is.
    pub(super) fn verdict(&mut self) -> Result<(), Refusal> {
        self.refusal.take().map_or(Ok(()), Err)
    }

    /// Rewrites the name under `key` of `holder` to the host's and notes the reference. No name,
    /// or an empty one, is left: the host says of it what the virtual API server would.
    pub(super) fn refer(&mut self, kind: ReferenceKind, holder: &mut Value, key: &str) {
        let optional = holder.get("optional").and_then(Value::as_bool) == Some(true);
        self.refer_as(kind, holder, key, optional);
    }

    /// [`Self::refer`] where the holder does not itself say whether it is optional.
    pub(super) fn refer_as(
        &mut self,
        kind: ReferenceKind,
        holder: &mut Value,
        key: &str,
        optional: bool,
    ) {
        let Some(Value::String(found)) = holder.get_mut(key) else {
            return;
        };
        if found.is_empty() {
            return;
        }
        let host = name::of_kind(kind, &self.owner.namespace, found, self.context);
        let name = std::mem::replace(found, host);
        self.references
            .entry((kind, name))
            .and_modify(|all_optional| *all_optional &= optional)
            .or_insert(optional);
    }

    /// Every object referred to, each once.
    pub(super) fn references(&self) -> Vec<Reference> {
        self.references
            .iter()
            .map(|((kind, name), optional)| Reference {
                kind: *kind,
                namespace: self.owner.namespace.clone(),
                name: name.clone(),
                optional: *optional,
            })
            .collect()
    }

    /// Carries the virtual annotation `key` on the host pod, and returns its key there.
    pub(super) fn carry_annotation(&mut self, key: &str) -> String {
        let host_key = label::ANNOTATION.key(key);
        let value = self
            .pod
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(key));
        if let Some(Value::String(value)) = value {
            self.annotations
                .insert(host_key.clone(), value.as_str().into());
        }
        host_key
    }

    /// The pod's service account inside the virtual cluster.
    pub(super) fn service_account(&self) -> &'a str {
        crate::json::text(self.pod, "/spec/serviceAccountName").unwrap_or("default")
    }
}
