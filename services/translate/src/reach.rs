//! Which container may be reached from inside a virtual cluster: for its logs, exec, attach and port-forward.
//!
//! A virtual API server asks for a pod by the name that it has inside, and so does the tenant's administrator, who may
//! send any path through `nodes/proxy`. So nothing that is asked for is believed: both pods are at hand as they
//! are now, the host pod must be the translation of exactly the virtual one, and a container must be in both.

use serde_json::Value;
use vcluster_resources::TenantUri;

use crate::Owner;
use crate::json::{array, text};
use crate::name;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Namespace inside.
    pub namespace: String,
    /// Name of the pod inside.
    pub pod: String,
    /// UID of the pod inside, if it was said.
    pub uid: Option<String>,
    /// The container; none for a port of the pod.
    pub container: Option<String>,
}

/// Why it cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The pod of that name is another one by now.
    #[error("it is not the pod that was asked for: another one bears its name now")]
    OtherPod,
    /// The host pod of that name is not the translation of the pod.
    #[error("the pod on the host is not this virtual cluster's")]
    NotOurs,
    /// The host pod is that of a former pod of this name.
    #[error("the pod on the host is still a former one of this name: try again in a moment")]
    Former,
    /// The pod has no such container, or not yet on the host, or only the host has it.
    #[error("the pod has no such container")]
    NoContainer,
}

/// Decides whether what is asked for may be reached, both pods being as they are now.
///
/// # Errors
/// It may not.
pub fn decide(
    asked: &Asked,
    inside: &Value,
    host: &Value,
    tenant: &TenantUri,
) -> Result<(), Unreachable> {
    let uid = text(inside, "/metadata/uid").unwrap_or_default();
    if uid.is_empty() || asked.uid.as_deref().is_some_and(|asked| asked != uid) {
        return Err(Unreachable::OtherPod);
    }
    let owner = Owner::of_host(host).ok_or(Unreachable::NotOurs)?;
    let host_name = name::of_pod(&asked.namespace, &asked.pod, tenant);
    let ours = owner.cluster_uid == tenant.uid
        && owner.kind == "Pod"
        && owner.namespace == asked.namespace
        && owner.name == asked.pod
        && text(host, "/metadata/namespace") == Some(tenant.namespace.as_str())
        && text(host, "/metadata/name") == Some(&host_name);
    if !ours {
        return Err(Unreachable::NotOurs);
    }
    if owner.uid != uid {
        return Err(Unreachable::Former);
    }
    match &asked.container {
        Some(container) if !has(inside, container) || !has(host, container) => {
            Err(Unreachable::NoContainer)
        }
        Some(_) | None => Ok(()),
    }
}

fn has(pod: &Value, container: &str) -> bool {
    [
        "/spec/containers",
        "/spec/initContainers",
        "/spec/ephemeralContainers",
    ]
    .into_iter()
    .flat_map(|list| array(pod, list))
    .any(|found| text(found, "/name") == Some(container))
}

/// What the host says about its pod, in words that mean something inside: with the pod's and the namespace's names and
/// UID there.
pub fn in_own_words(said: &str, asked: &Asked, host: &Value, inside: &Value) -> String {
    let part = |pod, pointer| text(pod, pointer).unwrap_or_default().to_owned();
    let host_namespace = part(host, "/metadata/namespace");
    let host_name = part(host, "/metadata/name");
    let (namespace, pod) = (&asked.namespace, &asked.pod);
    let around = |mark: &str| {
        (
            format!("{host_namespace}{mark}{host_name}"),
            format!("{namespace}{mark}{pod}"),
        )
    };
    let swap = [
        around("/"),
        around("_"),
        // As kubelets name a pod in full.
        (
            format!("{host_name}_{host_namespace}"),
            format!("{pod}_{namespace}"),
        ),
        (host_name.clone(), pod.clone()),
        (format!("\"{host_namespace}\""), format!("\"{namespace}\"")),
        (part(host, "/metadata/uid"), part(inside, "/metadata/uid")),
    ];
    // The name inside may be part of the host's: each is replaced once, in one order.
    swap.iter()
        .filter(|(from, _)| !from.is_empty())
        .fold(said.to_owned(), |text, (from, to)| {
            // Not again in what an earlier one has put there.
            if to.contains(from.as_str()) {
                text
            } else {
                text.replace(from.as_str(), to)
            }
        })
}

#[cfg(test)]
mod tests;
