//! EndpointSlices that no controller made from a selector: down to the host, for the host Service of theirs.
//!
//! They are made by hand, by operators, or by the virtual controller-manager from the Endpoints of a Service without
//! selector, which it mirrors: so Endpoints themselves are not read. What the controller makes from a selector stays
//! inside, because the host's own makes the same from the host Service's.
//!
//! | field | on the host |
//! |---|---|
//! | label `kubernetes.io/service-name` | the host Service |
//! | label `endpointslice.kubernetes.io/managed-by` | ours: the host's controllers take theirs away |
//! | other labels | under our domain, as every label |
//! | annotations | none |
//! | `addressType: FQDN` | refused: nobody knows where a name leads |
//! | `endpoints[]` with an address that is not allowed | left out, with the reason ([`destination`]) |
//! | `endpoints[].targetRef` | the host pod; of other kinds none |
//! | everything else | as it is |
//!
//! [`destination`]: crate::destination

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use vcluster_resources::label::{MANAGED, MANAGED_VALUE};

use crate::{
    Change, Context, Owner, Refusal,
    change::change,
    json::{array, text},
    kind::{Api, Description, Inside, Scope, ToHost},
    label, name,
    owner::metadata,
    service::shows_own_address,
};

/// Its row in the table of kinds.
pub(crate) const KIND: Description = Description {
    inside: Inside::Without(MANAGED_BY, CONTROLLER),
    ..Description::to_host(
        Api::new(
            "discovery.k8s.io",
            "v1",
            "EndpointSlice",
            "endpointslices",
            Scope::Namespaced,
        ),
        ToHost {
            wanted,
            ..ToHost::new(to_host, update_host)
        },
    )
};

/// Label that names the Service.
const SERVICE: &str = "kubernetes.io/service-name";
/// Label that names who keeps a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The controller that makes slices from selectors.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// We, on the host.
const SYNC: &str = "sync.vcluster.dev";

fn wanted(slice: &Value, _context: &Context) -> bool {
    let managed = label(slice, MANAGED) == Some(MANAGED_VALUE);
    let place = text(slice, "/metadata/namespace").zip(label(slice, SERVICE));
    let leads = place.is_some_and(|(namespace, service)| !shows_own_address(namespace, service));
    leads && !managed && label(slice, MANAGED_BY) != Some(CONTROLLER)
}

fn label<'a>(slice: &'a Value, key: &str) -> Option<&'a str> {
    let value = slice.pointer("/metadata/labels")?.get(key)?.as_str();
    value.filter(|value| !value.is_empty())
}

/// A slice as it is on the host, and why it is not all of the virtual one, if so.
fn translate(slice: &Value, context: &Context) -> Result<(Value, Option<Refusal>), Refusal> {
    let owner = Owner::of_virtual(slice, KIND.api.kind, context)?;
    let kind = text(slice, "/addressType").unwrap_or_default();
    if !matches!(kind, "IPv4" | "IPv6") {
        return Err(Refusal::host_access(
            "addressType",
            format!("must be IPv4 or IPv6, not {kind:?}: nobody knows where a name leads"),
        ));
    }
    let mut endpoints = Vec::new();
    let mut refused = None;
    for (index, endpoint) in array(slice, "/endpoints").iter().enumerate() {
        match allowed(endpoint, index, context) {
            Ok(()) => endpoints.push(endpoint_on_host(endpoint, &owner, context)),
            Err(refusal) => {
                refused.get_or_insert(refusal);
            }
        }
    }
    let service = label(slice, SERVICE).unwrap_or_default();
    let service = name::of_service(&owner.namespace, service, context);
    let mut labels = label::OBJECT.translate(slice, "/metadata/labels");
    labels.insert(SERVICE.to_owned(), service.into());
    labels.insert(MANAGED_BY.to_owned(), SYNC.into());
    let host_name = name::of(&owner.namespace, &owner.name, context);
    let mut host = json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": metadata(&owner, &host_name, labels, Map::new(), context),
        "addressType": kind,
        "endpoints": listed(endpoints),
    });
    if let Some(ports) = slice.get("ports").and_then(Value::as_array) {
        host["ports"] = listed(ports.clone());
    }
    Ok((host, refused))
}

/// An empty list is none to an API server.
fn listed(all: Vec<Value>) -> Value {
    if all.is_empty() {
        Value::Null
    } else {
        all.into()
    }
}

fn allowed(endpoint: &Value, index: usize, context: &Context) -> Result<(), Refusal> {
    let Some(addresses) = endpoint.get("addresses").and_then(Value::as_array) else {
        let field = format!("endpoints[{index}].addresses");
        return Err(Refusal::invalid(field, "must be a list of addresses"));
    };
    for (n, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        context.destinations.allow(address).map_err(|forbidden| {
            Refusal::host_access(
                format!("endpoints[{index}].addresses[{n}]"),
                format!("{address} {forbidden}"),
            )
        })?;
    }
    Ok(())
}

fn endpoint_on_host(endpoint: &Value, owner: &Owner, context: &Context) -> Value {
    let mut endpoint = endpoint.clone();
    let Some(fields) = endpoint.as_object_mut() else {
        return endpoint;
    };
    if let Some(target) = fields.remove("targetRef") {
        fields.extend(target_on_host(&target, owner, context));
    }
    endpoint
}

/// The host pod of a pod of the slice's own namespace.
fn target_on_host(target: &Value, owner: &Owner, context: &Context) -> Map<String, Value> {
    let pod = text(target, "/name").filter(|_| text(target, "/kind") == Some("Pod"));
    let here = text(target, "/namespace").is_none_or(|namespace| namespace == owner.namespace);
    let reference = pod.filter(|_| here).map(|pod| {
        json!({
            "kind": "Pod",
            "namespace": context.host_namespace.as_str(),
            "name": name::of(&owner.namespace, pod, context),
        })
    });
    let reference = reference.map(|reference| ("targetRef".to_owned(), reference));
    reference.into_iter().collect()
}

/// The addresses that a slice names, those that are none left out.
pub fn addresses(slice: &Value) -> BTreeSet<IpAddr> {
    let endpoints = array(slice, "/endpoints").iter();
    let named = endpoints.flat_map(|endpoint| array(endpoint, "/addresses"));
    named
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect()
}

/// The host slice of a virtual one, with the endpoints that are allowed.
///
/// # Errors
/// It holds names instead of addresses, or lacks a name, namespace or UID.
pub fn to_host(slice: &Value, context: &Context) -> Result<Value, Refusal> {
    translate(slice, context).map(|(host, _refused)| host)
}

/// How the host slice of a virtual one comes to be as it is wanted. What is not allowed any more is taken from it
/// before that is told.
///
/// # Errors
/// As [`to_host`]; and, once the host slice has what is allowed, the first endpoint that is not.
pub fn update_host(slice: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let (wanted, refused) = translate(slice, context)?;
    let mut host = host.clone();
    for list in ["endpoints", "ports"] {
        if array(&host, &format!("/{list}")).is_empty()
            && let Some(host) = host.as_object_mut()
        {
            host.remove(list);
        }
    }
    match (
        change(&host, &wanted, &["addressType", "endpoints", "ports"]),
        refused,
    ) {
        (Change::None, Some(refusal)) => Err(refusal),
        (change, _) => Ok(change),
    }
}

#[cfg(test)]
mod tests;
