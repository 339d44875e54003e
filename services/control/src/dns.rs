//! The DNS server of a virtual cluster: upstream's CoreDNS, unmodified, in the host namespace.
//!
//! It answers for the virtual cluster's Services and pods from the virtual API server, and asks the
//! resolvers of the node for everything else: never the host's DNS server, so that no name of the
//! host cluster is answered. Pure.

use serde_json::{Value, json};
use vcluster_resources::cluster::Dns;
use vcluster_resources::label::{self, Part};
use vcluster_resources::layout;

use crate::address::Address;
use crate::container::{USER, container, probe, security};
use crate::distro::{CONFIG_HASH, Images, resources};
use crate::subject::Subject;

/// Where it listens; its Service does so on 53.
const PORT: u16 = layout::DNS_TARGET_PORT;
const HEALTH_PORT: u16 = 8080;
const READY_PORT: u16 = 8181;
/// Key and file of the configuration.
const COREFILE: &str = "Corefile";
const CONFIG: &str = "/etc/coredns";
const KEYS: &str = "/etc/coredns-keys";

/// Everything that the Deployment is rendered from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Whose.
    pub subject: &'a Subject,
    /// As its users want it.
    pub wish: &'a Dns,
    /// Address of the virtual API server.
    pub address: Address,
    /// Digest of the Secret with its credential.
    pub secret_fingerprint: &'a str,
    /// Where images come from.
    pub images: &'a Images,
}

/// The Service; the host gives it an address.
pub fn service(subject: &Subject) -> Value {
    let port = |name: &str, protocol: &str| json!({ "name": name, "port": 53, "protocol": protocol, "targetPort": PORT });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {
            "type": "ClusterIP",
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv4"],
            "selector": selector(subject),
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
        },
    })
}

/// The ConfigMap with its configuration.
pub fn config_map(address: Address) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": { COREFILE: corefile(address) },
    })
}

/// `kubernetes` answers SERVFAIL, and `ready` says no, until everything was listed once. As kubeadm
/// has it, but for two things. The last resolver of `forward` is a port where nobody listens:
/// without any the server would not start on a node that has no resolvers, and so it answers
/// SERVFAIL at once. There is no `reload`: another configuration rolls the pods.
fn corefile(address: Address) -> String {
    let endpoint = address.endpoint();
    format!(
        ".:{PORT} {{
    errors
    health :{HEALTH_PORT} {{
        lameduck 2s
    }}
    ready :{READY_PORT}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        endpoint {endpoint}
        tls {KEYS}/{cert} {KEYS}/{key} {KEYS}/{ca}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    forward . /etc/resolv.conf 127.0.0.1:1 {{
        policy sequential
        max_concurrent 1000
    }}
    cache 30 {{
        disable success cluster.local
        disable denial cluster.local
    }}
    loop
    loadbalance
}}
",
        cert = layout::TLS_CERT,
        key = layout::TLS_KEY,
        ca = layout::CA_CERT,
    )
}

/// The Deployment.
pub fn deployment(inputs: Inputs<'_>) -> Value {
    let subject = inputs.subject;
    let mut labels = subject.labels();
    labels[label::PART] = Part::Dns.as_str().into();
    let mut annotations = subject.annotations();
    annotations[CONFIG_HASH] = config_hash(inputs).into();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": inputs.wish.replicas,
            "revisionHistoryLimit": 2,
            // The old one answers until the new one does.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 },
            },
            "selector": { "matchLabels": selector(subject) },
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": pod(inputs),
            },
        },
    })
}

fn selector(subject: &Subject) -> Value {
    json!({
        label::CLUSTER: subject.name().as_str(),
        label::PART: Part::Dns.as_str(),
    })
}

/// Digest of what it reads once.
fn config_hash(inputs: Inputs<'_>) -> String {
    use sha2::{Digest as _, Sha256};
    let config = Sha256::digest(corefile(inputs.address));
    format!(
        "{}-{}",
        inputs.secret_fingerprint,
        hex::encode(&config[..8])
    )
}

fn pod(inputs: Inputs<'_>) -> Value {
    json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // The node's own resolvers.
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector(inputs.subject) },
        }],
        "containers": [coredns(inputs)],
        "volumes": [
            { "name": "config", "configMap": { "name": layout::DNS } },
            { "name": "keys", "secret": { "secretName": layout::DNS, "defaultMode": 0o440 } },
        ],
    })
}

fn coredns(inputs: Inputs<'_>) -> Value {
    container(
        inputs.images,
        json!({
            "name": "coredns",
            "image": inputs.images.coredns,
            "args": ["-conf", format!("{CONFIG}/{COREFILE}")],
            "ports": [
                { "name": "dns", "containerPort": PORT, "protocol": "UDP" },
                { "name": "dns-tcp", "containerPort": PORT, "protocol": "TCP" },
            ],
            "readinessProbe": probe("HTTP", "/ready", READY_PORT, 1, 3),
            "livenessProbe": probe("HTTP", "/health", HEALTH_PORT, 10, 6),
            "resources": resources(&inputs.wish.resources, [("cpu", "20m"), ("memory", "32Mi")]),
            // The image carries the capability on its file and does not start where it is not allowed.
            "securityContext": security(&["NET_BIND_SERVICE"]),
            "volumeMounts": [
                { "name": "config", "mountPath": CONFIG, "readOnly": true },
                { "name": "keys", "mountPath": KEYS, "readOnly": true },
            ],
        }),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;

    fn rendered() -> Value {
        deployment(Inputs {
            subject: &Subject::sample(),
            wish: &Dns::default(),
            address: address(),
            secret_fingerprint: "0123456789abcdef",
            images: &Images {
                kube_apiserver: "a".to_owned(),
                kube_controller_manager: "c".to_owned(),
                kine: "k".to_owned(),
                coredns: "registry.k8s.io/coredns/coredns:v1.15.0".to_owned(),
                pull_policy: None,
            },
        })
    }

    fn address() -> Address {
        Address::of("10.96.7.17").unwrap()
    }

    #[test]
    fn the_deployment_and_its_configuration_are_the_ones_that_were_reviewed() {
        insta::assert_yaml_snapshot!(rendered());
        insta::assert_snapshot!(corefile(address()));
    }

    #[test]
    fn every_field_is_one_that_kubernetes_knows() {
        let rendered = rendered();
        let typed: Deployment = serde_json::from_value(rendered.clone()).unwrap();
        let back = serde_json::to_value(&typed).unwrap();
        assert_eq!(back["spec"], rendered["spec"]);
    }

    #[test]
    fn the_service_of_the_api_does_not_select_its_pods() {
        let part = &rendered()["spec"]["template"]["metadata"]["labels"][label::PART];
        assert_ne!(part, Part::ControlPlane.as_str());
        assert_eq!(
            *part,
            service(&Subject::sample())["spec"]["selector"][label::PART]
        );
    }
}
