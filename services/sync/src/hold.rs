//! Why keys are not settled: what is told of them when somebody asks.
//!
//! Kept only for keys about which something is left to do or that are refused, and for so many of a tenant at most;
//! a key that is settled costs nothing. What is waited for and what was refused is said in the words that the
//! tenant's Event has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use vcluster_translate::Refusal;
use vcluster_translate::plan::Waiting;
use vcluster_translate::refusal::Reason;

use crate::apply::Failure;
use crate::object::Key;

/// Keys of a tenant of which it is kept; of more than that the queue knows only that they are tried again.
const KEPT: usize = 4096;
/// Bytes of a sentence that are kept.
const MESSAGE: usize = 1024;
/// Bytes of a field's path that are kept.
const FIELD: usize = 256;

/// Why work on a key ended with something left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Somebody else must do something first.
    Waits {
        /// In one word.
        reason: &'static str,
        /// In a sentence.
        message: String,
    },
    /// It will not be done as the object stands.
    Refused {
        /// By whom.
        by: By,
        /// In one word.
        reason: &'static str,
        /// The field of the virtual object, as a path; empty if none is named.
        field: String,
        /// In a sentence.
        message: String,
    },
    /// The last try failed; it is repeated.
    Failed {
        /// In a sentence.
        message: String,
    },
}

/// Who refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The host cluster: a quota, a policy, pod security, a name that is taken, what it lacks.
    Host,
    /// What the VirtualCluster says in `spec.sync`.
    Policy,
    /// The translation: it cannot be kept true, or would reach the host's nodes.
    Translation,
    /// An API server, the host's or the virtual one; the words say what.
    ApiServer,
}

/// A hold, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub hold: Hold,
    /// Since when for this reason.
    pub since: Instant,
}

/// Why keys of one tenant are not settled.
#[derive(Debug, Default)]
pub struct Holds {
    held: Mutex<HashMap<Key, Held>>,
}

impl Hold {
    /// It waits as a plan says.
    pub fn waiting(waiting: &Waiting) -> Self {
        Self::waits(waiting.as_str(), waiting.to_string())
    }

    /// It waits.
    pub fn waits(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Waits {
            reason,
            message: cut(&message.into(), MESSAGE),
        }
    }

    /// It is refused as the tenant is told.
    pub fn refusal(refusal: &Refusal) -> Self {
        let (by, field) = match refusal.reason {
            Reason::HostAccess | Reason::NotSupported | Reason::Invalid => {
                (By::Translation, refusal.field.as_str())
            }
            Reason::NotSynced => (By::Policy, refusal.field.as_str()),
            Reason::NameTaken | Reason::AddressDiffers | Reason::NotOnHost => {
                (By::Host, refusal.field.as_str())
            }
            // No field of the object's is meant.
            Reason::HostRefused | Reason::HostGone => (By::Host, ""),
        };
        Self::Refused {
            by,
            reason: refusal.reason.as_str(),
            field: cut(field, FIELD),
            message: cut(&refusal.message, MESSAGE),
        }
    }

    /// What a request that failed means.
    pub fn failure(failure: &Failure) -> Self {
        let message = cut(&failure.to_string(), MESSAGE);
        let (by, field) = (By::ApiServer, String::new());
        match failure {
            Failure::Refused { .. } => Self::Refused {
                by,
                reason: "Refused",
                field,
                message,
            },
            Failure::Ours(refusal) => Self::refusal(refusal),
            Failure::NotKept { .. } => Self::Refused {
                by,
                reason: "NotKept",
                field,
                message,
            },
            Failure::Gone | Failure::Exists | Failure::Changed | Failure::Later { .. } => {
                Self::Failed { message }
            }
        }
    }

    /// The word by which two holds are the same although their sentences differ.
    fn reason(&self) -> &'static str {
        match self {
            Self::Waits { reason, .. } | Self::Refused { reason, .. } => reason,
            Self::Failed { .. } => "Failed",
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

impl Holds {
    /// Takes note of what holds a key, or that nothing does.
    pub fn set(&self, key: &Key, hold: Option<Hold>) {
        let mut held = self.locked();
        let Some(hold) = hold else {
            held.remove(key);
            return;
        };
        let is_full = held.len() >= KEPT;
        let since = Instant::now();
        match held.entry(key.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if known.hold.reason() != hold.reason() {
                    known.since = since;
                }
                known.hold = hold;
            }
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(place) => {
                place.insert(Held { hold, since });
            }
        }
    }

    /// What holds a key.
    pub fn of(&self, key: &Key) -> Option<Held> {
        self.locked().get(key).cloned()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::object::Kind;

    fn failed(message: &str) -> Hold {
        Hold::Failed {
            message: message.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_reason_holds_since_it_began_and_another_since_now() {
        let holds = Holds::default();
        let key = Key::new(Kind::Pod, "shop", "web");
        let begun = Instant::now();
        holds.set(&key, Some(failed("first")));
        tokio::time::advance(Duration::from_secs(5)).await;
        holds.set(&key, Some(failed("second")));
        let held = holds.of(&key).unwrap();
        assert_eq!((held.hold, held.since), (failed("second"), begun));
        holds.set(&key, Some(Hold::waiting(&Waiting::Volume)));
        assert_eq!(holds.of(&key).unwrap().since, Instant::now());
        holds.set(&key, None);
        assert_eq!(holds.of(&key), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_with_any_number_of_refused_objects_costs_so_much_at_most() {
        let holds = Holds::default();
        for number in 0..KEPT + 10 {
            let key = Key::new(Kind::Pod, "shop", &number.to_string());
            holds.set(&key, Some(Hold::waits("Long", "x".repeat(MESSAGE * 2))));
        }
        assert_eq!(holds.locked().len(), KEPT);
        let first = holds.of(&Key::new(Kind::Pod, "shop", "0")).unwrap().hold;
        assert_eq!(first, Hold::waits("Long", "x".repeat(MESSAGE)));
        // Bytes are what it costs, and a path may be made of a tenant's own keys.
        let refusal = Refusal {
            reason: Reason::Invalid,
            field: "ü".repeat(MESSAGE),
            message: "é".repeat(MESSAGE),
        };
        let Hold::Refused { field, message, .. } = Hold::refusal(&refusal) else {
            panic!("not refused")
        };
        assert_eq!((field.len(), message.len()), (FIELD, MESSAGE));
    }
}
