//! What watches say goes into a tenant's state, and the keys that it concerns into the queue.
//!
//! Nothing is decided and nothing is read or written here, so that a watch never waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use vcluster_translate::{Owner, owner, policy};

use super::Tenant;
use crate::guard::{self, Guard};
use crate::object::{Key, Kind, Name, Object, Side};
use crate::queue::Lane;
use crate::state::ListId;
use crate::watch::Change;

/// Takes what the watch of one kind of a virtual cluster says.
#[derive(Debug)]
pub struct VirtualSink {
    tenant: Arc<Tenant>,
    kind: Kind,
    list: Option<ListId>,
}

impl VirtualSink {
    /// Makes it for one kind.
    pub fn new(tenant: Arc<Tenant>, kind: Kind) -> Self {
        Self {
            tenant,
            kind,
            list: None,
        }
    }

    /// Takes one change.
    pub fn take(&mut self, change: Change) {
        let (tenant, kind) = (&*self.tenant, self.kind);
        match change {
            Change::Begin => self.list = Some(tenant.state().begin_list(Side::Virtual, kind)),
            Change::Listed(object) => {
                tenant.see_virtual(kind, &object.of_kind(kind), Lane::List);
            }
            Change::End => {
                if let Some(list) = self.list.take() {
                    tenant.end_list(Side::Virtual, kind, list);
                }
            }
            Change::Applied(object) => {
                tenant.see_virtual(kind, &object.of_kind(kind), Lane::Live);
            }
            Change::Deleted(object) => tenant.miss_virtual(kind, &object),
            Change::Unserved => tenant.unserved(Side::Virtual, kind),
            Change::Failed(error) => {
                tracing::debug!(tenant = %tenant.id, %kind, %error, "virtual watch failed");
                tenant.link.suspect();
            }
        }
    }
}

impl Tenant {
    /// Takes note of a virtual object.
    pub fn see_virtual(&self, kind: Kind, object: &Object, lane: Lane) {
        let key = Key {
            kind,
            name: object.name(),
        };
        if kind == Kind::Namespace {
            self.see_store(&key.name, object);
            self.see_namespace(&key.name, object);
        }
        if kind == Kind::Service {
            self.links.see(&key.name, object.json());
        }
        let mut state = self.state();
        let news = match lane {
            Lane::List => state.observe_listed(Side::Virtual, &key, object),
            Lane::Live | Lane::Scan => state.observe(Side::Virtual, &key, object),
        };
        if !news {
            return;
        }
        let mut touched = Vec::new();
        // What a pod refers to stands in its spec, and most of its events are of its status.
        let is_known = kind == Kind::Pod && state.is_referred(&key, object);
        let references = kind.description().references;
        if let Some(references) = references.filter(|_| !is_known) {
            let uses = references(object.json(), &self.context);
            let uses = uses.iter().map(Key::of).collect();
            touched = state.set_references(&key, uses, object.generation());
        }
        if let Some(made) = kind.description().made_by_host {
            let made = made(object.json(), &self.context);
            let changed = state
                .made_by_host
                .set(&key, made.iter().map(Key::of).collect());
            touched.extend(changed);
        }
        if super::needs_looks(&state, &key) {
            state.bodies.put(Side::Virtual, &key, object.shared());
            touched.push(key);
        }
        drop(state);
        for key in touched {
            self.add(key, lane);
        }
        self.look_at_nodes();
    }

    /// Has the nodes looked at that have come into use or gone out of it, where that decides whether they are shown.
    pub fn look_at_nodes(&self) {
        let changed = self.state().nodes.take_changed();
        if policy::narrows_nodes(&self.context) {
            for node in changed {
                self.add(Key::new(Kind::Node, "", &node), Lane::Live);
            }
        }
    }

    /// Takes note that a virtual object is gone.
    pub fn miss_virtual(&self, kind: Kind, object: &Object) {
        let key = Key {
            kind,
            name: object.name(),
        };
        let mut state = self.state();
        let used = super::needs_looks(&state, &key);
        let news = state.vanish(Side::Virtual, &key, object.uid());
        drop(state);
        if news {
            self.release_if_gone(&key);
        }
        if news && used {
            self.add(key, Lane::Live);
            self.look_at_nodes();
        }
    }

    /// Takes note of a host object; false if it is not a translation of this tenant's.
    pub fn see_host(&self, kind: Kind, object: &Object, lane: Lane) -> bool {
        let Some(owner) = owner::of_ours(object.json(), &self.context) else {
            return false;
        };
        if owner.kind != kind.as_str() || !self.follows(kind) {
            // The Secret of a pod's tokens is part of the pod.
            return false;
        }
        let key = key_of(kind, &owner);
        self.note_kept(&key, object);
        let mut state = self.state();
        let news = match lane {
            Lane::List => state.observe_listed(Side::Host, &key, object),
            Lane::Live | Lane::Scan => state.observe(Side::Host, &key, object),
        };
        if news {
            state.bodies.put(Side::Host, &key, object.shared());
            // With the object, what is made for it may have changed, and nobody watches that.
            let made: Vec<_> = state.made_by_host.used_by(&key).cloned().collect();
            drop(state);
            self.wake_moved();
            for made in made {
                self.add(made, lane);
            }
            self.add(key, lane);
            self.look_at_nodes();
        }
        true
    }

    /// Has a host object read that a list by labels does not hold; false if it is not ours, or known.
    pub fn take_hidden(&self, kind: Kind, object: &Object) -> bool {
        let Some(owner) = owner::of_ours(object.json(), &self.context) else {
            return false;
        };
        if owner.kind != kind.as_str() {
            return false;
        }
        let key = key_of(kind, &owner);
        let mut state = self.state();
        if state.entry(&key).host.seen.is_some() {
            return false;
        }
        state.doubt(Side::Host, &key);
        drop(state);
        self.add(key, Lane::Scan);
        true
    }

    /// Takes note that a list holds a host object in the version that is known. One that is known no more has changed or
    /// gone since it was listed, and whoever told that was later.
    pub fn see_again(&self, kind: Kind, object: &Object) {
        let mut state = self.state();
        let Some(key) = state.by_host_name(kind, &object.name().name) else {
            return;
        };
        state.observe_again(Side::Host, &key, object);
        drop(state);
        self.note_kept(&key, object);
    }

    /// Takes note of an object of the host namespace that is shown inside.
    pub fn see_shown(&self, kind: Kind, object: &Object, lane: Lane) {
        let Some(key) = self.shown_key(kind, object) else {
            return;
        };
        let mut state = self.state();
        let news = match lane {
            Lane::List => state.observe_listed(Side::Host, &key, object),
            Lane::Live | Lane::Scan => state.observe(Side::Host, &key, object),
        };
        if news {
            state.bodies.put(Side::Host, &key, object.shared());
            drop(state);
            self.add(key, lane);
        }
    }

    /// Takes note that an object of the host namespace is gone.
    pub fn miss_shown(&self, kind: Kind, object: &Object) {
        if let Some(key) = self.shown_key(kind, object)
            && self.state().vanish(Side::Host, &key, object.uid())
        {
            self.add(key, Lane::Live);
        }
    }

    /// The virtual object that shows one of the host namespace.
    fn shown_key(&self, kind: Kind, object: &Object) -> Option<Key> {
        let synced = self.context.custom.get(kind.custom()?)?;
        let namespace = synced.rule.namespace.as_deref()?;
        Some(Key::new(kind, namespace, &object.name().name))
    }

    /// Takes note that the host's watch shows an object no more: it is gone, or somebody took the labels off by
    /// which it is watched.
    pub fn miss_host(&self, kind: Kind, object: &Object) {
        let Some(owner) = owner::of_ours(object.json(), &self.context) else {
            return;
        };
        let key = key_of(kind, &owner);
        let news = if guard::passes(Guard::HiddenIsRead, object.has_ended()) {
            self.state().vanish(Side::Host, &key, object.uid())
        } else {
            self.state().lose_sight(Side::Host, &key, object)
        };
        if news {
            self.wake_moved();
            self.release_if_gone(&key);
            // What it took of a quota is free again.
            self.wake_parked();
            self.add(key, Lane::Live);
            self.look_at_nodes();
        }
    }

    /// The key of a host object of this tenant's.
    pub fn host_key(&self, kind: Kind, object: &Object) -> Option<Key> {
        if kind.is_shown() {
            return self.shown_key(kind, object);
        }
        let owner = owner::of_ours(object.json(), &self.context)?;
        (owner.kind == kind.as_str()).then(|| key_of(kind, &owner))
    }

    /// Ends a list: what was known and is missing from it is looked at, and work may begin.
    /// Returns how many there were.
    pub fn end_list(&self, side: Side, kind: Kind, list: ListId) -> usize {
        let mut state = self.state();
        let was_served = state.is_served(side, kind);
        let missing = state.end_list(side, kind, list);
        let count = missing.len();
        // What could not be decided without the kind can be now.
        let held = if was_served {
            Vec::new()
        } else {
            state.keys(kind)
        };
        drop(state);
        for key in held {
            self.add(key, Lane::List);
        }
        for key in missing {
            self.add(key, Lane::List);
        }
        self.begin_if_listed();
        count
    }

    /// Takes note that a server does not serve a kind. It counts as listed, so that it does not keep the others
    /// waiting, and nothing is concluded from what it does not show.
    pub fn unserved(&self, side: Side, kind: Kind) {
        if self.state().set_unserved(side, kind) {
            tracing::info!(tenant = %self.id, %kind, ?side, "the server does not serve this kind");
        }
        if side == Side::Virtual {
            self.metrics.unserved(side, kind);
        }
        self.begin_if_listed();
    }

    /// Once an object is on neither side, it uses nothing any more.
    pub fn release_if_gone(&self, key: &Key) {
        let gone_inside = self.state().entry(key).virtual_.seen.is_none();
        if key.kind == Kind::Service && gone_inside {
            self.links.forget(&key.name);
        }
        if key.kind == Kind::Namespace && gone_inside {
            self.labels().remove(&key.name.name);
            self.links.forget_namespace(&key.name.name);
        }
        if key.kind.description().references.is_none() {
            return;
        }
        let mut state = self.state();
        if !state.entry(key).is_gone() {
            return;
        }
        let mut touched = state.set_references(key, BTreeSet::new(), None);
        touched.extend(state.made_by_host.set(key, BTreeSet::new()));
        drop(state);
        for key in touched {
            self.add(key, Lane::Live);
        }
    }

    /// Has the EndpointSlices looked at that name an address which a pod got or lost.
    pub fn wake_moved(&self) {
        let moved = self.state().addresses.take_moved();
        for slice in moved {
            self.add(slice, Lane::Live);
        }
    }

    /// Labels of a namespace stand on the host pods of its pods.
    fn see_namespace(&self, name: &Name, object: &Object) {
        let labels = object
            .json()
            .pointer("/metadata/labels")
            .and_then(Value::as_object);
        let labels: Map<String, Value> = labels.cloned().unwrap_or_default();
        let before = self.labels().insert(Arc::clone(&name.name), labels.clone());
        if before.unwrap_or_default() == labels || !self.is_ready() {
            return;
        }
        let pods = self.state().keys(Kind::Pod);
        for pod in pods
            .into_iter()
            .filter(|pod| pod.name.namespace == name.name)
        {
            self.add(pod, Lane::Live);
        }
    }
}

fn key_of(kind: Kind, owner: &Owner) -> Key {
    Key::new(kind, &owner.namespace, &owner.name)
}
