//! Label keys of virtual objects on their host objects, and the selectors over them.
//!
//! A host object's labels select it: by a Service or policy of somebody else in the host
//! namespace, by the control plane's own Service, by a ReplicaSet that would adopt it. So no
//! virtual label keeps its key. Its prefix is put under a domain of ours and its value stays:
//!
//! | virtual key | host key |
//! |---|---|
//! | `app` | `label.vcluster.dev/app` |
//! | `app.kubernetes.io/name` | `app.kubernetes.io.label.vcluster.dev/name` |
//! | `team` of the pod's namespace | `namespace-label.vcluster.dev/team` |
//!
//! A prefix too long for that is replaced by its hash, under a domain of its own. Two virtual keys
//! never get one host key, none gets one of ours (`vcluster.dev/…`), and every key maps without
//! looking at the object: so a selector is translated key by key, values and operators as they
//! are.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use vcluster_resources::label::{CLUSTER_UID, PART, Part, VIRTUAL_NAMESPACE};

use crate::{Context, json::strings};

/// Longest prefix of a label or annotation key.
const PREFIX_LIMIT: usize = 253;
/// Hexadecimal digits of a hashed prefix: 160 bits, as a tenant chooses what is hashed.
const HASH_DIGITS: usize = 40;

/// The keys of one sort of virtual label or annotation on host objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Domain {
    plain: &'static str,
    hashed: &'static str,
}

/// Labels of the object itself.
pub(crate) const OBJECT: Domain = Domain {
    plain: "label.vcluster.dev",
    hashed: "hashed-label.vcluster.dev",
};
/// Labels of the object's virtual namespace.
pub(crate) const NAMESPACE: Domain = Domain {
    plain: "namespace-label.vcluster.dev",
    hashed: "hashed-namespace-label.vcluster.dev",
};
/// Annotations of the object, where its containers read them.
pub(crate) const ANNOTATION: Domain = Domain {
    plain: "annotation.vcluster.dev",
    hashed: "hashed-annotation.vcluster.dev",
};

impl Domain {
    /// The host key of a virtual key.
    pub(crate) fn key(self, key: &str) -> String {
        let Some((prefix, name)) = key.split_once('/') else {
            return format!("{}/{key}", self.plain);
        };
        if prefix.len() + 1 + self.plain.len() <= PREFIX_LIMIT {
            return format!("{prefix}.{}/{name}", self.plain);
        }
        let hash = format!("{:x}", Sha256::digest(prefix.as_bytes()));
        format!("{}.{}/{name}", &hash[..HASH_DIGITS], self.hashed)
    }

    /// Whether a host key is one of this domain.
    pub(crate) fn holds(self, key: &str) -> bool {
        let within = |prefix: &str, domain: &str| {
            prefix == domain
                || prefix
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        key.split_once('/')
            .is_some_and(|(prefix, _)| within(prefix, self.plain) || within(prefix, self.hashed))
    }

    /// The host's labels or annotations for those at a JSON pointer of a virtual object.
    pub(crate) fn translate(self, object: &Value, pointer: &str) -> Map<String, Value> {
        strings(object, pointer)
            .map(|(key, value)| (self.key(key), value.into()))
            .collect()
    }
}

/// The host key of a virtual object's label.
pub fn host_key(key: &str) -> String {
    OBJECT.key(key)
}

/// Whether a label of a host object is one that translation writes.
pub(crate) fn is_ours(key: &str) -> bool {
    key.starts_with("vcluster.dev/") || is_virtual(key)
}

/// Whether a label of a host object stands for one of its virtual object or of its namespace.
pub(crate) fn is_virtual(key: &str) -> bool {
    OBJECT.holds(key) || NAMESPACE.holds(key)
}

/// The host's selector of those of the tenant's pods that `selector`, a LabelSelector over their own
/// labels, selects in the virtual namespace `within`, or in all.
pub(crate) fn own_pods(selector: &Value, within: Option<&str>, context: &Context) -> Value {
    own_pods_in(selector, &Value::Null, within, context)
}

/// [`own_pods`] in the virtual namespaces that `namespaces`, a LabelSelector over their labels,
/// selects.
pub(crate) fn own_pods_in(
    selector: &Value,
    namespaces: &Value,
    within: Option<&str>,
    context: &Context,
) -> Value {
    let mut own = json!({
        CLUSTER_UID: context.cluster_uid,
        PART: Part::Workload.as_str(),
    });
    if let Some(within) = within {
        own[VIRTUAL_NAMESPACE] = within.into();
    }
    let mut asked = requirements(selector, OBJECT);
    asked.extend(requirements(namespaces, NAMESPACE));
    let mut own = json!({ "matchLabels": own });
    if !asked.is_empty() {
        own["matchExpressions"] = asked.into();
    }
    own
}

/// What a LabelSelector asks, as requirements over the keys of `domain`. An empty selector asks
/// nothing; nothing at all if `selector` is no object.
pub(crate) fn requirements(selector: &Value, domain: Domain) -> Vec<Value> {
    let exact = strings(selector, "/matchLabels")
        .map(|(key, value)| json!({"key": domain.key(key), "operator": "In", "values": [value]}));
    let expressions = crate::json::array(selector, "/matchExpressions")
        .iter()
        .map(|expression| {
            let mut expression = expression.clone();
            if let Some(key) = expression.get("key").and_then(Value::as_str) {
                expression["key"] = domain.key(key).into();
            }
            expression
        });
    exact.chain(expressions).collect()
}

#[cfg(test)]
mod tests;
