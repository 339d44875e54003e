//! The environment variables that lead a container to its API server.
//!
//! kubelet gives every container the variables of the *host's* `kubernetes` Service. A container's
//! `envFrom` comes above these, later entries above earlier ones, and `env` above all: so the
//! virtual cluster's values stand in one ConfigMap per virtual cluster, which is the first entry
//! of every container's `envFrom`. Whatever the user sets by either means stays above it, and
//! `$(KUBERNETES_SERVICE_HOST)` expands to the same value that the container sees.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER, CLUSTER_UID, PART, Part};

use crate::Context;

/// Name of the ConfigMap in the host namespace. The engine applies [`config_map`] before the first
/// pod of a virtual cluster and keeps it as it is: without it no container starts, rather than one
/// that finds the host's API server.
pub const CONFIG_MAP: &str = "vcluster-env";

/// The ConfigMap.
pub fn config_map(context: &Context) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": context.host_namespace.as_str(),
            "labels": {
                CLUSTER: context.cluster.as_str(),
                CLUSTER_UID: context.cluster_uid,
                // The chart's policy lets a tenant's account write nothing else. A scan does not take it
                // for an orphan, because it names no virtual object.
                PART: Part::Workload.as_str(),
            },
            "annotations": { CLUSTER_UID: context.cluster_uid },
            "ownerReferences": [{
                "apiVersion": "vcluster.dev/v1alpha1",
                "kind": "VirtualCluster",
                "name": context.cluster.as_str(),
                "uid": context.cluster_uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
        "data": variables(context.api),
    })
}

/// All variables that kubelet makes of the Service `default/kubernetes`.
fn variables(api: IpAddr) -> Map<String, Value> {
    // As kubelet does it: an IPv6 address stands in brackets within a URL only.
    let url = match api {
        IpAddr::V4(v4) => format!("tcp://{v4}:443"),
        IpAddr::V6(v6) => format!("tcp://[{v6}]:443"),
    };
    [
        ("KUBERNETES_SERVICE_HOST", api.to_string()),
        ("KUBERNETES_SERVICE_PORT", "443".to_owned()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443".to_owned()),
        ("KUBERNETES_PORT", url.clone()),
        ("KUBERNETES_PORT_443_TCP", url),
        ("KUBERNETES_PORT_443_TCP_PROTO", "tcp".to_owned()),
        ("KUBERNETES_PORT_443_TCP_PORT", "443".to_owned()),
        ("KUBERNETES_PORT_443_TCP_ADDR", api.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.into()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture::context, owner};

    #[test]
    fn it_leads_to_the_virtual_api_server() {
        let data = &config_map(&context())["data"];
        assert_eq!(data["KUBERNETES_SERVICE_HOST"], "10.96.0.17");
        assert_eq!(data["KUBERNETES_PORT"], "tcp://10.96.0.17:443");
        // As many as kubelet makes of the Service `default/kubernetes`.
        assert_eq!(data.as_object().map(Map::len), Some(8));
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_urls_only() {
        let data = variables("fd00::1".parse().unwrap());
        assert_eq!(data["KUBERNETES_PORT_443_TCP"], "tcp://[fd00::1]:443");
        assert_eq!(data["KUBERNETES_PORT_443_TCP_ADDR"], "fd00::1");
    }

    #[test]
    fn it_is_never_taken_for_a_translated_object() {
        assert_eq!(owner::of_ours(&config_map(&context()), &context()), None);
    }
}
