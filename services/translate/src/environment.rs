//! The environment variables that lead a container to its API server.
//!
//! kubelet gives every container the variables of the *host's* `kubernetes` Service. A container's
//! `envFrom` comes above these, later entries above earlier ones, and `env` above all: so the
//! virtual cluster's values stand in one ConfigMap per virtual cluster, which is the first entry
//! of every container's `envFrom`. Whatever the user sets by either means stays above it, and
//! `$(KUBERNETES_SERVICE_HOST)` expands to the same value that the container sees.
//!
//! The variables of the other Services of the pod's namespace (`enableServiceLinks`) stand in a
//! second ConfigMap, one per virtual namespace, which comes next: as kubelet has it, a Service called
//! `kubernetes` of that namespace goes above the API server's.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER, CLUSTER_UID, PART, Part};

use crate::{
    Context,
    json::{array, text},
    service::env_address,
};

/// Name of the ConfigMap in the host namespace. The engine applies [`config_map`] before the first
/// pod of a virtual cluster and keeps it as it is: without it no container starts, rather than one
/// that finds the host's API server.
pub const CONFIG_MAP: &str = "vcluster-env";

/// Ends the name of the ConfigMap with the Services of one virtual namespace. No translated object
/// has a name that ends so: the last part of theirs holds no full stop.
const SERVICES_SUFFIX: &str = ".vcluster-env";

/// Name of the ConfigMap with the variables of a virtual namespace's Services. The engine applies
/// [`services_config_map`] before the first pod of the namespace and follows changes.
pub fn services_name(namespace: &str) -> String {
    format!("{namespace}{SERVICES_SUFFIX}")
}

/// The virtual namespace of whose Services a host ConfigMap of that name holds the variables.
pub fn namespace_of(name: &str) -> Option<&str> {
    name.strip_suffix(SERVICES_SUFFIX)
}

/// Whether a host ConfigMap is one of those that are made here, by its name.
pub fn is_named(name: &str) -> bool {
    name == CONFIG_MAP || namespace_of(name).is_some()
}

/// The ConfigMap with the variables of a virtual namespace's Services; later ones of `variables`
/// go above earlier ones.
pub fn services_config_map(
    namespace: &str,
    variables: impl IntoIterator<Item = Map<String, Value>>,
    context: &Context,
) -> Value {
    let data: Map<String, Value> = variables.into_iter().flatten().collect();
    made(&services_name(namespace), &data, context)
}

/// The ConfigMap of the variables that every container gets.
pub fn config_map(context: &Context) -> Value {
    made(CONFIG_MAP, &variables(context.api), context)
}

fn made(name: &str, data: &Map<String, Value>, context: &Context) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
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
        "data": data,
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

/// The variables that kubelet makes of a Service for the containers of its namespace
/// (`envvars.FromServices`): none if it has no address, or is the API server's own.
pub fn service_variables(service: &Value) -> Map<String, Value> {
    let (Some(ip), Some(name)) = (env_address(service), text(service, "/metadata/name")) else {
        return Map::new();
    };
    let ports = array(service, "/spec/ports");
    let (true, Some(first)) = (is_not_the_api(service), ports.first()) else {
        return Map::new();
    };
    let upper = |name: &str| name.to_uppercase().replace('-', "_");
    let prefix = upper(name);
    let number = |port: &Value| port.get("port").and_then(Value::as_u64).unwrap_or_default();
    let mut all = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), number(first).to_string()),
        (format!("{prefix}_PORT"), url(ip, first, number(first))),
    ];
    for port in ports {
        let number = number(port);
        if let Some(port) = text(port, "/name") {
            let key = format!("{prefix}_SERVICE_PORT_{}", upper(port));
            all.push((key, number.to_string()));
        }
        let key = format!("{prefix}_PORT_{number}_{}", protocol(port).to_uppercase());
        all.push((format!("{key}_PROTO"), protocol(port).to_lowercase()));
        all.push((format!("{key}_PORT"), number.to_string()));
        all.push((format!("{key}_ADDR"), ip.to_owned()));
        all.push((key, url(ip, port, number)));
    }
    all.into_iter()
        .map(|(key, value)| (key, value.into()))
        .collect()
}

fn is_not_the_api(service: &Value) -> bool {
    let namespace = text(service, "/metadata/namespace");
    (namespace, text(service, "/metadata/name")) != (Some("default"), Some("kubernetes"))
}

fn protocol(port: &Value) -> &str {
    text(port, "/protocol").unwrap_or("TCP")
}

fn url(ip: &str, port: &Value, number: u64) -> String {
    let host = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    };
    format!("{}://{host}:{number}", protocol(port).to_lowercase())
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
    fn a_service_has_the_variables_that_kubelet_makes_of_it() {
        let service = json!({
            "metadata": {"name": "my-db", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.3.4", "ports": [
                {"name": "pg", "port": 5432}, {"name": "stat-s", "port": 53, "protocol": "UDP"},
            ]},
        });
        let found = service_variables(&service);
        let wanted = json!({
            "MY_DB_SERVICE_HOST": "10.96.3.4",
            "MY_DB_SERVICE_PORT": "5432",
            "MY_DB_SERVICE_PORT_PG": "5432",
            "MY_DB_SERVICE_PORT_STAT_S": "53",
            "MY_DB_PORT": "tcp://10.96.3.4:5432",
            "MY_DB_PORT_5432_TCP": "tcp://10.96.3.4:5432",
            "MY_DB_PORT_5432_TCP_PROTO": "tcp",
            "MY_DB_PORT_5432_TCP_PORT": "5432",
            "MY_DB_PORT_5432_TCP_ADDR": "10.96.3.4",
            "MY_DB_PORT_53_UDP": "udp://10.96.3.4:53",
            "MY_DB_PORT_53_UDP_PROTO": "udp",
            "MY_DB_PORT_53_UDP_PORT": "53",
            "MY_DB_PORT_53_UDP_ADDR": "10.96.3.4",
        });
        assert_eq!(Value::from(found), wanted);
    }

    #[test]
    fn what_has_no_address_or_is_the_api_server_s_has_no_variables() {
        let service = |namespace: &str, name: &str, ip: &str| {
            service_variables(&json!({
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "ports": [{"port": 1}]},
            }))
        };
        assert!(service("shop", "db", "None").is_empty());
        assert!(service("shop", "db", "").is_empty());
        assert!(service("default", "kubernetes", "10.96.0.17").is_empty());
        let own = service("shop", "kubernetes", "fd00::7");
        assert_eq!(own["KUBERNETES_PORT"], "tcp://[fd00::7]:1");
    }

    #[test]
    fn it_is_never_taken_for_a_translated_object() {
        assert_eq!(owner::of_ours(&config_map(&context()), &context()), None);
    }
}
