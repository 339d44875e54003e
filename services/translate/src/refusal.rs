//! Why an object is not made on the host.

use std::fmt;

/// An object that will not be made on the host as it stands. Its text is for the person who made
/// the object: it names the field, and says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Refusal {
    /// Why, in one word for programs.
    pub reason: Reason,
    /// The field, as a path in the virtual object such as `spec.volumes[0].hostPath`.
    pub field: String,
    /// Why, and what to do instead.
    pub message: String,
}

/// Why, in one word for programs; also the reason of the Event that the tenant sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It would reach the host's nodes or its infrastructure.
    HostAccess,
    /// It needs a kind or a field that is not translated yet.
    NotSupported,
    /// It is not an object that an API server could have accepted.
    Invalid,
    /// Its host name is taken by an object that is not ours.
    NameTaken,
    /// The host gave it another address than it has inside.
    AddressDiffers,
    /// The virtual cluster's own policy keeps it inside (`spec.sync`).
    NotSynced,
    /// It names something that the host does not have.
    NotOnHost,
    /// The host's API server refused it: a quota, a policy, pod security.
    HostRefused,
    /// It was on the host and is gone, and what it held with it.
    HostGone,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::HostAccess,
        Self::NotSupported,
        Self::Invalid,
        Self::NameTaken,
        Self::AddressDiffers,
        Self::NotSynced,
        Self::NotOnHost,
        Self::HostRefused,
        Self::HostGone,
    ];

    /// The one of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|all| all.as_str() == word)
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostAccess => "HostAccessRefused",
            Self::NotSupported => "NotSupported",
            Self::Invalid => "InvalidObject",
            Self::NameTaken => "HostNameTaken",
            Self::AddressDiffers => "AddressDiffers",
            Self::NotSynced => "NotSynced",
            Self::NotOnHost => "NotOnHost",
            Self::HostRefused => "HostRefused",
            Self::HostGone => "HostGone",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Refusal {
    pub(crate) fn host_access(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Reason::HostAccess, field, message)
    }

    pub(crate) fn not_supported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Reason::NotSupported, field, message)
    }

    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Reason::Invalid, field, message)
    }

    pub(crate) fn new(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            field: field.into(),
            message: message.into(),
        }
    }
}
