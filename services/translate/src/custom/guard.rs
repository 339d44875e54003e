//! What no custom resource may name on the host, whatever its rule says: a controller there would act on it with rights
//! that the tenant lacks.
//!
//! It is looked for in every field, after the rule has done its work, because nobody here knows what the fields of
//! somebody's kind mean.

use serde_json::Value;
use vcluster_resources::layout;

use super::Synced;
use crate::{
    Context, Refusal,
    json::{array, text},
};

/// Names of the virtual cluster's own objects in its host namespace.
const NAMES: [&str; 8] = [
    layout::PKI_SECRET,
    layout::GATEWAY_SECRET,
    layout::SYNC_SECRET,
    layout::TENANT_SERVICE_ACCOUNT,
    layout::KUBECONFIG_SECRET,
    layout::DNS,
    layout::ADMISSION_CONFIG_MAP,
    layout::WORKLOAD_SERVICE_ACCOUNT,
];

/// Label of each namespace that holds its name, which Kubernetes keeps.
const NAME: &str = "kubernetes.io/metadata.name";

/// Refuses what names an object of the virtual cluster's own control plane or a service account of its host namespace,
/// in whatever field or key, alone or within a text; and what names a namespace other than the host namespace, which
/// would be somebody else's on the host, or selects namespaces, unless the host's administrator allows that for the
/// kind. A name within a text (`shop/web`) is not known for a namespace's.
///
/// # Errors
/// The first field that does.
pub(super) fn check(body: &Value, synced: &Synced, context: &Context) -> Result<(), Refusal> {
    each(body, "", &mut |place, key, value| {
        words(key, place, context)?;
        if let Value::String(text) = value {
            words(text, place, context)?;
        }
        if synced.may_name_namespaces {
            return Ok(());
        }
        namespaces(key, value, place, context)
    })
}

/// Calls `look` with each value: its place, the name of the field that it is in, and itself.
fn each<F>(value: &Value, place: &str, look: &mut F) -> Result<(), Refusal>
where
    F: FnMut(&str, &str, &Value) -> Result<(), Refusal>,
{
    match value {
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            let place = if place.is_empty() {
                key.clone()
            } else {
                format!("{place}.{key}")
            };
            look(&place, key, value)?;
            each(value, &place, look)
        }),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(n, item)| {
            let place = format!("{place}[{n}]");
            look(&place, "", item)?;
            each(item, &place, look)
        }),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn words(text: &str, place: &str, context: &Context) -> Result<(), Refusal> {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let named = words.find(|word| is_control_planes(word, context));
    named.map_or(Ok(()), |name| {
        let message =
            format!("must not name {name:?}, which belongs to the virtual cluster's control plane");
        Err(Refusal::host_access(place, message))
    })
}

fn is_control_planes(name: &str, context: &Context) -> bool {
    let store = name
        .strip_prefix("data-")
        .and_then(|rest| rest.strip_suffix("-0"));
    NAMES.contains(&name) || store == Some(context.cluster.as_str())
}

fn namespaces(key: &str, value: &Value, place: &str, context: &Context) -> Result<(), Refusal> {
    let own = context.host_namespace.as_str();
    if key.ends_with("amespaceSelector") || key.ends_with("amespaceSelectors") {
        return selected(value, place, own);
    }
    let is_other = |value: &&str| !value.is_empty() && *value != own;
    let other = if key == "namespace" || key.ends_with("Namespace") {
        value.as_str().filter(is_other)
    } else if key == "namespaces" || key.ends_with("Namespaces") {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).find(is_other)
    } else {
        None
    };
    other.map_or(Ok(()), |other| {
        let message = format!(
            "must not name namespace {other:?}, which on the host is not the virtual cluster's: leave it out, or have a \
             patch of the kind's rule make it cluster.namespace; the host's administrator can allow others \
             (sync.customResources, otherNamespaces)"
        );
        Err(Refusal::host_access(place, message))
    })
}

fn selected(value: &Value, place: &str, own: &str) -> Result<(), Refusal> {
    if value.is_null() || selects_only(value, own) {
        return Ok(());
    }
    let message = format!(
        "must not select namespaces, which on the host are not the virtual cluster's: leave it out, or have a patch of \
         the kind's rule make it {{matchNames: [{own}]}} or {{matchLabels: {{{NAME}: {own}}}}}, whichever the kind \
         knows; the host's administrator can allow others (sync.customResources, otherNamespaces)"
    );
    Err(Refusal::host_access(place, message))
}

/// Whether a selector of any form that is known here, of names or of labels, selects this namespace at most. What says
/// more than these forms do may mean more.
fn selects_only(selector: &Value, own: &str) -> bool {
    let Value::Object(members) = selector else {
        return false;
    };
    let has_only = |known: &[&str]| members.keys().all(|key| known.contains(&key.as_str()));
    let is_own = |names: &[Value]| !names.is_empty() && names.iter().all(|name| name == own);
    if selector.get("matchNames").is_some() {
        let is_any = selector
            .get("any")
            .is_some_and(|any| *any != Value::Bool(false));
        return has_only(&["any", "matchNames"])
            && !is_any
            && is_own(array(selector, "/matchNames"));
    }
    // All that a label selector says must hold, so that one part is enough.
    let labels = selector.get("matchLabels");
    let by_label = labels.and_then(|labels| labels.get(NAME)) == Some(&own.into());
    let by_expression = array(selector, "/matchExpressions")
        .iter()
        .any(|expression| {
            text(expression, "/key") == Some(NAME)
                && text(expression, "/operator") == Some("In")
                && is_own(array(expression, "/values"))
        });
    has_only(&["matchLabels", "matchExpressions"]) && (by_label || by_expression)
}
