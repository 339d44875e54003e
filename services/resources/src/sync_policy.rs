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
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::custom_resource::CustomResource;

mod selector;

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
    #[schemars(schema_with = "to_host")]
    pub to_host: BTreeMap<String, ToHost>,
    /// What is shown of the host, by the plural of the kind, such as `storageclasses`. A kind that is not
    /// named is shown whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "from_host")]
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

/// A selector of labels, as Kubernetes has it: all of it must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "selector::match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)")
    .message(VALUES))]
pub struct Requirement {
    /// The label.
    #[schemars(length(max = 317))]
    #[x_kube(validation = Rule::new(selector::IS_KEY).message(selector::KEYS))]
    pub key: String,
    /// How it relates to the values.
    pub operator: Operator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(validation = Rule::new(selector::ARE_VALUES).message(selector::LABEL_VALUES))]
    pub values: Vec<String>,
}

/// How a label relates to the values of a requirement.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Operator {
    /// It has one of them.
    In,
    /// It is absent, or has none of them.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::In, Self::NotIn, Self::Exists, Self::DoesNotExist];

    /// Name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|all| all.as_str() == name)
    }
}

impl Selector {
    /// Whether an object with the labels that `label` finds is selected.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let exact = self
            .match_labels
            .iter()
            .all(|(key, value)| label(key) == Some(value));
        exact && self.match_expressions.iter().all(|all| all.holds(&label))
    }
}

impl Requirement {
    fn holds<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let found = label(&self.key);
        let is_in = found.is_some_and(|found| self.values.iter().any(|value| value == found));
        match self.operator {
            Operator::In => is_in,
            Operator::NotIn => !is_in,
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

impl SyncPolicy {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that is wrong with it, by field.
    pub fn violations(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (kind, rule) in &self.to_host {
            let at = format!("to_host[{kind}]");
            if !TO_HOST.contains(&kind.as_str()) {
                found.push((at.clone(), TO_HOST_ONLY.to_owned()));
            }
            if kind == "pods" && rule.enabled == Some(false) {
                found.push((format!("{at}.enabled"), PODS_OFF.to_owned()));
            }
            if kind == SERVICE_ACCOUNTS && rule.selector.is_some() {
                found.push((format!("{at}.selector"), ACCOUNTS_SELECTED.to_owned()));
            }
            if CLASSES.contains(&kind.as_str()) && !rule.namespaces.is_empty() {
                found.push((format!("{at}.namespaces"), CLASSES_PLACED.to_owned()));
            }
            let namespaces = &rule.namespaces;
            if namespaces.len() > MOST_NAMESPACES || !namespaces.iter().all(|name| is_label(name)) {
                found.push((format!("{at}.namespaces"), NAMESPACES.to_owned()));
            }
            found.extend(of_selector(&at, rule.selector.as_ref()));
            found.extend(of_exports(&at, kind, &rule.mappings));
        }
        for (kind, rule) in &self.from_host {
            let at = format!("from_host[{kind}]");
            if !FROM_HOST.contains(&kind.as_str()) {
                found.push((at.clone(), FROM_HOST_ONLY.to_owned()));
            }
            if kind == "nodes" && rule.enabled == Some(false) {
                found.push((format!("{at}.enabled"), NODES_OFF.to_owned()));
            }
            if kind != "nodes" && rule.policy.is_some() {
                found.push((format!("{at}.policy"), POLICY_ELSEWHERE.to_owned()));
            }
            let narrowed = rule.enabled.is_some() || rule.selector.is_some();
            if MAPPED.contains(&kind.as_str()) && narrowed {
                found.push((at.clone(), MAPPED_ONLY.to_owned()));
            }
            found.extend(of_mappings(&at, kind, &rule.mappings));
            if kind == "events" && rule.selector.is_some() {
                found.push((format!("{at}.selector"), EVENTS_SELECTED.to_owned()));
            }
            found.extend(of_selector(&at, rule.selector.as_ref()));
        }
        found
    }
}

fn of_selector(at: &str, selector: Option<&Selector>) -> Vec<(String, String)> {
    selector.map_or_else(Vec::new, |selector| selector::violations(at, selector))
}

fn of_exports(at: &str, kind: &str, exports: &[Export]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let field = format!("{at}.mappings");
    if kind != "services" && !exports.is_empty() {
        found.push((field.clone(), NOT_EXPORTED.to_owned()));
    }
    let once = |export: &Export| exports.iter().filter(|other| other.to == export.to).count() == 1;
    if exports.len() > MOST_MAPPINGS || !exports.iter().all(once) {
        found.push((field.clone(), PLACES.to_owned()));
    }
    for (index, export) in exports.iter().enumerate() {
        let name = export.to.name.as_str();
        let at = format!("{field}[{index}].to.name");
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || !is_label(name) || name.contains("-x-") {
            found.push((at.clone(), HOST_NAME.to_owned()));
        }
        if is_reserved(name) {
            found.push((at, RESERVED.to_owned()));
        }
        found.extend(of_place(&format!("{field}[{index}].from"), &export.from));
    }
    found
}

fn of_mappings(at: &str, kind: &str, mappings: &[Mapping]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let field = format!("{at}.mappings");
    if !MAPPED.contains(&kind) && !mappings.is_empty() {
        found.push((field.clone(), NOT_MAPPED.to_owned()));
    }
    let once = |mapping: &Mapping| {
        let same = |other: &&Mapping| other.to == mapping.to || other.from == mapping.from;
        mappings.iter().filter(same).count() == 1
    };
    if mappings.len() > MOST_MAPPINGS || !mappings.iter().all(once) {
        found.push((field.clone(), PLACES.to_owned()));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let at = format!("{field}[{index}]");
        let HostObject { namespace, name } = &mapping.from;
        if namespace.as_deref().is_some_and(|name| !is_label(name)) {
            found.push((format!("{at}.from.namespace"), NAMES.to_owned()));
        }
        if !is_subdomain(name) {
            found.push((format!("{at}.from.name"), NAMES.to_owned()));
        }
        if is_reserved(name) {
            found.push((format!("{at}.from.name"), RESERVED.to_owned()));
        }
        found.extend(of_place(&format!("{at}.to"), &mapping.to));
    }
    found
}

fn of_place(at: &str, place: &VirtualObject) -> Vec<(String, String)> {
    let namespace = (!is_label(&place.namespace)).then(|| format!("{at}.namespace"));
    let name = (!is_subdomain(&place.name)).then(|| format!("{at}.name"));
    let fields = namespace.into_iter().chain(name);
    fields.map(|field| (field, NAMES.to_owned())).collect()
}

/// Whether a name of the host namespace is the virtual cluster's own: its keys and the like.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("vcluster-")
}

/// Whether it can be the name of an object (RFC 1123).
fn is_subdomain(text: &str) -> bool {
    let ends = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let (first, last) = (text.bytes().next(), text.bytes().last());
    let inner = |byte: u8| ends(Some(byte)) || byte == b'-' || byte == b'.';
    text.len() <= 253 && ends(first) && ends(last) && text.bytes().all(inner)
}

/// Whether it is a DNS label (RFC 1123).
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_segment(text)
}

/// Whether it is a part of a DNS name, however long.
fn is_segment(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn listed(kinds: &[&str]) -> String {
    let kinds: Vec<_> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
    format!("self.all(k, k in [{}])", kinds.join(", "))
}

fn to_host(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": generator.subschema_for::<ToHost>(),
        "x-kubernetes-validations": [
            { "rule": listed(&TO_HOST), "message": TO_HOST_ONLY },
            {
                "rule": "self.all(k, k != 'pods' || !has(self[k].enabled) || self[k].enabled)",
                "message": PODS_OFF,
            },
            {
                "rule": "self.all(k, k != 'serviceaccounts' || !has(self[k].selector))",
                "message": ACCOUNTS_SELECTED,
            },
            {
                "rule": "self.all(k, !(k in ['priorityclasses', 'storageclasses']) || !has(self[k].namespaces))",
                "message": CLASSES_PLACED,
            },
            {
                "rule": "self.all(k, k == 'services' || !has(self[k].mappings))",
                "message": NOT_EXPORTED,
            },
        ],
    })
}

fn from_host(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": generator.subschema_for::<FromHost>(),
        "x-kubernetes-validations": [
            { "rule": listed(&FROM_HOST), "message": FROM_HOST_ONLY },
            {
                "rule": "self.all(k, k != 'nodes' || !has(self[k].enabled) || self[k].enabled)",
                "message": NODES_OFF,
            },
            {
                "rule": "self.all(k, k == 'nodes' || !has(self[k].policy))",
                "message": POLICY_ELSEWHERE,
            },
            {
                "rule": "self.all(k, k in ['configmaps', 'secrets', 'services'] || !has(self[k].mappings))",
                "message": NOT_MAPPED,
            },
            {
                "rule": "self.all(k, !(k in ['configmaps', 'secrets', 'services']) || (!has(self[k].enabled) && !has(self[k].selector)))",
                "message": MAPPED_ONLY,
            },
            {
                "rule": "self.all(k, k != 'events' || !has(self[k].selector))",
                "message": EVENTS_SELECTED,
            },
        ],
    })
}

#[cfg(test)]
mod tests;
