//! Keys and certificates: who signs what, for how long, and when it is signed again.
//!
//! An [`Authority`] signs [`Leaf`]s. Leaves are cheap: one that is missing, damaged, expiring or for
//! other names is simply issued again. An authority is not: everybody who trusts it would be cut
//! off, so nothing here ever replaces one; [`roots`] tells what is wrong instead.
//!
//! Promises: private keys are ECDSA P-256 in PKCS #8, live in secrecy types, and appear in no log,
//! error or `Debug` output. Nothing here does I/O or reads a clock.

use std::time::Duration;

mod authority;
pub mod credential;
pub mod inspect;
pub mod issuers;
mod kubeconfig;
mod leaf;
pub mod material;
pub mod roots;

pub use authority::Authority;
pub use credential::Credential;
pub use issuers::{Issuers, Shared};
pub use leaf::{Issued, Leaf, Usage};
pub use material::Material;
pub use roots::Roots;

/// Life of a certificate authority.
pub const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// Life of everything that an authority signs; it is renewed after two thirds of it.
pub const LEAF_LIFE: Duration = Duration::from_hours(365 * 24);
/// How far clocks may differ: certificates are valid from this long before they are issued.
const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// Key material that cannot be made or read. Never quotes what it could not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cryptographic library refused.
    #[error("cannot be generated")]
    Generate(#[source] rcgen::Error),
    /// It is there and is not what its name says.
    #[error("{what} cannot be read")]
    Unreadable {
        /// Which key of the Secret.
        what: &'static str,
    },
    /// It is not there.
    #[error("{what} is missing")]
    Missing {
        /// Which key of the Secret.
        what: &'static str,
    },
    /// The private key belongs to another certificate.
    #[error("{what} does not belong to its certificate")]
    Mismatch {
        /// Which key of the Secret.
        what: &'static str,
    },
}
