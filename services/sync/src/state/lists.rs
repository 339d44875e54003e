//! Lists of whole kinds: which are under way, which are complete, and what was missing from one.

use super::State;
use crate::guard::{self, Guard};
use crate::hash::HashSet;
use crate::object::{Key, Kind, Side};
use crate::state::Slot;

/// A list that is under way; to be given to [`State::end_list`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListId(u64);

#[derive(Debug, Default)]
pub(super) struct List {
    complete: bool,
    unserved: bool,
    running: Option<Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    id: ListId,
    pub(super) listed: HashSet<Key>,
}

impl State {
    /// Begins a list of everything of that kind on that side; the kind is not listed until it ends.
    pub fn begin_list(&mut self, side: Side, kind: Kind) -> ListId {
        let list = self.lists.entry((side, kind)).or_default();
        // A server that does not serve the kind is asked again and again; that is no news.
        list.complete = list.unserved;
        self.begin(side, kind)
    }

    /// Begins a list to compare with what is known, which stays good meanwhile. Nothing if that is not
    /// complete, or is being listed: the check can wait. An earlier check that did not end is forgotten.
    pub fn begin_check(&mut self, side: Side, kind: Kind) -> Option<ListId> {
        let list = self.lists.get(&(side, kind))?;
        // While a kind is complete what runs is a check, unless the kind is asked for again that was not served.
        let free = list.running.is_none() || !list.unserved;
        (list.complete && free).then(|| self.begin(side, kind))
    }

    /// Forgets a list that will not be complete. Nothing happens if another one has begun since.
    pub fn abandon_list(&mut self, side: Side, kind: Kind, id: ListId) {
        if let Some(list) = self.lists.get_mut(&(side, kind)) {
            list.running.take_if(|running| running.id == id);
        }
    }

    fn begin(&mut self, side: Side, kind: Kind) -> ListId {
        self.next_list += 1;
        let id = ListId(self.next_list);
        let list = self.lists.entry((side, kind)).or_default();
        list.running = Some(Running {
            id,
            listed: HashSet::default(),
        });
        id
    }

    /// Ends it; returns the keys that were known and are missing from it. Nothing happens if another
    /// list has begun since.
    pub fn end_list(&mut self, side: Side, kind: Kind, id: ListId) -> Vec<Key> {
        let Some(list) = self.lists.get_mut(&(side, kind)) else {
            return Vec::new();
        };
        let Some(running) = list.running.take_if(|running| running.id == id) else {
            return Vec::new();
        };
        list.complete = true;
        list.unserved = false;
        let mut missing = Vec::new();
        for (key, entry) in &mut self.entries {
            let slot = entry.slot_mut(side);
            if key.kind == kind && slot.seen.is_some() && !running.listed.contains(key) {
                slot.doubted = true;
                if !guard::stands(Guard::MissingIsRead) {
                    *slot = Slot::default();
                }
                slot.missing = true;
                missing.push(key.clone());
            }
        }
        missing
    }

    /// Takes note that the server of that side does not serve that kind: it counts as listed, so that it stops
    /// nothing else, and nothing is concluded from it. Tells whether that was news.
    pub fn set_unserved(&mut self, side: Side, kind: Kind) -> bool {
        let list = self.lists.entry((side, kind)).or_default();
        list.complete = true;
        list.running = None;
        !std::mem::replace(&mut list.unserved, true)
    }

    /// Whether the server of that side serves that kind, as far as is known.
    pub fn is_served(&self, side: Side, kind: Kind) -> bool {
        let list = self.lists.get(&(side, kind));
        list.is_none_or(|list| !list.unserved)
    }

    /// Whether everything of that kind on that side is known, or it is not served.
    pub fn is_listed(&self, side: Side, kind: Kind) -> bool {
        self.lists
            .get(&(side, kind))
            .is_some_and(|list| list.complete)
    }

    pub(super) fn running(&mut self, side: Side, kind: Kind) -> Option<&mut Running> {
        self.lists.get_mut(&(side, kind))?.running.as_mut()
    }
}
