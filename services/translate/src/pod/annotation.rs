//! Annotations of a host pod: the few of the user's that pass, and ours.
//!
//! An annotation of a host pod does something only if a program of the host reads it, and then it
//! acts there with that program's rights: it may pick an address or network of the host (CNI), an
//! identity at the cloud provider, an injected container, a runtime setting. So none passes but
//! those listed here, which can harm nobody but the pod itself.

use serde_json::{Map, Value};

use crate::{
    json::{strings, text},
    label,
};

/// User's annotations that pass.
const PASSED: [&str; 5] = [
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
    "kubectl.kubernetes.io/default-container",
    "kubernetes.io/egress-bandwidth",
    "kubernetes.io/ingress-bandwidth",
];
/// Annotation of a host pod: which of [`PASSED`] are the user's, so that one the user takes away
/// goes, and one that the host's administrator set stays.
const PASSED_LIST: &str = "vcluster.dev/passed-annotations";
/// Annotation of a host pod: the digest of the changeable part of its spec as last applied. Not
/// compared with the host's spec itself, which the host's admission may have changed for good.
pub(super) const APPLIED: &str = "vcluster.dev/applied";

/// The user's annotations that pass, and their list.
pub(super) fn passed(pod: &Value) -> Map<String, Value> {
    let mut passed: Map<String, Value> = strings(pod, "/metadata/annotations")
        .filter(|(key, _)| PASSED.contains(key))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !passed.is_empty() {
        let mut keys: Vec<_> = passed.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let list = keys.join(",");
        passed.insert(PASSED_LIST.to_owned(), list.into());
    }
    passed
}

/// Whether translation wrote the annotation `key` of the host pod `host`, and may remove it.
pub(super) fn is_ours(key: &str, host: &Value) -> bool {
    let listed = || {
        let list = host
            .pointer("/metadata/annotations")
            .and_then(|annotations| text(annotations, "/vcluster.dev~1passed-annotations"));
        list.is_some_and(|list| list.split(',').any(|passed| passed == key))
    };
    key.starts_with("vcluster.dev/")
        || label::ANNOTATION.holds(key)
        || (PASSED.contains(&key) && listed())
}
