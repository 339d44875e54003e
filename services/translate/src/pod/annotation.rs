//! Annotations of a host pod: the few of the user's that pass, and ours.
//!
//! An annotation of a host pod does something only if a program of the host reads it, and then it
//! acts there with that program's rights: it may pick an address or network of the host (CNI), an
//! identity at the cloud provider, an injected container, a runtime setting. So none passes but
//! those listed here, which can harm nobody but the pod itself.

use serde_json::{Map, Value};

use crate::{
    Refusal,
    annotation::{is_passed, passed_of},
    json::at,
    json::strings,
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
/// Annotation of a host pod: the digest of the changeable part of its spec as last applied. Not
/// compared with the host's spec itself, which the host's admission may have changed for good.
pub(super) const APPLIED: &str = "vcluster.dev/applied";
/// Annotation of a host pod: the virtual pod's resources as last applied, as JSON. What the host's
/// admission made of them is not fought over, and a resize asks only for what the user changed.
pub(super) const RESOURCES: &str = "vcluster.dev/applied-resources";

/// Bytes of all annotations of an object, which API servers bound (`TotalAnnotationSizeLimitB`).
const MOST: usize = 256 << 10;

/// Whether an API server takes as many annotations as `metadata` of a host pod has.
pub(super) fn fit(metadata: &Value) -> Result<(), Refusal> {
    let all = strings(metadata, "/annotations");
    let size: usize = all.map(|(key, value)| key.len() + value.len()).sum();
    if size <= MOST {
        return Ok(());
    }
    Err(Refusal::not_supported(
        "metadata.annotations",
        format!(
            "with what its containers read of it by the downward API, the pod has {size} bytes of annotations on the \
             host, of {MOST} that are allowed: metadata.labels and metadata.annotations stand there as they are \
             written into a file, with quotes and escapes; ask for single ones (metadata.annotations['KEY']), or \
             have fewer"
        ),
    ))
}

/// The annotation `key` of a pod.
pub(super) fn of<'a>(pod: &'a Value, key: &str) -> Option<&'a Value> {
    at(pod, "/metadata/annotations")?.get(key)
}

/// The user's annotations that pass, and their list.
pub(super) fn passed(pod: &Value) -> Map<String, Value> {
    passed_of(pod, |key| PASSED.contains(&key))
}

/// Whether translation wrote the annotation `key` of the host pod `host`, and may remove it.
pub(super) fn is_ours(key: &str, host: &Value) -> bool {
    key.starts_with("vcluster.dev/")
        || label::ANNOTATION.holds(key)
        || (PASSED.contains(&key) && is_passed(host, key))
}
