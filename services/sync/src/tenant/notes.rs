//! What keeps a virtual cluster, or something in it, from being as it should.
//!
//! Noted by whoever meets it, and taken back by the same once it is over; the status tells it. One sentence about each
//! matter: the last one counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Tenant;
use crate::object::Kind;

/// What something is noted about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// What belongs inside and is not there yet.
    Provision,
    /// Mappings that wait, and for what.
    Mappings,
    /// What of the host namespace is not ours, and keeps the tenant's pods from being made.
    Conflict,
    /// What we lack on the host to act for the tenant.
    Right,
    /// A custom kind.
    Custom(Kind, Subject),
}

/// What of a custom kind something is noted about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Its definition inside is missing or unfit.
    Definition,
    /// Its objects on the host cannot be listed.
    Host,
    /// What its objects need inside is missing.
    Inside,
    /// A remark: nothing is wrong.
    Remark,
}

/// What is noted of one tenant.
#[derive(Debug)]
pub(super) struct Notes(Mutex<BTreeMap<About, String>>);

impl Notes {
    /// What is known of a tenant that nobody has looked at.
    pub(super) fn new() -> Self {
        let provision = (About::Provision, "what sync keeps there".to_owned());
        Self(Mutex::new(BTreeMap::from([provision])))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<About, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if it is noted so already.
    fn set(&self, about: About, text: Option<&str>) -> bool {
        let mut notes = self.lock();
        if notes.get(&about).map(String::as_str) == text {
            return false;
        }
        match text {
            Some(text) => notes.insert(about, text.to_owned()),
            None => notes.remove(&about),
        };
        true
    }
}

impl Tenant {
    /// What is noted.
    pub fn noted(&self, about: About) -> Option<String> {
        self.notes.lock().get(&about).cloned()
    }

    /// What is noted of custom kinds.
    pub fn noted_of_custom(&self) -> Vec<(Kind, Subject, String)> {
        let notes = self.notes.lock();
        let custom = notes.iter().filter_map(|(about, text)| match about {
            About::Custom(kind, subject) => Some((*kind, *subject, text.clone())),
            About::Provision | About::Mappings | About::Conflict | About::Right => None,
        });
        custom.collect()
    }

    /// Notes something, or that it is over.
    pub fn note(&self, about: About, text: Option<&str>) {
        if !self.notes.set(about, text) {
            return;
        }
        match (about, text) {
            (About::Right, Some(text)) => {
                tracing::warn!(tenant = %self.id, text, "nothing can be done on the host");
            }
            (About::Right, None) => {
                tracing::info!(tenant = %self.id, "the host lets us act again");
            }
            (About::Custom(kind, _), Some(text)) => {
                tracing::info!(tenant = %self.id, %kind, text, "said of a custom kind");
            }
            (About::Custom(..), None)
            | (About::Provision | About::Mappings | About::Conflict, _) => {}
        }
        self.notify();
    }
}
