//! What `spec.sync` of a VirtualCluster says about one object: whether it goes to the host, whether it is shown.
//!
//! A policy decides about objects, never about whose they are: what it withholds is removed from the host by the same
//! rules as what is gone inside. What runs, holds data or holds an address is not removed by it at all ([`keeps`]).

use serde_json::Value;
use vcluster_resources::sync_policy::{NodePolicy, SERVICE_ACCOUNTS, Selector};

use crate::{Context, Kind, Refusal, json::text, refusal::Reason};

/// Whether a virtual object may go to the host.
///
/// # Errors
/// It stays inside; the words say which part of the policy keeps it.
pub fn admits(kind: Kind, object: &Value, context: &Context) -> Result<(), Refusal> {
    let plural = kind.plural();
    let rule = context.policy.to_host.get(plural);
    // A custom kind may bear the plural of another; its own rule says that it is synced.
    let Some(rule) = rule.filter(|_| !matches!(kind, Kind::Custom(_))) else {
        return Ok(());
    };
    let at = format!("spec.sync.toHost.{plural}");
    let refuse =
        |field: &str, message: String| Err(Refusal::new(Reason::NotSynced, field, message));
    if rule.enabled == Some(false) {
        return refuse(
            "kind",
            format!("{plural} stay inside the virtual cluster: its {at}.enabled is false"),
        );
    }
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    if !rule.namespaces.is_empty() && !rule.namespaces.iter().any(|one| one == namespace) {
        return refuse(
            "metadata.namespace",
            format!(
                "{plural} of namespace {namespace:?} stay inside the virtual cluster: its {at}.namespaces does not \
                 name it"
            ),
        );
    }
    if !selects(rule.selector.as_ref(), object) {
        return refuse(
            "metadata.labels",
            format!(
                "it stays inside the virtual cluster, whose {at}.selector does not match these labels"
            ),
        );
    }
    Ok(())
}

/// Whether the ServiceAccounts of a virtual namespace go to the host, which they do only by choice.
pub fn sends_accounts(namespace: &str, context: &Context) -> bool {
    let rule = context.policy.to_host.get(SERVICE_ACCOUNTS);
    rule.is_some_and(|rule| {
        let named =
            rule.namespaces.is_empty() || rule.namespaces.iter().any(|one| one == namespace);
        rule.enabled == Some(true) && named
    })
}

/// Whether host objects of a kind stay although the policy does not admit them any more: pods run, claims and snapshots
/// hold data or devices, Services hold an address that would be given to others.
pub const fn keeps(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::PersistentVolumeClaim
            | Kind::ResourceClaim
            | Kind::Service
            | Kind::VolumeSnapshot
    )
}

/// Whether no object of a kind is synced at all.
pub fn is_off(kind: Kind, context: &Context) -> bool {
    let (policy, plural) = (&context.policy, kind.plural());
    let to_host = policy.to_host.get(plural).and_then(|rule| rule.enabled);
    let from_host = policy.from_host.get(plural).and_then(|rule| rule.enabled);
    !matches!(kind, Kind::Custom(_)) && (to_host == Some(false) || from_host == Some(false))
}

/// Whether an object of the host's own is shown.
pub fn shows(kind: Kind, host: &Value, context: &Context) -> bool {
    let rule = context.policy.from_host.get(kind.plural());
    let Some(rule) = rule.filter(|_| !matches!(kind, Kind::Custom(_))) else {
        return true;
    };
    rule.enabled != Some(false) && selects(rule.selector.as_ref(), host)
}

/// Whether a host node is shown, `used` being whether pods of the virtual cluster are on it: those would be taken for
/// lost if their node were not there.
pub fn shows_node(host: &Value, used: bool, context: &Context) -> bool {
    used || (!needs_use(context) && shows(Kind::Node, host, context))
}

/// Whether nodes are shown only while they are used.
fn needs_use(context: &Context) -> bool {
    let rule = context.policy.from_host.get(Kind::Node.plural());
    rule.and_then(|rule| rule.policy) == Some(NodePolicy::Used)
}

/// Whether it matters which nodes are used.
pub fn narrows_nodes(context: &Context) -> bool {
    context.policy.from_host.contains_key(Kind::Node.plural())
}

fn selects(selector: Option<&Selector>, object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels");
    let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_str());
    selector.is_none_or(|selector| selector.matches(label))
}

#[cfg(test)]
mod tests;
