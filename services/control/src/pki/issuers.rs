//! Who signs, and who is trusted, in the Secrets of one virtual cluster: its own roots, and what
//! every virtual cluster of an installation shares.

use std::fmt;

use super::{Authority, Roots};

/// What every virtual cluster of an installation shares. `Debug` shows no key.
pub struct Shared {
    /// Certificates that verify sync, PEM.
    pub sync: String,
    /// Signs the certificates by which virtual API servers present themselves to sync. One
    /// authority for all of them, and for nothing else: each certificate names its tenant.
    pub tenants: Authority,
}

/// Both.
#[derive(Debug, Clone, Copy)]
pub struct Issuers<'a> {
    /// The virtual cluster's own.
    pub roots: &'a Roots,
    /// The installation's.
    pub shared: &'a Shared,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Shared {
    pub(crate) fn sample(now: jiff::Timestamp) -> Self {
        let mint = |name| Authority::mint(name, now).expect("keys can be made");
        Self {
            sync: mint("platform").certificate().to_owned(),
            tenants: mint("tenants"),
        }
    }
}
