//! What is known of one tenant's objects: a projection of each side, not copies. No I/O.
//!
//! Promises:
//! - an older version never replaces a newer one, in whatever order events, lists and answers to our own
//!   writes arrive;
//! - an object counts as gone after its own delete event, or when it was read and not found. One that is
//!   merely missing from a list is *doubted*: it may have been made after the list was taken, so it is
//!   read before anything is concluded. So is one that a watch by labels does not select any more;
//! - a kind counts as listed on a side only after a complete list.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;
use vcluster_resources::label;
use vcluster_translate::{at, pod};

use crate::bodies::{Bodies, Room};
use crate::guard::{self, Guard};
use crate::hash::HashMap;
use crate::nodes_in_use::NodesInUse;
use crate::object::{Key, Kind, Name, Object, Side};
use crate::references::References;

mod addresses;
mod entry;
mod gone;
mod lists;
mod outcome;
#[cfg(test)]
mod tests;

pub use addresses::Addresses;
pub use entry::{Absence, Entry, Problem, Seen, Slot};
use gone::Gone;
use lists::List;
pub use lists::ListId;

/// The objects of one tenant.
#[derive(Debug)]
pub struct State {
    entries: HashMap<Key, Entry>,
    lists: HashMap<(Side, Kind), List>,
    by_host_name: HashMap<(Kind, Arc<str>), Name>,
    next_list: u64,
    gone: Gone,
    newest: u64,
    newest_translated: u64,
    /// Who uses what.
    pub references: References,
    /// Who uses what a controller of the host makes for it.
    pub made_by_host: References,
    /// What a controller of the host makes: nothing if it has made it and it has come up, else since when it is missed.
    made: HashMap<Key, Option<Instant>>,
    /// Which nodes its pods are on.
    pub nodes: NodesInUse,
    /// The newest objects in full, as far as they fit.
    pub bodies: Bodies,
    /// Addresses of own pods.
    pub addresses: Addresses,
}

impl State {
    /// Makes it empty, with so many bytes for objects in full, and their room while they are fresh.
    pub fn new(body_budget: usize, room: Room) -> Self {
        Self {
            entries: HashMap::default(),
            lists: HashMap::default(),
            by_host_name: HashMap::default(),
            next_list: 0,
            gone: Gone::default(),
            newest: 0,
            newest_translated: 0,
            references: References::default(),
            made_by_host: References::default(),
            made: HashMap::default(),
            nodes: NodesInUse::default(),
            bodies: Bodies::new(body_budget, room),
            addresses: Addresses::default(),
        }
    }

    /// The newest version that was seen inside, of kinds that nobody but the virtual API server itself can serve.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The newest version that was seen inside of something that has its like on the host.
    pub fn newest_translated(&self) -> u64 {
        self.newest_translated
    }

    /// What is known of an object.
    pub fn entry(&self, key: &Key) -> Entry {
        self.entries.get(key).cloned().unwrap_or_default()
    }

    /// Every key of a kind that is there on some side.
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        self.entries
            .keys()
            .filter(|key| key.kind == kind)
            .cloned()
            .collect()
    }

    /// Whether any object of a kind that is there on some side is such.
    pub fn any(&self, kind: Kind, is_such: impl Fn(&Name) -> bool) -> bool {
        let mut of_kind = self.entries.keys().filter(|key| key.kind == kind);
        of_kind.any(|key| is_such(&key.name))
    }

    /// Whether it is there on one side and not on the other.
    pub fn is_on_one_side(&self, key: &Key) -> bool {
        let sides = |entry: &Entry| entry.virtual_.seen.is_some() != entry.host.seen.is_some();
        self.entries.get(key).is_some_and(sides)
    }

    /// Every key that is there on some side.
    pub fn all_keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.keys()
    }

    /// How many objects of a kind are known.
    pub fn count(&self, kind: Kind) -> usize {
        self.entries.keys().filter(|key| key.kind == kind).count()
    }

    /// How many objects are there on the host.
    pub fn host_count(&self, kind: Kind) -> usize {
        let on_host = |(key, entry): &(&Key, &Entry)| key.kind == kind && entry.host.seen.is_some();
        self.entries.iter().filter(on_host).count()
    }

    /// The virtual object of a translated host object.
    pub fn by_host_name(&self, kind: Kind, host_name: &str) -> Option<Key> {
        let name = self
            .by_host_name
            .get(&(kind, Arc::from(host_name)))?
            .clone();
        Some(Key { kind, name })
    }

    /// Takes note of an object; tells whether that was news.
    pub fn observe(&mut self, side: Side, key: &Key, object: &Object) -> bool {
        if self.is_stale(side, key, object) {
            return false;
        }
        if key.kind == Kind::Pod {
            let node = at(object.json(), "/spec/nodeName");
            let node = node.and_then(Value::as_str).filter(|node| !node.is_empty());
            self.nodes.set(side, &key.name, node);
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if side == Side::Host && key.kind.is_translated() && entry.host_name.is_none() {
            let host_name = object.name().name;
            entry.host_name = Some(Arc::clone(&host_name));
            let place = (key.kind, host_name);
            self.by_host_name.insert(place, key.name.clone());
        }
        if side == Side::Virtual {
            let version = object.version().unwrap_or_default();
            if key.kind.description().api.group.is_empty() {
                self.newest = self.newest.max(version);
            }
            if key.kind.is_translated() {
                self.newest_translated = self.newest_translated.max(version);
            }
            entry.traceparent = object.annotation(label::TRACEPARENT).map(Into::into);
        }
        let before = entry.slot(side).seen.as_ref();
        if side == Side::Virtual && before.is_none_or(|before| *before.uid != *object.uid()) {
            entry.referred = None;
        }
        let slot = entry.slot_mut(side);
        slot.seen = Some(Seen {
            uid: object.uid().into(),
            version: object.version(),
            deleting: object.is_deleting(),
        });
        slot.doubted = false;
        slot.missing = false;
        slot.absence = None;
        self.addresses.see(side, key, object.json());
        true
    }

    /// The key of a translated host object, if this is the very version of it that is known.
    pub fn listed_again(&self, kind: Kind, object: &Object) -> Option<Key> {
        let key = self.by_host_name(kind, &object.name().name)?;
        let is_current = object.version().is_some() && self.is_current(Side::Host, &key, object);
        is_current.then_some(key)
    }

    /// Takes note that a list holds an object in a version that is known, or was a moment ago.
    pub fn observe_again(&mut self, side: Side, key: &Key, object: &Object) {
        if let Some(running) = self.running(side, key.kind) {
            running.listed.insert(key.clone());
        }
        if self.is_current(side, key, object) {
            self.undoubt(side, key);
        }
    }

    /// Takes note of an object that a list holds.
    pub fn observe_listed(&mut self, side: Side, key: &Key, object: &Object) -> bool {
        if let Some(running) = self.running(side, key.kind) {
            running.listed.insert(key.clone());
        }
        self.undoubt(side, key);
        self.observe(side, key, object)
    }

    /// Takes note that the object of this UID is gone; tells whether that was news.
    pub fn vanish(&mut self, side: Side, key: &Key, uid: &str) -> bool {
        self.gone.add(uid);
        let known = |slot: &Slot| slot.seen.as_ref().is_some_and(|seen| *seen.uid == *uid);
        match self.entries.get(key) {
            Some(entry) if known(entry.slot(side)) => {
                self.clear(side, key);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes note that a watch by labels does not show the object any more, which may mean that it only lost its
    /// labels: it is to be read. Tells whether it is what is known under its name.
    pub fn lose_sight(&mut self, side: Side, key: &Key, object: &Object) -> bool {
        self.observe(side, key, object);
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        let slot = entry.slot_mut(side);
        let known = slot.seen.as_ref();
        let is_known = known.is_some_and(|seen| *seen.uid == *object.uid());
        slot.doubted |= is_known;
        is_known
    }

    /// Takes note that a virtual pod was bound to a node, whose answer holds no pod. False if more may have changed than
    /// is known here: it is to be read.
    pub fn bind(&mut self, key: &Key, node: &str) -> bool {
        let slot = self.entries.get(key).map(|entry| &entry.virtual_);
        if !slot.is_some_and(|slot| slot.seen.is_some() && !slot.doubted) {
            return false;
        }
        let Some(found) = self.bodies.get(Side::Virtual, key) else {
            return false;
        };
        // Its event was faster than the answer.
        if found["spec"]["nodeName"] == node {
            return true;
        }
        // Where others have conditions, the next status is written with the pod's version.
        let is_empty = |pointer: &str| {
            let list = found.pointer(pointer).and_then(Value::as_array);
            list.is_none_or(Vec::is_empty)
        };
        if !is_empty("/status/conditions") || !is_empty("/spec/readinessGates") {
            return false;
        }
        let mut pod = Value::clone(&found);
        pod["spec"]["nodeName"] = node.into();
        pod["status"]["conditions"] = json!([{"type": pod::BOUND, "status": "True"}]);
        self.bodies.put(Side::Virtual, key, Arc::new(pod));
        self.nodes.set(Side::Virtual, &key.name, Some(node));
        true
    }

    /// UID of the object that is there, as far as is known.
    pub fn uid(&self, side: Side, key: &Key) -> Option<Box<str>> {
        let seen = self.entries.get(key)?.slot(side).seen.as_ref();
        seen.map(|seen| seen.uid.clone())
    }

    /// Takes note that the object was read and is not there. `asked` is the UID that was known when it was asked for:
    /// of one that was told of since, the answer says nothing. Tells whether the answer counts.
    pub fn missed(&mut self, side: Side, key: &Key, asked: Option<&str>) -> bool {
        let is_same = self.uid(side, key).as_deref() == asked;
        let counts = guard::passes(Guard::ToldSince, is_same);
        if counts {
            if let Some(asked) = asked {
                self.gone.add(asked);
            }
            self.clear(side, key);
        }
        counts
    }

    /// Takes note that what has its name is not what was known under it.
    pub fn displaced(&mut self, side: Side, key: &Key, by: &Object) {
        if let Some(known) = self.uid(side, key)
            && *known != *by.uid()
        {
            self.gone.add(&known);
        }
        self.clear(side, key);
    }

    fn clear(&mut self, side: Side, key: &Key) {
        self.bodies.drop(side, key);
        self.addresses.forget(side, key);
        if key.kind == Kind::Pod {
            self.nodes.set(side, &key.name, None);
        }
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let slot = entry.slot_mut(side);
        let seen = slot.seen.take();
        let absence = match &seen {
            Some(seen) if seen.deleting => Absence::Deleted,
            Some(_) => Absence::Unexplained,
            None => slot.absence.unwrap_or(Absence::Unexplained),
        };
        *slot = Slot {
            absence: Some(absence),
            ..Slot::default()
        };
        if side == Side::Host
            && let Some(host_name) = entry.host_name.take()
        {
            self.by_host_name.remove(&(key.kind, host_name));
        }
        if entry.is_gone() {
            self.entries.remove(key);
        }
    }

    /// Whether this is the very version that is known.
    pub fn is_current(&self, side: Side, key: &Key, object: &Object) -> bool {
        let seen = self
            .entries
            .get(key)
            .and_then(|entry| entry.slot(side).seen.as_ref());
        seen.is_some_and(|seen| *seen.uid == *object.uid() && seen.version == object.version())
    }

    /// Whether what a virtual object refers to is known, of this very spec.
    pub fn is_referred(&self, key: &Key, object: &Object) -> bool {
        let generation = object.generation();
        let entry = self.entries.get(key);
        generation.is_some() && entry.is_some_and(|entry| entry.referred == generation)
    }

    /// Whether the object of that UID was seen, and then its end, lately.
    pub fn has_ended(&self, uid: &str) -> bool {
        self.gone.uids.contains(uid)
    }

    /// Has the object read before anything is concluded from it, also if nothing is known of it: a watch by labels does
    /// not show somebody else's.
    pub fn doubt(&mut self, side: Side, key: &Key) {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.slot_mut(side).doubted = true;
    }

    /// It was read; tells whether it had been missing from a list.
    pub fn undoubt(&mut self, side: Side, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        let slot = entry.slot_mut(side);
        slot.doubted = false;
        std::mem::take(&mut slot.missing)
    }

    /// Says what an object uses; returns the objects whose users have changed.
    pub fn set_references(
        &mut self,
        user: &Key,
        uses: BTreeSet<Key>,
        generation: Option<i64>,
    ) -> Vec<Key> {
        if let Some(entry) = self.entries.get_mut(user) {
            entry.referred = generation;
        }
        self.references.set(user, uses)
    }

    /// Says whether what a controller of the host makes is there on both sides; tells whether that is news.
    pub fn set_made_there(&mut self, key: &Key, is_there: bool) -> bool {
        let was_there = self.is_made_there(key);
        if is_there {
            self.made.insert(key.clone(), None);
        } else if was_there || !self.made_by_host.is_used(key) {
            self.made.remove(key);
        }
        was_there != is_there
    }

    /// Whether what a controller of the host makes is there on both sides.
    pub fn is_made_there(&self, key: &Key) -> bool {
        self.made.get(key) == Some(&None)
    }

    /// Since when what a controller of the host makes is missed.
    pub fn made_missing(&mut self, key: &Key) -> Instant {
        let since = self.made.entry(key.clone()).or_default();
        *since.get_or_insert_with(Instant::now)
    }

    fn is_stale(&self, side: Side, key: &Key, object: &Object) -> bool {
        if self.gone.uids.contains(object.uid()) && guard::stands(Guard::GoneIsGone) {
            return true;
        }
        let Some(seen) = self
            .entries
            .get(key)
            .and_then(|entry| entry.slot(side).seen.as_ref())
        else {
            return false;
        };
        match (seen.version, object.version()) {
            (Some(known), Some(new)) => !guard::passes(Guard::NewestCounts, new > known),
            // Versions that cannot be compared: what comes last counts.
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}
