//! What the host remembers of a virtual cluster's store, and what a look at the store says about it. No I/O.
//!
//! A store is known by the UID of its namespace `kube-system`. Where it stands in its own history is known by a
//! *mark*: an annotation of that namespace which the host repeats. A store that was put back to an older state has an
//! older mark or none, however far its versions have counted on since; and one that was put back a moment ago also has
//! lower versions than were seen.

use std::fmt;

use serde_json::{Value, json};

use crate::guard::{self, Guard};
use crate::object::Object;

/// Annotation of the ConfigMap on the host: UID of the store's `kube-system`. Without it nothing is remembered.
pub const STORE_UID: &str = "vcluster.dev/store-uid";
/// Annotation of the ConfigMap on the host, and of `kube-system` inside: the mark.
pub const STORE_MARK: &str = "vcluster.dev/store-mark";
/// Annotation of the ConfigMap on the host: the store was seen to go back; how.
pub const STORE_ROLLED_BACK: &str = "vcluster.dev/store-rolled-back";

/// A moment in the history of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which history, by the version at which it begins: another one begins where a person has accepted a store as
    /// it is.
    history: u64,
    /// The store's version then.
    version: u64,
}

impl Mark {
    /// The next mark of the same history, or the first of a new one, at a version of the store.
    pub fn after(known: Option<&Self>, version: u64) -> Self {
        Self {
            history: known.map_or(version, |known| known.history),
            version,
        }
    }

    /// The store's version when it was made.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn parse(text: &str) -> Option<Self> {
        let (history, version) = text.split_once('/')?;
        Some(Self {
            history: history.parse().ok()?,
            version: version.parse().ok()?,
        })
    }

    /// Whether this is the other one, or a later one of the same history: the note on the host is written last.
    fn is_from(&self, other: &Self) -> bool {
        self.history == other.history && self.version >= other.version
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.history, self.version)
    }
}

/// The store cannot be the one that is remembered, as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// It is another one.
    #[error(
        "was emptied or replaced: the UID of its namespace kube-system was {known} and is {found}"
    )]
    Replaced {
        /// What is remembered.
        known: String,
        /// What is there.
        found: String,
    },
    /// It is itself at an earlier time.
    #[error("was put back to an older state: {evidence}")]
    RolledBack {
        /// What is remembered and what was found.
        evidence: String,
    },
}

/// What is remembered of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// UID of its `kube-system`; nothing if none was ever recognized, or a person had it forgotten.
    pub uid: Option<String>,
    /// Its newest mark.
    pub mark: Option<Mark>,
    /// That it was seen to go back, and how: a person decides, whatever it looks like by now.
    pub rolled_back: Option<String>,
}

/// The store as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// UID of its `kube-system`.
    pub uid: String,
    /// Its mark.
    pub mark: Option<Mark>,
    /// Its version; nothing if that is no number.
    pub version: Option<u64>,
}

impl Memory {
    /// What the ConfigMap on the host says.
    pub fn of(kept: &Object) -> Self {
        let Some(uid) = kept.annotation(STORE_UID) else {
            // Whoever took this one off has the rest forgotten, too.
            return Self::default();
        };
        Self {
            uid: Some(uid.to_owned()),
            mark: kept.annotation(STORE_MARK).and_then(Mark::parse),
            rolled_back: kept.annotation(STORE_ROLLED_BACK).map(ToOwned::to_owned),
        }
    }

    /// What the ConfigMap is to say; null is for an annotation that must not be there.
    pub fn annotations(&self) -> Value {
        json!({
            STORE_UID: self.uid,
            STORE_MARK: self.mark.as_ref().map(Mark::to_string),
            STORE_ROLLED_BACK: self.rolled_back,
        })
    }

    /// Whether a store is the one that is remembered, where `newest` is the newest version that was seen in it.
    pub fn judge(&self, found: &Found, newest: u64) -> Result<(), Loss> {
        let Some(known) = &self.uid else {
            return Ok(());
        };
        if *known != found.uid {
            return Err(Loss::Replaced {
                known: known.clone(),
                found: found.uid.clone(),
            });
        }
        let evidence = self
            .rolled_back
            .clone()
            .or_else(|| self.lacks_mark(found))
            .or_else(|| lacks_versions(found, newest));
        evidence.map_or(Ok(()), |evidence| Err(Loss::RolledBack { evidence }))
    }

    fn lacks_mark(&self, found: &Found) -> Option<String> {
        let known = self.mark.as_ref()?;
        match &found.mark {
            Some(mark) if mark.is_from(known) => None,
            Some(_) | None if !guard::stands(Guard::MarkIsCompared) => None,
            Some(mark) => Some(format!("its mark was {known} and is {mark}")),
            None => Some(format!("its mark was {known} and is missing")),
        }
    }
}

fn lacks_versions(found: &Found, newest: u64) -> Option<String> {
    let version = found.version.filter(|version| *version < newest)?;
    Some(format!(
        "version {newest} was seen in it, and it is at version {version}"
    ))
}

/// What a list of namespaces says of the store; nothing while it has no `kube-system`.
pub(super) fn found(list: &Value) -> Option<Found> {
    let version = list.pointer("/metadata/resourceVersion");
    let items = list.get("items").and_then(Value::as_array)?;
    let name = |item: &&Value| {
        item.pointer("/metadata/name").and_then(Value::as_str) == Some("kube-system")
    };
    let system = Object::new(items.iter().find(name)?.clone());
    Some(Found {
        uid: Some(system.uid()).filter(|uid| !uid.is_empty())?.to_owned(),
        mark: system.annotation(STORE_MARK).and_then(Mark::parse),
        version: version
            .and_then(Value::as_str)
            .and_then(|version| version.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(text: &str) -> Option<Mark> {
        Mark::parse(text)
    }

    fn store(uid: &str, version: u64, mark: Option<Mark>) -> Found {
        Found {
            uid: uid.to_owned(),
            mark,
            version: Some(version),
        }
    }

    #[test]
    fn a_store_is_judged_by_its_uid_then_its_mark_then_its_versions() {
        let memory = Memory {
            uid: Some("one".to_owned()),
            mark: mark("10/50"),
            rolled_back: None,
        };
        let says = |found: Found| match memory.judge(&found, 70) {
            Ok(()) => "fine".to_owned(),
            Err(loss) => loss.to_string(),
        };
        let rows = [
            (store("one", 70, mark("10/50")), "fine"),
            (store("one", 70, mark("10/60")), "fine"),
            (store("two", 90, mark("10/50")), "was one and is two"),
            (
                store("one", 90, mark("10/40")),
                "its mark was 10/50 and is 10/40",
            ),
            (
                store("one", 90, mark("20/80")),
                "its mark was 10/50 and is 20/80",
            ),
            (store("one", 90, None), "its mark was 10/50 and is missing"),
            (
                store("one", 69, mark("10/50")),
                "version 70 was seen in it, and it is at version 69",
            ),
        ];
        for (found, expected) in rows {
            let said = says(found.clone());
            assert!(said.contains(expected), "{found:?}: {said}");
        }
        let unknown = Found {
            version: None,
            ..store("one", 0, mark("10/50"))
        };
        assert_eq!(
            says(unknown),
            "fine",
            "versions that are no numbers say nothing"
        );
    }

    #[test]
    fn what_a_person_has_to_decide_stays_until_it_is_decided() {
        let memory = Memory {
            uid: Some("one".to_owned()),
            mark: None,
            rolled_back: Some("seen".to_owned()),
        };
        assert!(memory.judge(&store("one", 1_000, None), 0).is_err());
        let kept =
            |annotations: Value| Object::new(json!({"metadata": {"annotations": annotations}}));
        assert_eq!(Memory::of(&kept(memory.annotations())), memory);
        let mut accepted = memory.annotations();
        accepted[STORE_UID] = Value::Null;
        assert_eq!(Memory::of(&kept(accepted)), Memory::default());
        assert!(Memory::default().judge(&store("two", 1, None), 9).is_ok());
    }

    #[test]
    fn marks_go_on_in_one_history() {
        let first = Mark::after(None, 7);
        assert_eq!(Mark::parse(&first.to_string()), Some(first.clone()));
        let second = Mark::after(Some(&first), 9);
        assert!(second.is_from(&first) && !first.is_from(&second));
        for text in ["", "10", "10/", "10/x"] {
            assert_eq!(Mark::parse(text), None);
        }
    }
}
