//! What a world begins with: the host's own objects, virtual clusters as control leaves them, strangers.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use vcluster_chassis::testing::Authority;
use vcluster_resources::{label, layout};

use super::law::{CLUSTERS, PODS, collection};
use super::store::{Id, Role, Store};
use super::world::Cluster;
use crate::object::Kind;

/// Objects per page, so that lists have pages.
const PAGE: usize = 3;
/// Nodes of the host.
pub(super) const NODES: &[&str] = &["node-a", "node-b"];
/// Namespaces of tenants' objects.
pub(super) const NAMESPACES: &[&str] = &["shop", "lab"];

/// A credential, made once: no connection ever uses it.
static CREDENTIAL: LazyLock<Value> = LazyLock::new(|| {
    let authority = Authority::new("simulated");
    let issued = authority.client("sync", &[]);
    let encoded = |text: &str| STANDARD.encode(text);
    json!({
        layout::CA_CERT: encoded(&authority.pem()),
        layout::TLS_CERT: encoded(&issued.certificate),
        layout::TLS_KEY: encoded(&issued.key),
        layout::PLATFORM_CA_CERT: encoded(&authority.pem()),
    })
});

/// The Secret by which sync reaches a virtual API server.
pub(super) fn credential() -> Value {
    json!({"data": CREDENTIAL.clone()})
}

/// The host with so many virtual clusters.
pub(super) fn lay(count: usize, now: Timestamp) -> (Store, Vec<Cluster>) {
    let mut host = Store::new(Role::Host, "h", PAGE);
    let mut put = |collection: &str, namespace: &str, name: &str, object: Value| {
        host.put(&Id::new(collection, namespace, name), object, now);
    };
    put("/api/v1/namespaces", "", "default", json!({}));
    put("/api/v1/namespaces", "", "vcluster-system", json!({}));
    for node in NODES {
        put("/api/v1/nodes", "", node, node_of(node));
    }
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}],
    });
    put(
        &collection(Kind::EndpointSlice),
        "default",
        "kubernetes",
        slice,
    );
    let mut clusters = Vec::new();
    for number in 0..count {
        let cluster = cluster(number, now);
        let namespace = &cluster.namespace;
        put("/api/v1/namespaces", "", namespace, json!({}));
        put(
            "/api/v1/secrets",
            namespace,
            layout::SYNC_SECRET,
            credential(),
        );
        for (collection, name) in [
            (PODS, "stranger"),
            ("/api/v1/configmaps", "kube-root-ca.crt"),
        ] {
            put(
                collection,
                namespace,
                name,
                json!({"spec": {"containers": []}}),
            );
        }
        for kind in [Kind::Pod, Kind::ConfigMap, Kind::Secret, Kind::Service] {
            let name = format!("relic-x-{}-x-demo", NAMESPACES[0]);
            put(&collection(kind), namespace, &name, relic(kind, number));
        }
        put(
            CLUSTERS,
            namespace,
            &cluster.name,
            virtual_cluster(&cluster),
        );
        clusters.push(cluster);
    }
    (host, clusters)
}

/// What was made for an earlier virtual cluster of the same name, and put back from a backup: nobody's.
fn relic(kind: Kind, number: usize) -> Value {
    json!({
        "metadata": {
            "labels": {label::PART: "workload"},
            "annotations": {
                label::CLUSTER_UID: earlier(number),
                label::VIRTUAL_KIND: kind.as_str(), label::VIRTUAL_UID: "gone",
                label::VIRTUAL_NAMESPACE: NAMESPACES[0], label::VIRTUAL_NAME: "relic",
            },
        },
        "spec": {"containers": [], "nodeName": NODES[0]},
        "status": {"phase": "Running"},
    })
}

/// UID of the virtual cluster that was there before.
pub(super) fn earlier(number: usize) -> String {
    format!("earlier-{number}")
}

fn node_of(name: &str) -> Value {
    json!({
        "metadata": {"labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": "10.244.0.0/16"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "capacity": {"pods": "110"}, "allocatable": {"pods": "110"},
        },
    })
}

pub(super) fn cluster(number: usize, now: Timestamp) -> Cluster {
    Cluster {
        name: "demo".to_owned(),
        namespace: format!("team-{number}"),
        uid: format!("cluster-{number}"),
        ip: format!("10.96.{number}.17"),
        store: inside(&format!("v{number}"), now),
        lost: None,
        copy: None,
        earlier: Vec::new(),
    }
}

/// What a new virtual API server has.
pub(super) fn inside(prefix: &str, now: Timestamp) -> Store {
    let mut store = Store::new(Role::Virtual, prefix, PAGE);
    for name in ["kube-system", "default"].iter().chain(NAMESPACES) {
        let labels = json!({"metadata": {"labels": {"kubernetes.io/metadata.name": name}}});
        store.put(&Id::new("/api/v1/namespaces", "", name), labels, now);
    }
    store
}

/// The VirtualCluster as control leaves it.
pub(super) fn virtual_cluster(cluster: &Cluster) -> Value {
    json!({
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": {"uid": cluster.uid},
        "spec": {},
        "status": {
            "endpoint": format!("https://{}", cluster.ip),
            "dnsAddress": "10.96.0.53",
            "serviceCIDRs": ["10.96.0.0/12"],
            "conditions": [{
                "type": "ControlPlaneReady", "status": "True", "reason": "Available",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    })
}
