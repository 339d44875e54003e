//! Annotations of virtual objects that go to the host as they are, for controllers there.

use serde_json::{Map, Value};

use crate::json::strings;

/// Annotation of a host object: which of its annotations are the user's, so that one the user takes
/// away goes, and one of the host's stays.
pub(crate) const PASSED_LIST: &str = "vcluster.dev/passed-annotations";

/// The user's annotations that pass, all but ours and kubectl's, and their list.
pub(crate) fn passed(object: &Value) -> Map<String, Value> {
    passed_of(object, |key| {
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        let ours = domain == "vcluster.dev" || domain.ends_with(".vcluster.dev");
        !ours && domain != "kubectl.kubernetes.io"
    })
}

/// The user's annotations of which `passes` is true, and their list.
pub(crate) fn passed_of(object: &Value, passes: impl Fn(&str) -> bool) -> Map<String, Value> {
    let mut passed: Map<String, Value> = strings(object, "/metadata/annotations")
        .filter(|(key, _)| passes(key))
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

/// Whether the annotation `key` of a host object is there because the user's passed.
pub(crate) fn is_passed(host: &Value, key: &str) -> bool {
    let list = host
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(PASSED_LIST))
        .and_then(Value::as_str)
        .unwrap_or_default();
    key == PASSED_LIST || list.split(',').any(|passed| passed == key)
}
