//! The one crypto provider of the process: aws-lc-rs.
//!
//! rustls refuses to guess when a process carries two providers, and does so at the first handshake,
//! not at start. Installing ours first makes the choice explicit and the same everywhere.

/// Installs aws-lc-rs as the provider of the whole process.
///
/// To be called first in `main` and in tests that make TLS configurations. Calling it again is
/// harmless: the first installation stays.
pub fn install() {
    // The error says that a provider is installed already, which is what is wanted.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
