//! Rules by which kinds that are defined by CustomResourceDefinitions are synced: `spec.sync.customResources`.
//!
//! A rule says which kind, which of its fields name other objects, which fields the host owns, and how values are
//! changed on the way. It grants nothing: which kinds may be synced at all is the host administrator's to say.
//! [`check`] finds what is wrong with rules, in the words that the schema's own rules have; [`compile`] makes of
//! rules without fault what translation works with.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden twin of each type inside a function"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod check;
mod compile;
pub mod expression;
pub mod path;

pub use check::{Finding, check};
pub use compile::{PatchRule, ReferenceRule, Rule, compile};
pub use expression::Expression;
pub use path::Path;

/// How a kind that a CustomResourceDefinition of the host defines is synced.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.direction != 'FromHost' || !has(self.references) || self.references.size() == 0")
    .message("references must not be given with direction FromHost"))]
#[x_kube(validation = Rule::new("self.direction != 'ToHost' || !has(self.__namespace__)")
    .message("namespace must not be given with direction ToHost"))]
pub struct CustomResource {
    /// API group of the kind, for example `cert-manager.io`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+$')")
        .message("group must be a DNS name with a dot, for example cert-manager.io"))]
    pub group: String,
    /// Version of the kind that is synced, for example `v1`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^v[0-9]+((alpha|beta)[0-9]+)?$')")
        .message("version must be a version of an API, for example v1 or v1beta1"))]
    pub version: String,
    /// Name of the collection, for example `certificates`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("plural must be lower-case letters, digits and '-', for example certificates"))]
    pub plural: String,
    /// Which way its objects go: from the virtual cluster to the host, or from the host into it, read only.
    pub direction: Direction,
    /// With direction `FromHost`, and a kind whose objects live in namespaces: the virtual namespace in which the
    /// objects of the host namespace are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')")
        .message("namespace must be lower-case letters, digits and '-'"))]
    pub namespace: Option<String>,
    /// Fields that name other objects of the same virtual namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub references: Vec<Reference>,
    /// Fields that controllers of the host write: they are not sent to the host, and come up from it. Paths without
    /// `[*]`.
    #[serde(default = "default_host_owns")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = Rule::new("self.all(p, p.matches('^[A-Za-z_][A-Za-z0-9_-]*([.][A-Za-z_][A-Za-z0-9_-]*)*$'))")
        .message("hostOwns must be paths such as status or spec.renewal, without [*]"))]
    #[x_kube(validation = Rule::new("!self.exists(p, p.matches('^(apiVersion|kind|metadata)([.[]|$)'))")
        .message("path must not lie in apiVersion, kind or metadata, which sync translates by itself"))]
    pub host_owns: Vec<String>,
    /// Values that are changed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub patches: Vec<Patch>,
}

/// Which way objects go.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum Direction {
    /// From the virtual cluster to the host.
    ToHost,
    /// From the host into the virtual cluster.
    FromHost,
}

/// A field that names another object of the same virtual namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.made != 'ByHost' || self.kind in ['Secret', 'ConfigMap']")
    .message("made can be ByHost only with kind Secret or ConfigMap"))]
pub struct Reference {
    /// Where the name stands, for example `spec.secretName` or `spec.items[*].ref.name`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_-]*([[][*][]])?([.][A-Za-z_][A-Za-z0-9_-]*([[][*][]])?)*$')")
        .message("path must be field names joined by dots, with [*] behind a list, for example spec.items[*].name"))]
    #[x_kube(validation = Rule::new("!self.matches('^(apiVersion|kind|metadata)([.[]|$)')")
        .message("path must not lie in apiVersion, kind or metadata, which sync translates by itself"))]
    pub path: String,
    /// What is named: Secret, ConfigMap, Service, PersistentVolumeClaim, Pod, or `PLURAL.GROUP` of another rule of
    /// this list.
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(validation = Rule::new("self in ['Secret', 'ConfigMap', 'Service', 'PersistentVolumeClaim', 'Pod'] || self.contains('.')")
        .message("kind must be Secret, ConfigMap, Service, PersistentVolumeClaim, Pod, or PLURAL.GROUP of another rule of this list"))]
    pub kind: String,
    /// Who makes the object that is named.
    #[serde(default)]
    pub made: Made,
    /// CEL expression of the variables `object` and `cluster`: the field is a reference only where it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub when: Option<String>,
}

/// Who makes an object that is named.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum Made {
    /// Somebody in the virtual cluster: it goes to the host.
    #[default]
    Inside,
    /// A controller of the host: it comes up into the virtual cluster.
    ByHost,
}

/// A value that is changed on the way.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.expression) || has(self.reverse)")
    .message("a patch must have an expression, a reverse, or both"))]
pub struct Patch {
    /// Where the value stands, for example `spec.issuerRef.name`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_-]*([[][*][]])?([.][A-Za-z_][A-Za-z0-9_-]*([[][*][]])?)*$')")
        .message("path must be field names joined by dots, with [*] behind a list, for example spec.items[*].name"))]
    #[x_kube(validation = Rule::new("!self.matches('^(apiVersion|kind|metadata)([.[]|$)')")
        .message("path must not lie in apiVersion, kind or metadata, which sync translates by itself"))]
    pub path: String,
    /// CEL expression whose result is the value on the host; of the variables `value`, `object` and `cluster`
    /// (`name`, `namespace`). A null takes the field away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub expression: Option<String>,
    /// The same for what comes up from the host: fields that the host owns, and objects of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub reverse: Option<String>,
}

impl CustomResource {
    /// `PLURAL.GROUP`: the name of its CustomResourceDefinition.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// What the host owns when a rule does not say.
pub fn default_host_owns() -> Vec<String> {
    vec!["status".to_owned()]
}
