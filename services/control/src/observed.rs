//! What was seen of a virtual cluster, with doubt as a value of its own.
//!
//! "Not there" and "could not be seen" are different answers: only the first one is a reason to
//! make something, and neither is a reason to delete.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::address::Ranges;
use crate::pki::Credential;
use crate::pki::credential::Health;
use crate::slot::Slot;

/// An answer to "is it there?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// The API server says that there is none.
    Absent,
    /// It is there.
    Present(T),
    /// It could not be found out.
    Unknown(Doubt),
}

/// Why something could not be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Control may not look. In a host namespace that is so until its role is bound.
    Forbidden,
    /// The API server could not be asked.
    Failed(String),
}

impl<T> Seen<T> {
    /// Why it could not be found out.
    pub const fn doubt(&self) -> Option<&Doubt> {
        match self {
            Self::Unknown(doubt) => Some(doubt),
            Self::Absent | Self::Present(_) => None,
        }
    }

    /// What is there.
    pub const fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Whether there is surely none.
    pub const fn is_absent(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Present(_) | Self::Unknown(_) => false,
        }
    }
}

/// An object as far as planning needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its UID.
    pub uid: String,
    /// UID of the virtual cluster it was made for, by annotation; `None` means it is not ours.
    pub owner: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The object itself; of a Secret, without its contents.
    pub body: Value,
}

/// The host namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its UID.
    pub uid: String,
    /// Whether it is labelled as one in which virtual clusters may live.
    pub enabled: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// For whom control made it; `None` means somebody else did.
    pub made_for: Option<MadeFor>,
}

/// For whom control made a namespace.
///
/// A namespace exists before the virtual cluster that it is made for has a UID. So control first
/// writes the name, and the cluster of that name claims the namespace when it is reconciled. A
/// crash in between leaves an empty namespace that nobody removes, and never a wrong removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeFor {
    /// For a cluster of that name, still to be made.
    Name(String),
    /// For the cluster of that UID.
    Uid(String),
}

impl MadeFor {
    /// Prefix of the annotation's value while it is a name; no UID begins so.
    const NAME: &'static str = "name/";

    /// Reads the annotation `vcluster.dev/created-for`.
    pub fn read(text: &str) -> Self {
        match text.strip_prefix(Self::NAME) {
            Some(name) => Self::Name(name.to_owned()),
            None => Self::Uid(text.to_owned()),
        }
    }

    /// The annotation's value.
    pub fn write(&self) -> String {
        match self {
            Self::Name(name) => format!("{}{name}", Self::NAME),
            Self::Uid(uid) => uid.clone(),
        }
    }
}

/// Another virtual cluster in the same host namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it was there before this one.
    pub older: bool,
}

/// The roots of trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsState {
    /// Usable.
    Good,
    /// Something in the Secret is missing or damaged; the text says what and holds no secret.
    Damaged(String),
}

/// The Secret of the roots of trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootsSecret {
    /// UID of the Secret.
    pub uid: String,
    /// Its contents.
    pub state: RootsState,
}

/// A control-plane pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What it waits for, in words; `None` if it is ready.
    pub waits: Option<String>,
}

/// Whether anything but this virtual cluster is in the host namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Nothing.
    Empty,
    /// Things that are on their way out, such as what garbage collection has not reached.
    Leaving(String),
    /// Something of somebody else's, for example "Pod web".
    Occupied(String),
    /// Some kind cannot be listed, or a removal was refused; the text says which and why.
    Unsure(String),
}

/// Everything that planning looks at besides the virtual cluster itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The host namespace.
    pub namespace: Seen<Namespace>,
    /// Other virtual clusters in it.
    pub siblings: Seen<Vec<Sibling>>,
    /// The objects of this one. A slot that is missing here has not been looked at.
    pub objects: BTreeMap<Slot, Seen<Live>>,
    /// Contents of its Secrets, for those that could be judged.
    pub health: BTreeMap<Credential, Health>,
    /// Its roots of trust.
    pub roots: Seen<RootsSecret>,
    /// Its control-plane pods.
    pub pods: Seen<Vec<Pod>>,
    /// Ranges of the host's Service addresses.
    pub ranges: Seen<Ranges>,
    /// What else is in the namespace; `None` if nobody has asked yet.
    pub contents: Option<Contents>,
    /// What the API server refused to write in this round, in words for people.
    pub refused: Option<String>,
}

impl Observed {
    /// What is known of a slot.
    pub fn slot(&self, slot: Slot) -> Seen<&Live> {
        match self.objects.get(&slot) {
            Some(Seen::Present(live)) => Seen::Present(live),
            Some(Seen::Absent) => Seen::Absent,
            Some(Seen::Unknown(doubt)) => Seen::Unknown(doubt.clone()),
            None => Seen::Unknown(Doubt::Failed("it was not looked at".to_owned())),
        }
    }

    /// Everything that could not be found out, and why, for logs.
    pub fn doubts(&self) -> String {
        let around = [
            ("namespace", self.namespace.doubt()),
            ("siblings", self.siblings.doubt()),
            ("roots", self.roots.doubt()),
            ("pods", self.pods.doubt()),
            ("ranges", self.ranges.doubt()),
        ];
        let around = around
            .into_iter()
            .filter_map(|(what, doubt)| Some((what.to_owned(), doubt?)));
        let slots = self
            .objects
            .iter()
            .filter_map(|(slot, seen)| Some((format!("{slot:?}"), seen.doubt()?)));
        let texts: Vec<String> = around
            .chain(slots)
            .map(|(what, doubt)| match doubt {
                Doubt::Forbidden => format!("{what}: forbidden"),
                Doubt::Failed(why) => format!("{what}: {why}"),
            })
            .collect();
        texts.join("; ")
    }
}
