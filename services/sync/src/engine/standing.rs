//! What is known of virtual clusters that are not worked for: whether there are any, and what they wait for.

use crate::hash::HashMap;
use crate::metrics::State;
use crate::tenant::Id;

/// Virtual clusters of which a supervisor has said something.
#[derive(Debug, Default)]
pub struct Standing {
    complete: bool,
    said: HashMap<Id, (State, String)>,
}

impl Standing {
    /// Says whether every virtual cluster is known: not while another replica works for them.
    pub fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
        if !complete {
            self.said.clear();
        }
    }

    /// Whether every virtual cluster is known.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Says what a virtual cluster waits for.
    pub fn say(&mut self, id: &Id, state: State, message: impl Into<String>) {
        self.said.insert(id.clone(), (state, message.into()));
    }

    /// Takes note that it is gone.
    pub fn forget(&mut self, id: &Id) {
        self.said.remove(id);
    }

    /// What was said of a virtual cluster.
    pub fn of(&self, namespace: &str, name: &str) -> Option<(Id, State, String)> {
        let mut all = self.said.iter();
        let found = all.find(|(id, _)| id.namespace == namespace && id.name == name);
        found.map(|(id, (state, message))| (id.clone(), *state, message.clone()))
    }

    /// Those of which it was said that they are frozen.
    pub fn frozen(&self) -> impl Iterator<Item = &Id> {
        let frozen = |(_, (state, _)): &(&Id, &(State, String))| *state == State::Frozen;
        self.said.iter().filter(frozen).map(|(id, _)| id)
    }

    /// All of which something was said.
    pub fn ids(&self) -> Vec<Id> {
        self.said.keys().cloned().collect()
    }
}
