//! The `VirtualCluster` custom resource, `vcluster.dev/v1alpha1`.
//!
//! One virtual cluster per host namespace. The schema and its CEL rules refuse what cannot work
//! before it is stored; what depends on other objects (a second cluster in the namespace, a
//! namespace without the label) is refused by the chart's admission policy and told by conditions.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden twin of each type inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Condition},
    jiff::{SignedDuration, Timestamp},
};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{label, sync_policy::SyncPolicy};

/// Version of Kubernetes that a cluster runs when its spec names none.
pub const DEFAULT_VERSION: &str = "1.37.2";
/// Size of the store's claim when the spec names none.
pub const DEFAULT_STORE_SIZE: &str = "1Gi";

/// What is wanted of a virtual cluster. Every field has a default.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "vcluster.dev",
    version = "v1alpha1",
    kind = "VirtualCluster",
    plural = "virtualclusters",
    shortname = "vc",
    category = "all",
    namespaced,
    status = "VirtualClusterStatus",
    derive = "PartialEq",
    doc = "A Kubernetes cluster of its own for one tenant: its API server, controller-manager and store live in this namespace of the host cluster, and its pods run on the host's nodes.",
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".status.version", name = "Version", type_ = "string"),
    printcolumn(json_path = ".status.message", name = "Message", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("metadata.name must be lower-case letters, digits and '-', begin with a letter and end with a letter or digit"),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name must be at most 40 characters"),
    validation = Rule::new("!('-' + self.metadata.name + '-').contains('-x-')")
        .message("metadata.name must not have \"x\" as a part of its own, as in \"a-x-b\" or \"x-a\": \"-x-\" separates the parts of host names")
)]
#[serde(rename_all = "camelCase")]
pub struct VirtualClusterSpec {
    /// Distribution that makes up the control plane. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("distro is immutable"))]
    pub distro: Distro,
    /// Kubernetes version as MAJOR.MINOR.PATCH.
    #[serde(default = "default_version")]
    #[x_kube(validation = Rule::new("self.matches('^1\\\\.37\\\\.(0|[1-9][0-9]*)$')")
        .message("version must be 1.37.PATCH, for example 1.37.2"))]
    #[schemars(length(max = 20))]
    pub version: String,
    /// Where the virtual API server keeps its objects.
    #[serde(default)]
    pub store: Store,
    /// The control plane's containers.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// The DNS server.
    #[serde(default)]
    pub dns: Dns,
    /// Which objects go to the host, and which of the host's are shown inside.
    #[serde(default, skip_serializing_if = "SyncPolicy::is_empty")]
    pub sync: SyncPolicy,
}

/// A distribution of Kubernetes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distro {
    /// Upstream kube-apiserver and kube-controller-manager beside a store.
    #[default]
    K8s,
}

/// Where the virtual API server keeps its objects: one of these.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// SQLite behind kine, on a persistent volume claim.
    #[serde(default)]
    pub sqlite: SqliteStore,
}

/// SQLite behind kine, on a persistent volume claim.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
    .message("storageClassName is immutable"))]
pub struct SqliteStore {
    /// Size of the claim. Immutable.
    #[serde(default = "default_store_size")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("size is immutable"))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("size must be a positive quantity such as 1Gi"))]
    #[schemars(length(max = 32))]
    pub size: String,
    /// Storage class of the claim; the host cluster's default class if absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// What happens to the claim when the cluster is deleted.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

/// What happens to the data of a deleted cluster.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ReclaimPolicy {
    /// The claim is deleted with the cluster.
    #[default]
    Delete,
    /// The claim stays.
    Retain,
}

/// The control plane's containers.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Resources of kube-apiserver.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub api_server: Resources,
    /// Resources of kube-controller-manager.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub controller_manager: Resources,
    /// Resources of the store.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub store: Resources,
}

/// The DNS server of a virtual cluster.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// Pods that answer.
    #[serde(default = "default_dns_replicas")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// Resources of each of them.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
}

/// Compute resources of one container, by `cpu` and `memory`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || !isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k])) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)")
    .message("requests must not exceed limits"))]
pub struct Resources {
    /// What is set aside. An absent key means the service's default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What may be used at most. An absent key means no limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Schema of quantities by resource. The bounds on keys and lengths keep its rules, and the one of
/// [`Resources`], within the API server's cost limit.
fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 2,
        "additionalProperties": { "x-kubernetes-int-or-string": true, "maxLength": 32 },
        "x-kubernetes-validations": [
            {
                "rule": "self.all(k, k in ['cpu', 'memory'])",
                "message": "only cpu and memory can be given",
            },
            {
                "rule": "self.all(k, isQuantity(string(self[k])) && quantity(string(self[k])).isGreaterThan(quantity('0')))",
                "message": "must be positive quantities such as 500m or 256Mi",
            },
        ],
    })
}

impl Resources {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

/// What is observed of a virtual cluster.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualClusterStatus {
    /// The conditions in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What it waits for, or that it is ready, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Facts that programs can wait for: CertificatesReady, ControlPlaneReady, DNSReady, SyncReady,
    /// and Ready, which sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Kubernetes version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Address of the virtual API server inside the host cluster, `https://IP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Ranges of the host's Service addresses in CIDR notation: every Service of the virtual cluster
    /// has its address from them.
    #[serde(
        default,
        rename = "serviceCIDRs",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 16))]
    pub service_cidrs: Vec<String>,
    /// Address of the virtual cluster's DNS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_address: Option<String>,
    /// Generation of the spec that control last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The conditions of a virtual cluster in one word.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Phase {
    /// On its way to ready.
    Pending,
    /// Usable.
    Ready,
    /// Was usable and is not; the message says why.
    Degraded,
    /// Being removed.
    Deleting,
    /// Cannot become ready without a change; the message says which.
    Failed,
}

/// The trace that a virtual cluster was created in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationTrace {
    /// W3C `traceparent` of the call.
    pub parent: String,
    /// Until when what is done for the cluster belongs to it: a trace without end is of no use to anybody.
    pub until: Timestamp,
}

impl VirtualCluster {
    /// How long what is done for a cluster belongs to the call that created it.
    const CREATION: SignedDuration = SignedDuration::from_mins(10);

    /// The trace of its creation, if its creator left one.
    pub fn creation_trace(&self) -> Option<CreationTrace> {
        let annotations = self.metadata.annotations.as_ref()?;
        let parent = annotations.get(label::TRACEPARENT)?.clone();
        let created = self.metadata.creation_timestamp.as_ref()?.0;
        let until = created.checked_add(Self::CREATION).ok()?;
        Some(CreationTrace { parent, until })
    }
}

impl CreationTrace {
    /// The context to join, while it is time.
    pub fn at(&self, now: Timestamp) -> Option<&str> {
        (now < self.until).then_some(self.parent.as_str())
    }
}

impl Default for VirtualClusterSpec {
    fn default() -> Self {
        Self {
            distro: Distro::default(),
            version: default_version(),
            store: Store::default(),
            control_plane: ControlPlane::default(),
            dns: Dns::default(),
            sync: SyncPolicy::default(),
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            replicas: default_dns_replicas(),
            resources: Resources::default(),
        }
    }
}

impl Default for SqliteStore {
    fn default() -> Self {
        Self {
            size: default_store_size(),
            storage_class_name: None,
            reclaim_policy: ReclaimPolicy::default(),
        }
    }
}

fn default_version() -> String {
    DEFAULT_VERSION.to_owned()
}

const fn default_dns_replicas() -> i32 {
    1
}

fn default_store_size() -> String {
    DEFAULT_STORE_SIZE.to_owned()
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;

    use super::*;

    #[test]
    fn an_empty_spec_has_every_default() {
        let spec: VirtualClusterSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(spec.version, DEFAULT_VERSION);
        assert_eq!(spec.store.sqlite.size, DEFAULT_STORE_SIZE);
        assert_eq!(spec.store.sqlite.reclaim_policy, ReclaimPolicy::Delete);
        assert_eq!(spec.dns.replicas, 1);
    }

    #[test]
    fn the_trace_of_a_creation_ends() {
        let mut cluster = VirtualCluster::new("demo", VirtualClusterSpec::default());
        assert_eq!(cluster.creation_trace(), None);
        let annotations = cluster.metadata.annotations.get_or_insert_default();
        annotations.insert(label::TRACEPARENT.to_owned(), "00-1-2-01".to_owned());
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let created = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0));
        cluster.metadata.creation_timestamp = Some(created);
        let trace = cluster.creation_trace().unwrap();
        assert_eq!(trace.at(at(9)), Some("00-1-2-01"));
        assert_eq!(trace.at(at(10)), None);
    }

    #[test]
    fn the_definition_is_the_one_that_was_reviewed() {
        insta::assert_yaml_snapshot!(VirtualCluster::crd());
    }
}
