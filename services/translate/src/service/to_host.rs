//! From a virtual Service to its host Service.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER_UID, MANAGED, MANAGED_VALUE, VIRTUAL_NAMESPACE};

use super::address::{API_SERVICE, DNS_SERVICE, has_external_ips, kind};
use crate::{
    Context, Owner, Refusal,
    annotation::{self, passed},
    json::{object, text},
    label, mapping, name,
    owner::metadata,
};

/// Whether a virtual Service has a host Service.
pub fn is_on_host(service: &Value, _context: &Context) -> bool {
    let place = (
        text(service, "/metadata/namespace").unwrap_or_default(),
        text(service, "/metadata/name").unwrap_or_default(),
    );
    let managed = service
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(MANAGED));
    let shows_dns = place == DNS_SERVICE && managed.and_then(Value::as_str) == Some(MANAGED_VALUE);
    kind(service) != "ExternalName"
        && place != API_SERVICE
        && !shows_dns
        && !mapping::is_marked(service)
}

/// The host Service of a virtual one, with the addresses and ports that it has inside.
///
/// # Errors
/// It names external IPs, or lacks a name, namespace or UID.
pub fn to_host(service: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(service, "Service", context)?;
    if has_external_ips(service) {
        return Err(Refusal::host_access(
            "spec.externalIPs",
            "is not allowed: it would take over addresses that belong to others of the host \
             cluster; remove it, or use type LoadBalancer",
        ));
    }
    let Some(spec) = object(service, "/spec") else {
        return Err(Refusal::invalid("spec", "must be an object"));
    };
    let mut spec = spec.clone();
    spec.remove("externalIPs");
    spec.remove("externalName");
    let selector = match spec.get("selector").and_then(Value::as_object) {
        Some(found) if !found.is_empty() => selector(found, &owner, context),
        Some(_) | None => nothing(context),
    };
    spec.insert("selector".to_owned(), selector);
    let labels = label::OBJECT.translate(service, "/metadata/labels");
    let annotations = passed(service, annotation::SERVICE, &context.annotations.services);
    let host_name = name::of_service(&owner.namespace, &owner.name, context);
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(&owner, &host_name, labels, annotations, context),
        "spec": spec,
    }))
}

/// The same pods: those of the virtual namespace, by our labels.
fn selector(found: &Map<String, Value>, owner: &Owner, context: &Context) -> Value {
    let mut selector: Map<String, Value> = found
        .iter()
        .map(|(key, value)| (label::OBJECT.key(key), value.clone()))
        .collect();
    selector.insert(CLUSTER_UID.to_owned(), context.cluster_uid.as_str().into());
    selector.insert(
        VIRTUAL_NAMESPACE.to_owned(),
        owner.namespace.as_str().into(),
    );
    selector.into()
}

/// No pod: every one of ours is of a namespace.
///
/// Not without a selector: the host's controllers would leave the endpoints of an earlier selector, which nobody inside
/// can see or remove, and whose addresses other tenants' pods get (kubernetes/kubernetes#91072). What the virtual Service
/// leads to has slices of its own.
fn nothing(context: &Context) -> Value {
    json!({CLUSTER_UID: context.cluster_uid, VIRTUAL_NAMESPACE: ""})
}
