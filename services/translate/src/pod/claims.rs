//! ResourceClaims of a pod: those that it names, and those that a controller inside makes for it of a template.
//!
//! On the host every one is named, as the claim of a template is made inside and goes down like any other. Which one
//! that is, the controller says in the status of the virtual pod.

use serde_json::{Map, Value};

use super::scope::{ReferenceKind, Scope};
use crate::json::{array, array_mut, is_set, text};

const NAME: &str = "resourceClaimName";
const TEMPLATE: &str = "resourceClaimTemplateName";

/// The entries of `spec.resourceClaims`, by name, whose claim is not made yet.
pub(super) fn awaited(pod: &Value) -> Vec<String> {
    array(pod, "/spec/resourceClaims")
        .iter()
        .filter(|entry| is_set(entry, &format!("/{TEMPLATE}")))
        .map(|entry| text(entry, "/name").unwrap_or_default())
        .filter(|name| generated(pod, name).is_none())
        .map(str::to_owned)
        .collect()
}

/// The claim that was made for an entry.
fn generated<'a>(pod: &'a Value, entry: &str) -> Option<&'a str> {
    array(pod, "/status/resourceClaimStatuses")
        .iter()
        .find(|status| text(status, "/name") == Some(entry))
        .and_then(|status| text(status, &format!("/{NAME}")))
}

/// Has every entry name its claim.
pub(super) fn rewrite(spec: &mut Map<String, Value>, scope: &mut Scope<'_>) {
    for entry in array_mut(spec, "resourceClaims") {
        let made = text(entry, "/name").and_then(|name| generated(scope.pod, name));
        if let (Some(made), Some(entry)) = (made, entry.as_object_mut())
            && entry.remove(TEMPLATE).is_some()
        {
            entry.insert(NAME.to_owned(), made.into());
        }
        scope.refer_as(ReferenceKind::ResourceClaim, entry, NAME, false);
    }
}
