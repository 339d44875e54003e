//! Custom resources: kinds that a CustomResourceDefinition of the host defines, translated as a virtual cluster's
//! own rules say ([`vcluster_resources::custom_resource`]).
//!
//! | field | on the host |
//! |---|---|
//! | `metadata` | as of every kind: labels under our domain; annotations stay behind |
//! | fields that a rule calls references | host names |
//! | fields that a rule patches | what its expression makes of them |
//! | fields that the host owns | stay behind; come up, host names in their texts put back |
//! | `status`, where it is a subresource | stays behind, whatever the rule says |
//! | every other field | as it is; refused if it names an object of the virtual cluster's control plane, or names or selects another namespace |
//!
//! A field that a controller of the host adds stays, also when the object is edited: only what was sent is compared, and
//! only what is known to have been sent before is taken away (the annotation `vcluster.dev/sent-fields`). A list is one
//! value. What the host's admission makes of a write at once stays as well ([`accept`]).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;
use vcluster_resources::custom_resource::Rule;

use crate::{
    Context,
    json::text,
    kind::{Api, Bespoke, Description, Inside, Outside, Scope, ToHost},
    mirror,
};

mod accepted;
pub mod definition;
mod from_host;
mod guard;
mod rewrite;
mod sent;
mod to_host;

pub use accepted::{Accepted, accept};
pub use from_host::{Shown, is_shared, status_to_virtual};
pub use to_host::{made_by_host, references, to_host, update_host};

/// What a custom kind is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// API group.
    pub group: String,
    /// Version that is followed.
    pub version: String,
    /// Name of the kind.
    pub kind: String,
    /// Name of the collection.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
    /// Whether its objects come from the host.
    pub comes_from_host: bool,
}

impl Identity {
    /// `PLURAL.GROUP`: the name of its CustomResourceDefinition.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// A custom kind. Two of the same identity are equal.
#[derive(Clone, Copy)]
pub struct Custom(&'static Entry);

struct Entry {
    identity: Identity,
    name: String,
    definition: String,
    description: Description,
}

impl Custom {
    /// Makes a kind, which is never given back: the caller keeps it, and makes no more than it has bounds for.
    pub fn leak(identity: Identity) -> Self {
        let entry = Entry {
            name: format!("{}.{}", identity.kind, identity.group),
            definition: identity.definition(),
            description: describe(&identity),
            identity,
        };
        Self(Box::leak(Box::new(entry)))
    }

    /// What it is.
    pub const fn identity(self) -> &'static Identity {
        &self.0.identity
    }

    /// `KIND.GROUP`.
    pub const fn name(self) -> &'static str {
        self.0.name.as_str()
    }

    /// `PLURAL.GROUP`: the name of its CustomResourceDefinition.
    pub const fn definition(self) -> &'static str {
        self.0.definition.as_str()
    }

    pub(crate) const fn description(self) -> &'static Description {
        &self.0.description
    }
}

fn describe(identity: &Identity) -> Description {
    let text = |text: &String| -> &'static str { text.clone().leak() };
    let scope = if identity.is_namespaced {
        Scope::Namespaced
    } else {
        Scope::Cluster
    };
    let api = Api::new(
        text(&identity.group),
        text(&identity.version),
        text(&identity.kind),
        text(&identity.plural),
        scope,
    );
    match (identity.comes_from_host, identity.is_namespaced) {
        (false, _) => Description {
            references: Some(references),
            made_by_host: Some(made_by_host),
            ..Description::to_host(
                api,
                ToHost {
                    wanted: is_the_tenants,
                    status: Some(status_to_virtual),
                    accept: Some(accept),
                    ..ToHost::new(to_host, update_host)
                },
            )
        },
        (true, true) => Description::bespoke(Bespoke::Shown, api, Inside::Managed, Outside::Shown),
        (true, false) => {
            let outside = Outside::Everything {
                prune: from_host::prune,
            };
            Description::bespoke(Bespoke::Shown, api, Inside::Managed, outside)
        }
    }
}

/// Not what an earlier rule showed of the host's.
fn is_the_tenants(object: &Value, context: &Context) -> bool {
    !mirror::is_ours(object, context)
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0.identity == other.0.identity
    }
}

impl Eq for Custom {}

impl Hash for Custom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.identity.hash(state);
    }
}

impl PartialOrd for Custom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Custom {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.identity.cmp(&other.0.identity)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A custom kind as it is synced for one virtual cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The kind.
    pub kind: Custom,
    /// The rule.
    pub rule: Rule,
    /// Whether its status is a subresource.
    pub has_status: bool,
    /// Whether its objects may name namespaces of the host other than the tenant's: the host's administrator says so.
    pub may_name_namespaces: bool,
}

/// The custom kinds of a virtual cluster. Clones share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds {
    followed: Arc<[Synced]>,
    is_partial: bool,
}

impl Kinds {
    /// Every one.
    pub fn iter(&self) -> impl Iterator<Item = &Synced> {
        self.followed.iter()
    }

    /// The same, but not all that the rules name: a rule cannot be followed now, and nobody knows what objects of its
    /// kind use.
    #[must_use]
    pub fn partial(self) -> Self {
        Self {
            is_partial: true,
            ..self
        }
    }

    /// Whether there may be users of which nobody knows.
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// How this kind is synced.
    pub fn get(&self, kind: Custom) -> Option<&Synced> {
        self.iter().find(|synced| synced.kind == kind)
    }

    /// How the kind of this object is synced.
    pub fn of(&self, object: &Value) -> Option<&Synced> {
        let (version, kind) = (text(object, "/apiVersion")?, text(object, "/kind")?);
        let (group, version) = version.split_once('/')?;
        self.iter().find(|synced| {
            let identity = synced.kind.identity();
            identity.kind == kind && identity.group == group && identity.version == version
        })
    }
}

impl FromIterator<Synced> for Kinds {
    fn from_iter<I: IntoIterator<Item = Synced>>(all: I) -> Self {
        Self {
            followed: all.into_iter().collect(),
            is_partial: false,
        }
    }
}

#[cfg(test)]
mod tests;
