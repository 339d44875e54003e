//! `spec.sync` of a VirtualCluster: which objects go to the host, and which of the host's are shown inside.
//!
//! Kinds are called as in RBAC rules, by their lower-case plural. Nothing here can grant more than its
//! author has: it narrows, and names objects of the author's own host namespace, or such as the host's
//! administrator shares. What is wrong is refused in the same words by the definition's own rules and by
//! [`SyncPolicy::violations`].

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden twin of each type inside a function"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::custom_resource::CustomResource;

mod schema;
mod selector;
mod violations;

pub use selector::{Operator, Requirement, Selector};

/// Kinds of [`SyncPolicy::to_host`], by their plural.
pub const TO_HOST: [&str; 13] = [
    "configmaps",
    "ingresses",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "priorityclasses",
    "resourceclaims",
    "secrets",
    SERVICE_ACCOUNTS,
    "services",
    "storageclasses",
    "volumesnapshots",
];
/// Those of them that live in no namespace. They go only if they are enabled, here and by the host's administrator.
pub const CLASSES: [&str; 2] = ["priorityclasses", "storageclasses"];
/// That of them which goes only if it is enabled.
pub const SERVICE_ACCOUNTS: &str = "serviceaccounts";
/// Kinds of [`SyncPolicy::from_host`], by their plural.
pub const FROM_HOST: [&str; 13] = [
    "configmaps",
    "csidrivers",
    "csinodes",
    "deviceclasses",
    "events",
    "ingressclasses",
    "nodes",
    "priorityclasses",
    "runtimeclasses",
    "secrets",
    "services",
    "storageclasses",
    "volumesnapshotclasses",
];
/// Those of them of which single objects are mapped.
pub const MAPPED: [&str; 3] = ["configmaps", "secrets", "services"];

const TO_HOST_ONLY: &str = "only configmaps, ingresses, networkpolicies, persistentvolumeclaims, poddisruptionbudgets, pods, priorityclasses, resourceclaims, secrets, serviceaccounts, services, storageclasses and volumesnapshots can be given";
const FROM_HOST_ONLY: &str = "only configmaps, csidrivers, csinodes, deviceclasses, events, ingressclasses, nodes, priorityclasses, runtimeclasses, secrets, services, storageclasses and volumesnapshotclasses can be given";
const PODS_OFF: &str = "pods cannot be turned off: narrow them by selector or namespaces";
const ACCOUNTS_SELECTED: &str = "serviceaccounts cannot be selected by labels: a pod must know whether its own goes to the host; use namespaces";
const CLASSES_PLACED: &str =
    "priorityclasses and storageclasses live in no namespace: leave namespaces out";
const NODES_OFF: &str =
    "nodes cannot be turned off: with policy Used only those are shown that run the cluster's pods";
const POLICY_ELSEWHERE: &str = "policy can be given for nodes only";
const EVENTS_SELECTED: &str = "events can be turned off, but not selected";
const MAPPED_ONLY: &str =
    "configmaps, secrets and services of the host are shown by mappings, and by nothing else";
const NOT_MAPPED: &str = "mappings can be given for configmaps, secrets and services only";
const NOT_EXPORTED: &str = "mappings to the host can be given for services only";
const PLACES: &str = "an object can be mapped to one place, and to a place one object";
const NAMES: &str =
    "names must be lower-case letters, digits, '-' and '.', of namespaces without '.'";
const RESERVED: &str =
    "names that begin with \"vcluster-\" are the virtual cluster's own: use another";
const HOST_NAME: &str =
    "name must be that of a Service, and hold no \"-x-\", which translated names do";
const VALUES: &str = "values must be given with In and NotIn, and with nothing else";
const NAMESPACES: &str =
    "namespaces must be names of namespaces: lower-case letters, digits and '-'";

/// Most mappings of one kind.
const MOST_MAPPINGS: usize = 32;
/// Most namespaces of one kind.
const MOST_NAMESPACES: usize = 64;

/// Which objects go to the host, and which of the host's are shown inside.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncPolicy {
    /// What goes to the host, by the plural of the kind, such as `ingresses`. A kind that is not named
    /// goes whole, but for priorityclasses, serviceaccounts and storageclasses, which stay inside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::to_host")]
    pub to_host: BTreeMap<String, ToHost>,
    /// What is shown of the host, by the plural of the kind, such as `storageclasses`. A kind that is not
    /// named is shown whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::from_host")]
    pub from_host: BTreeMap<String, FromHost>,
    /// Kinds that CustomResourceDefinitions of the host define, one rule each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["group", "plural"])
    )]
    pub custom_resources: Vec<CustomResource>,
}

/// Which objects of one kind go to the host: those for which all of this holds. A change removes from the
/// host what is not wanted there any more, but for pods, persistentvolumeclaims, resourceclaims, services
/// and volumesnapshots: those that are there stay until they are deleted inside.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToHost {
    /// Whether any goes. Default: true, of priorityclasses, serviceaccounts and storageclasses false. With
    /// true, pods have host ServiceAccounts of their own, of which they still get no token; classes go as far as
    /// the host's administrator allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Labels of the objects. Default: any. Not for serviceaccounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Namespaces inside, of which the objects are. Default: all. Not for priorityclasses and storageclasses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))")
        .message(NAMESPACES))]
    pub namespaces: Vec<String>,
    /// For services only: Services inside that are shown outside, in the host namespace, under a plain
    /// name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.to == b.to))").message(PLACES))]
    pub mappings: Vec<Export>,
}

/// A Service inside that is shown outside.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub struct Export {
    /// The Service inside.
    pub from: VirtualObject,
    /// The Service of the host namespace.
    pub to: HostService,
}

/// A Service of the host namespace that is made for a mapping.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, KubeSchema)]
pub struct HostService {
    /// Name.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$') && !self.contains('-x-')")
        .message(HOST_NAME))]
    #[x_kube(validation = Rule::new("!self.startsWith('vcluster-')").message(RESERVED))]
    pub name: String,
}

/// An object of the host that is shown inside.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct Mapping {
    /// The host's.
    pub from: HostObject,
    /// Where it is shown.
    pub to: VirtualObject,
}

/// An object of the host.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, KubeSchema)]
pub struct HostObject {
    /// Namespace; the virtual cluster's own host namespace if absent. In another one the object must
    /// bear the label vcluster.dev/shareable=true, and an administrator must let the ServiceAccount
    /// vcluster-sync of the host namespace get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(NAMES))]
    pub namespace: Option<String>,
    /// Name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message(NAMES))]
    #[x_kube(validation = Rule::new("!self.startsWith('vcluster-')").message(RESERVED))]
    pub name: String,
}

/// An object inside.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, KubeSchema)]
pub struct VirtualObject {
    /// Namespace.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(NAMES))]
    pub namespace: String,
    /// Name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message(NAMES))]
    pub name: String,
}

/// Which of the host's objects of one kind are shown inside: those for which all of this holds.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FromHost {
    /// Whether any is shown. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Labels of the host's objects. Default: any. A node that runs a pod of the cluster is always shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// For nodes only: whether those are shown that run none of the cluster's pods. Default: All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<NodePolicy>,
    /// For configmaps, secrets and services only, and the only way to show them: which object is shown
    /// where. A Service has the same ClusterIP inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.to == b.to) && self.exists_one(b, a.from == b.from))")
        .message(PLACES))]
    pub mappings: Vec<Mapping>,
}

/// Which nodes are shown.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum NodePolicy {
    /// All that the selector allows.
    #[default]
    All,
    /// Those that run pods of the cluster.
    Used,
}

impl SyncPolicy {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a name of the host namespace is the virtual cluster's own: its keys and the like.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("vcluster-")
}

#[cfg(test)]
mod tests;
