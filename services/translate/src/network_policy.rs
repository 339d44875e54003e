//! NetworkPolicies: down to the host, for the tenant's own pods.
//!
//! A virtual cluster is its own network: "all namespaces" are those of the tenant, and no selector, however empty,
//! reaches a pod of the control plane or of another tenant.
//!
//! | field | on the host |
//! |---|---|
//! | `spec.podSelector` | over our labels, confined to the pods of the virtual namespace |
//! | peer with `podSelector` | the same |
//! | peer with `namespaceSelector` | the tenant's pods, by the labels of their virtual namespaces |
//! | peer with `ipBlock` | as it is |
//! | no peers (`from` or `to` absent or empty) | everybody, as inside |
//! | `ports`, `policyTypes` | as they are |
//!
//! The virtual cluster's DNS server is no pod of the tenant's. Where a rule lets pods out to what would be
//! `kube-dns` of `kube-system` ([`dns`]), the host's also lets them out to it. Nor is its API server: where a rule lets
//! pods out to its address ([`api`]), the host's lets them out to the control plane. In most clusters it
//! reaches pods from a node, past every policy: webhooks and aggregated APIs rely on it, and whoever writes
//! a policy inside cannot name it. So the host's lets it in wherever it holds back others.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER, PART, Part};

use crate::{
    Change, Context, Kind, Owner, Refusal,
    change::change,
    json::{array, array_mut, is_set, object},
    kind::{Api, Description, Scope, ToHost},
    label, name,
    owner::metadata,
};

mod api;
mod block;
mod dns;

/// Its row in the table of kinds.
pub const KIND: Description = Description::to_host(
    Api::new(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        Scope::Namespaced,
    )
    .short(&["netpol"]),
    ToHost::new(to_host, update_host),
);

/// The host policy of a virtual one.
///
/// # Errors
/// It lacks a spec, name, namespace or UID.
pub fn to_host(policy: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(policy, "NetworkPolicy", context)?;
    let Some(found) = object(policy, "/spec") else {
        return Err(Refusal::invalid("spec", "must be an object"));
    };
    let mut spec = found.clone();
    let selected = found.get("podSelector").unwrap_or(&Value::Null);
    let selected = label::own_pods(selected, Some(&owner.namespace), context);
    spec.insert("podSelector".to_owned(), selected);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in array_mut(&mut spec, rules).filter_map(Value::as_object_mut) {
            for peer in array_mut(rule, peers) {
                *peer = translated(peer, &owner, context);
            }
        }
    }
    let rules = array(policy, "/spec/egress").iter();
    let to_dns = rules
        .clone()
        .filter_map(|rule| dns::opened_by(rule, &owner.namespace, context));
    // Each opens the same.
    let to_api = rules
        .filter_map(|rule| api::opened_by(rule, context))
        .take(1);
    let opened: Vec<_> = to_dns.chain(to_api).collect();
    if let Some(Value::Array(egress)) = spec.get_mut("egress") {
        egress.extend(opened);
    }
    if holds_back(policy) {
        let ingress = spec.entry("ingress").or_insert(Value::Null);
        if ingress.is_null() {
            *ingress = json!([]);
        }
        if let Value::Array(ingress) = ingress {
            ingress.push(from_control_plane(context));
        }
    }
    let host_name = name::of_kind(Kind::NetworkPolicy, &owner.namespace, &owner.name, context);
    let labels = label::OBJECT.translate(policy, "/metadata/labels");
    Ok(json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": metadata(&owner, &host_name, labels, Map::new(), context),
        "spec": spec,
    }))
}

/// Whether a policy isolates pods from what comes in, as one does that does not say.
fn holds_back(policy: &Value) -> bool {
    let types = array(policy, "/spec/policyTypes");
    types.is_empty() || types.iter().any(|each| each == "Ingress")
}

/// The rule that lets in the virtual cluster's own API server.
fn from_control_plane(context: &Context) -> Value {
    let labels = json!({ CLUSTER: context.cluster.as_str(), PART: Part::ControlPlane.as_str() });
    json!({"from": [{"podSelector": {"matchLabels": labels}}]})
}

/// The same peer on the host. One that says nothing, which no API server stores, is the tenant as a whole.
fn translated(peer: &Value, owner: &Owner, context: &Context) -> Value {
    if is_set(peer, "/ipBlock") {
        return json!({ "ipBlock": peer["ipBlock"] });
    }
    let part = |key: &str| peer.get(key).filter(|selector| selector.is_object());
    let pods = part("podSelector").unwrap_or(&Value::Null);
    let selected = match (part("podSelector"), part("namespaceSelector")) {
        (Some(_), None) => label::own_pods(pods, Some(&owner.namespace), context),
        (_, Some(namespaces)) => label::own_pods_in(pods, namespaces, None, context),
        (None, None) => label::own_pods(&Value::Null, None, context),
    };
    json!({ "podSelector": selected })
}

/// How the host policy of a virtual one comes to be as it is wanted.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(policy: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    Ok(change(host, &to_host(policy, context)?, &["spec"]))
}

#[cfg(test)]
mod tests;
