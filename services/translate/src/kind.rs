//! The table of kinds: what each is called, how each side of it is followed, and what translates it.
//!
//! A kind is one module with a pure translation each way, and one line in the table below; watches,
//! lists, readiness, scans, removal and metrics follow from its [`Description`]. What has a rule of
//! its own that no description can say (pods, nodes, events) is [`Translation::Bespoke`]. Kinds that
//! the rules of a virtual cluster name have descriptions too, made when the rules are read: see
//! [`custom`](crate::custom).

use std::fmt;

use serde_json::Value;

use crate::{
    Change, Context, Custom, Patch, Refusal, config_map, custom::Accepted, disruption_budget,
    endpoint_slice, event, ingress, mirror, namespace, network_policy, node, persistent_volume,
    persistent_volume_claim, pod, resource_claim, secret, service, service_account,
    storage_capacity, volume_snapshot,
};

mod spelling;

pub use spelling::{Spelled, spelled};

/// What a kind is, and how it is kept the same on both sides.
#[derive(Debug)]
pub struct Description {
    /// What it is called.
    pub api: Api,
    /// How it is followed in a virtual cluster.
    pub inside: Inside,
    /// How it is followed on the host.
    pub outside: Outside,
    /// When an object of it is kept on the host.
    pub need: Need,
    /// Which objects of kinds that are [`Need::Used`] an object of this kind uses.
    pub references: Option<fn(&Value, &Context) -> Vec<Reference>>,
    /// Which of them a controller of the host makes, so that they come up instead of going down.
    pub made_by_host: Option<fn(&Value, &Context) -> Vec<Reference>>,
    /// Its objects are not kept in memory longer than they are worked on.
    pub confidential: bool,
    /// It is served only where a CustomResourceDefinition says so: the virtual cluster gets the host's.
    pub defined: bool,
    /// What becomes of its objects.
    pub translation: Translation,
}

/// What a kind is called in the API.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// API group; empty for the core one.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Name of the kind.
    pub kind: &'static str,
    /// Name of the collection.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// What a name of it may be.
    pub naming: Naming,
    /// What kubectl calls the collection for short.
    pub short: &'static [&'static str],
}

/// Whether objects of a kind live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// What the name of an object may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// A DNS subdomain.
    Subdomain,
    /// A DNS label that begins with a letter (RFC 1035), at most 63 characters.
    Label,
}

/// How a kind is followed in a virtual cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// Every object.
    Everything,
    /// The objects that sync keeps there, by their label.
    Managed,
    /// Every object but those with this label and value, which are many and never wanted.
    Without(&'static str, &'static str),
    /// Not at all.
    Nothing,
}

/// How a kind is followed on the host.
#[derive(Debug, Clone, Copy)]
pub enum Outside {
    /// By one watch for all tenants, of translated objects, which are known by our label.
    Translated,
    /// By the scan only, under the tenant's own ServiceAccount.
    Scanned,
    /// By one watch for all tenants, of every object; what none of them is shown is cut off first.
    Everything {
        /// Cuts it off, to save memory.
        prune: fn(&mut Value),
    },
    /// By one watch for all tenants, of every object in their host namespaces that is not a translation.
    Shown,
    /// Not by its description.
    Nothing,
}

/// When an object is kept on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// As long as it exists inside.
    Always,
    /// As long as another object uses it.
    Used,
}

/// What becomes of the objects of a kind.
#[derive(Debug)]
pub enum Translation {
    /// Made on the host after the virtual object, its status brought up.
    ToHost(ToHost),
    /// Made in the virtual cluster under the same name, after the host object.
    FromHost(FromHost),
    /// By rules of its own.
    Bespoke(Bespoke),
    /// Nothing: it is only read.
    ReadOnly,
}

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bespoke {
    /// Those of pods.
    Pod,
    /// Those of nodes.
    Node,
    /// Those of events.
    Event,
    /// Those of claims.
    PersistentVolumeClaim,
    /// Those of volumes.
    PersistentVolume,
    /// Those of custom resources that come from the host.
    Shown,
}

/// A translation of [`to_host`](crate::plan::to_host).
#[derive(Debug, Clone, Copy)]
pub struct ToHost {
    /// Whether a virtual object belongs on the host at all.
    pub wanted: fn(&Value, &Context) -> bool,
    /// The host object of a virtual one.
    pub make: fn(&Value, &Context) -> Result<Value, Refusal>,
    /// How the host object (second) comes to be as the virtual one (first) wants it.
    pub update: fn(&Value, &Value, &Context) -> Result<Change, Refusal>,
    /// What the virtual object must be told of the host's, if anything.
    pub status: Option<StatusToVirtual>,
    /// What a new virtual object of an old name does with the host object that it finds.
    pub successor: Successor,
    /// Whether what the host makes of a write is accepted; without it the host is written as long as it differs.
    pub accept: Option<Accept>,
}

/// What the host made of a virtual object (first), in the answer (second) to what was written (third).
pub type Accept = fn(&Value, &Value, &Value, &Context) -> Option<Accepted>;

/// What a virtual object (second) must be told of its host object (first).
pub type StatusToVirtual = fn(&Value, &Value, &Context) -> Option<Patch>;

/// What a new virtual object of an old name does with the host object that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Successor {
    /// Takes it over, so that those who use it by its name do not lose it.
    TakesOver,
    /// Has it deleted, and its own made.
    Replaces,
}

/// A translation of [`from_host`](crate::plan::from_host).
#[derive(Debug, Clone, Copy)]
pub struct FromHost {
    /// Whether a host object is shown.
    pub shown: fn(&Value) -> bool,
    /// The fields of the object that are shown, beside metadata.
    pub fields: &'static [&'static str],
    /// JSON pointers of what in them cannot be changed: the mirror is made again.
    pub frozen: &'static [&'static str],
    /// Takes from the virtual object what of these fields is the host's alone.
    pub hide: fn(&mut Value),
}

/// An object that another object of the same virtual namespace names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its virtual namespace.
    pub namespace: String,
    /// Its virtual name.
    pub name: String,
    /// Whether its user does without it.
    pub optional: bool,
}

impl Api {
    /// A kind of the core group.
    pub const fn core(kind: &'static str, plural: &'static str, scope: Scope) -> Self {
        Self::new("", "v1", kind, plural, scope)
    }

    /// A kind of a named group.
    pub const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        scope: Scope,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            scope,
            naming: Naming::Subdomain,
            short: &[],
        }
    }

    /// The same, with short names.
    pub const fn short(self, short: &'static [&'static str]) -> Self {
        Self { short, ..self }
    }

    /// `apiVersion` of its objects.
    pub fn version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl Description {
    /// A kind that goes to the host, always and watched there.
    pub const fn to_host(api: Api, translation: ToHost) -> Self {
        Self {
            translation: Translation::ToHost(translation),
            ..Self::read_only(api, Inside::Everything, Outside::Translated)
        }
    }

    /// A kind of the host that is shown inside.
    pub const fn from_host(api: Api, translation: FromHost) -> Self {
        Self {
            translation: Translation::FromHost(translation),
            ..Self::read_only(api, Inside::Managed, Outside::Everything { prune: nothing })
        }
    }

    /// A kind with rules of its own.
    pub const fn bespoke(rules: Bespoke, api: Api, inside: Inside, outside: Outside) -> Self {
        Self {
            translation: Translation::Bespoke(rules),
            ..Self::read_only(api, inside, outside)
        }
    }

    /// A kind that is only read.
    pub const fn read_only(api: Api, inside: Inside, outside: Outside) -> Self {
        Self {
            api,
            inside,
            outside,
            need: Need::Always,
            references: None,
            made_by_host: None,
            confidential: false,
            defined: false,
            translation: Translation::ReadOnly,
        }
    }

    /// The same, of a kind that a CustomResourceDefinition defines.
    pub const fn defined(self) -> Self {
        Self {
            defined: true,
            ..self
        }
    }
}

impl ToHost {
    /// A translation of every object, without status, whose host objects are not handed on.
    pub const fn new(
        make: fn(&Value, &Context) -> Result<Value, Refusal>,
        update: fn(&Value, &Value, &Context) -> Result<Change, Refusal>,
    ) -> Self {
        Self {
            wanted: always,
            make,
            update,
            status: None,
            successor: Successor::Replaces,
            accept: None,
        }
    }
}

impl FromHost {
    /// A translation of every object, with these fields whole.
    pub const fn new(fields: &'static [&'static str]) -> Self {
        Self {
            shown: every,
            fields,
            frozen: &[],
            hide: nothing,
        }
    }
}

fn every(_object: &Value) -> bool {
    true
}

fn always(_object: &Value, _context: &Context) -> bool {
    true
}

fn nothing(_object: &mut Value) {}

macro_rules! table {
    ($($(#[$doc:meta])* $kind:ident = $description:path;)*) => {
        /// Kinds that are followed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
            /// As the rules of a virtual cluster say.
            Custom(Custom),
        }

        impl Kind {
            /// Every kind of the table. Custom ones belong to virtual clusters: see [`Context::kinds`].
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The custom kind, if it is one.
            pub const fn custom(self) -> Option<Custom> {
                match self {
                    $(Self::$kind => None,)*
                    Self::Custom(custom) => Some(custom),
                }
            }

            /// What it is, and how it is kept the same on both sides.
            pub const fn description(self) -> &'static Description {
                match self {
                    $(Self::$kind => const { &$description },)*
                    Self::Custom(custom) => custom.description(),
                }
            }
        }
    };
}

table! {
    /// To host, status back.
    Pod = pod::KIND;
    /// To host, if something uses it.
    Secret = secret::KIND;
    /// To host, if something uses it.
    ConfigMap = config_map::KIND;
    /// To host, status back.
    Ingress = ingress::KIND;
    /// To host, confined to the tenant's own pods.
    NetworkPolicy = network_policy::KIND;
    /// To host, once its controller inside has counted.
    PodDisruptionBudget = disruption_budget::KIND;
    /// To host, where its addresses come from; status back.
    Service = service::KIND;
    /// To host, if no controller made it from a selector.
    EndpointSlice = endpoint_slice::KIND;
    /// To host where the policy says so, if a pod uses it.
    ServiceAccount = service_account::KIND;
    /// Read only: labels of namespaces.
    Namespace = namespace::KIND;
    /// From host.
    Node = node::KIND;
    /// From host, about synced objects.
    Event = event::KIND;
    /// From host.
    StorageClass = mirror::storage_class::KIND;
    /// From host.
    IngressClass = mirror::ingress_class::KIND;
    /// From host.
    RuntimeClass = mirror::runtime_class::KIND;
    /// From host.
    PriorityClass = mirror::priority_class::KIND;
    /// From host.
    CSIDriver = mirror::csi_driver::KIND;
    /// From host.
    CSINode = mirror::csi_node::KIND;
    /// From host, by a keeper of its own, where the host's administrator shares them.
    CSIStorageCapacity = storage_capacity::KIND;
    /// To host, status and binding back.
    PersistentVolumeClaim = persistent_volume_claim::KIND;
    /// To host, which devices it got back.
    ResourceClaim = resource_claim::KIND;
    /// From host.
    DeviceClass = mirror::device_class::KIND;
    /// From host, those bound to claims of the virtual cluster.
    PersistentVolume = persistent_volume::KIND;
    /// To host, status back.
    VolumeSnapshot = volume_snapshot::KIND;
    /// From host.
    VolumeSnapshotClass = mirror::volume_snapshot_class::KIND;
}

impl Kind {
    /// Every kind of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.as_str() == name)
    }

    /// Name of its CustomResourceDefinition, if it has one.
    pub fn definition(self) -> Option<String> {
        let description = self.description();
        let Api { plural, group, .. } = description.api;
        description.defined.then(|| format!("{plural}.{group}"))
    }

    /// Its name, which no other kind has: for the kinds of the table that in the API, for a custom one
    /// `KIND.GROUP`.
    pub const fn as_str(self) -> &'static str {
        match self.custom() {
            Some(custom) => custom.name(),
            None => self.description().api.kind,
        }
    }

    /// Name of the collection in the API.
    pub const fn plural(self) -> &'static str {
        self.description().api.plural
    }

    /// Whether its objects on the host are translations of virtual ones.
    pub const fn is_translated(self) -> bool {
        match self.description().outside {
            Outside::Translated | Outside::Scanned => true,
            Outside::Everything { .. } | Outside::Shown | Outside::Nothing => false,
        }
    }

    /// Whether its objects are those of the host namespace, shown inside.
    pub const fn is_shown(self) -> bool {
        match self.description().outside {
            Outside::Shown => true,
            Outside::Translated
            | Outside::Scanned
            | Outside::Everything { .. }
            | Outside::Nothing => false,
        }
    }

    /// Whether its objects are the host's, shown inside.
    pub const fn is_mirrored(self) -> bool {
        match self.description().outside {
            Outside::Everything { .. } => true,
            Outside::Translated | Outside::Scanned | Outside::Shown | Outside::Nothing => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
