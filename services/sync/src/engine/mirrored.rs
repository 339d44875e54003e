//! The host's own objects, which every tenant may be shown, and which kinds are followed on the host for all of them.

use std::sync::{Arc, MutexGuard, PoisonError};

use serde_json::Value;
use vcluster_translate::kind::{Outside, Translation};
use vcluster_translate::{class, mirror, persistent_volume};

use super::Engine;
use crate::hash::{HashMap, HashSet};
use crate::object::{Key, Kind};
use crate::queue::Lane;
use crate::tenant::Tenant;

/// Objects by kind and name.
pub(super) type Mirrored = HashMap<(Kind, Arc<str>), Arc<Value>>;

/// Kinds that are followed on the host for all tenants at once.
#[derive(Debug, Default)]
pub(super) struct Followed {
    listed: HashSet<Kind>,
    unserved: HashSet<Kind>,
}

impl Engine {
    /// Forgets what was known of the host's own objects of a kind.
    pub fn forget_mirrored(&self, kind: Kind) {
        self.set_listed(kind, false);
        self.all_mirrored().retain(|(found, _), _| *found != kind);
    }

    /// An object of the host's own.
    pub fn mirrored(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.all_mirrored().get(&(kind, Arc::from(name))).cloned()
    }

    /// How a tenant stands to a class of the host.
    pub fn class_standing(&self, tenant: &Tenant, class: Kind, name: &str) -> class::Standing {
        let is_shown = |found: &Value| match &class.description().translation {
            Translation::FromHost(rules) => mirror::is_shown(class, rules, found, &tenant.context),
            Translation::ToHost(_) | Translation::Bespoke(_) | Translation::ReadOnly => false,
        };
        match self.mirrored(class, name) {
            None => class::Standing::Absent,
            Some(found) if is_shown(&found) => class::Standing::Shown,
            Some(_) => class::Standing::Hidden,
        }
    }

    /// A host node.
    pub fn node(&self, name: &str) -> Option<Arc<Value>> {
        self.mirrored(Kind::Node, name)
    }

    /// Names of the host's own objects of a kind.
    pub fn mirrored_names(&self, kind: Kind) -> Vec<Arc<str>> {
        let all = self.all_mirrored();
        let of_kind = all.keys().filter(|(found, _)| *found == kind);
        of_kind.map(|(_, name)| Arc::clone(name)).collect()
    }

    /// Takes note of an object of the host's own, or of its end, and has every tenant look at it.
    pub fn set_mirrored(&self, kind: Kind, name: &str, object: Option<Value>, lane: Lane) {
        let place = (kind, Arc::from(name));
        let key = Key::new(kind, "", name);
        let all = self.all();
        let concerned: Vec<_> = all
            .into_iter()
            .filter(|tenant| concerns(tenant, &key, object.as_ref()))
            .collect();
        let now = object.map(Arc::new);
        let before = match &now {
            Some(object) => self.all_mirrored().insert(place, Arc::clone(object)),
            None => self.all_mirrored().remove(&place),
        };
        if kind == Kind::Node {
            self.node_changed(before.as_deref(), now.as_deref());
        }
        for tenant in concerned {
            tenant.add(key.clone(), lane);
        }
    }

    /// Has a tenant look at every object of the host's own that concerns it.
    pub fn show_all(&self, tenant: &Tenant, lane: Lane) {
        let keys: Vec<_> = self
            .all_mirrored()
            .iter()
            .map(|((kind, name), object)| (Key::new(*kind, "", name), Arc::clone(object)))
            .collect();
        for (key, object) in keys {
            if concerns(tenant, &key, Some(&object)) {
                tenant.add(key, lane);
            }
        }
    }

    /// Whether the host's objects of a kind are all known.
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.all_followed().listed.contains(&kind)
    }

    /// Says whether the host's objects of a kind are all known.
    pub fn set_listed(&self, kind: Kind, listed: bool) {
        let mut followed = self.all_followed();
        if listed {
            followed.listed.insert(kind);
            followed.unserved.remove(&kind);
        } else {
            followed.listed.remove(&kind);
        }
        drop(followed);
        self.listed.notify_waiters();
    }

    /// Says that the host does not serve a kind; tells whether that is news.
    pub fn set_unserved(&self, kind: Kind) -> bool {
        let is_news = self.all_followed().unserved.insert(kind);
        self.listed.notify_waiters();
        is_news
    }

    /// Waits until every kind that is followed on the host for all tenants has been listed, or is not served.
    pub async fn followed(&self) {
        loop {
            let changed = self.listed.notified();
            if self.unfollowed().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Kinds that are to be followed on the host for all tenants, and of which nothing is known yet.
    pub fn unfollowed(&self) -> Vec<Kind> {
        let followed = self.all_followed();
        let is_known =
            |kind: &Kind| followed.listed.contains(kind) || followed.unserved.contains(kind);
        Kind::all()
            .filter(|kind| is_shared(*kind) && !is_known(kind))
            .collect()
    }

    pub(super) fn all_followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all_mirrored(&self) -> MutexGuard<'_, Mirrored> {
        self.mirrored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a tenant must look at an object of the host's own. Each volume concerns one tenant at most: the one whose
/// claim has it, and who was shown it until now.
fn concerns(tenant: &Tenant, key: &Key, object: Option<&Value>) -> bool {
    if !tenant.follows(key.kind) {
        return false;
    }
    if key.kind != Kind::PersistentVolume {
        return true;
    }
    let claim = object.and_then(persistent_volume::claim_ref);
    claim.is_some_and(|(namespace, _, _)| namespace == tenant.id.namespace)
        || !tenant.state().entry(key).is_gone()
}

/// Whether a kind is followed on the host for all tenants at once.
fn is_shared(kind: Kind) -> bool {
    match kind.description().outside {
        Outside::Translated | Outside::Everything { .. } => true,
        Outside::Scanned | Outside::Shown | Outside::Nothing => false,
    }
}
