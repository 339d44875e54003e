//! Distributions as data: from what is wanted to the StatefulSet that runs it.
//!
//! Rendering is pure; the same inputs give the same bytes, so a change of the output is a change of
//! the wish and rolls the pod.

use serde_json::Value;
use vcluster_resources::cluster::{Distro, Resources, VirtualClusterSpec};

use crate::address::{Address, Range};
use crate::subject::Subject;

pub mod k8s;

/// Name of the volume, and so the beginning of the claim's name, that holds the store's data.
pub const DATA_VOLUME: &str = "data";
/// Annotation of the pods: digest of what they read once, when they start.
pub const CONFIG_HASH: &str = "vcluster.dev/config-hash";

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Repository of kube-apiserver; the tag is `v` and the cluster's version.
    pub kube_apiserver: String,
    /// Repository of kube-controller-manager; the tag is `v` and the cluster's version.
    pub kube_controller_manager: String,
    /// Repository and tag of kine.
    pub kine: String,
    /// Repository and tag of CoreDNS.
    pub coredns: String,
    /// When the kubelet pulls them; its own rule if absent.
    pub pull_policy: Option<String>,
}

/// Everything that a control plane is rendered from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Whose.
    pub subject: &'a Subject,
    /// As wanted.
    pub spec: &'a VirtualClusterSpec,
    /// Address of its API server.
    pub address: Address,
    /// Range of the other family for Services, if the host has one.
    pub second: Option<Range>,
    /// Digest of its PKI and of the configuration that is read once.
    pub config_hash: &'a str,
    /// Where images come from.
    pub images: &'a Images,
}

/// The StatefulSet of a control plane, without the metadata that every object of ours has.
pub fn stateful_set(inputs: Inputs<'_>) -> Value {
    match inputs.spec.distro {
        Distro::K8s => k8s::render(inputs),
    }
}

/// Resources of a container: the wish, and the default request of what it says nothing about.
pub(crate) fn resources(wish: &Resources, defaults: [(&str, &str); 2]) -> Value {
    let mut requests: serde_json::Map<String, Value> = defaults
        .iter()
        // A limit without a request is also the request; the default may exceed it.
        .filter(|(key, _)| !wish.limits.contains_key(*key))
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect();
    requests.extend(
        wish.requests
            .iter()
            .map(|(k, v)| (k.clone(), Value::from(v.0.as_str()))),
    );
    let mut resources = serde_json::json!({ "requests": requests });
    if !wish.limits.is_empty() {
        let limits = wish
            .limits
            .iter()
            .map(|(k, v)| (k.clone(), Value::from(v.0.as_str())));
        resources["limits"] = Value::Object(limits.collect());
    }
    resources
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    #[test]
    fn a_limit_below_the_default_request_is_no_contradiction() {
        let mut wish = Resources::default();
        wish.limits
            .insert("memory".to_owned(), Quantity("64Mi".to_owned()));
        let resources = resources(&wish, [("cpu", "50m"), ("memory", "256Mi")]);
        assert_eq!(
            resources,
            serde_json::json!({ "requests": { "cpu": "50m" }, "limits": { "memory": "64Mi" } })
        );
    }
}
