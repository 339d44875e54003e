//! Names: of virtual clusters, of host namespaces, and of translated objects in the host.
//!
//! A virtual object `n` of namespace `ns` in virtual cluster `vc` is `n-x-ns-x-vc` in the host.
//! Where that is longer than the kind allows, or does not split back into the same three parts
//! (`a-x` in `b` and `a` in `x-b` would meet), it is a readable prefix and a hash of the whole.
//! The two forms cannot meet, because the first holds the separator exactly twice and the second
//! never. The way back is by annotations, never by splitting.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use sha2::{Digest as _, Sha256};

/// Separates the parts of a host name.
const SEPARATOR: &str = "-x-";
/// Hexadecimal digits of the hash in a shortened name: 80 bits, against accidents within one
/// tenant. A tenant that makes two of its own names meet harms only itself: the second object is
/// refused because the annotations differ.
const HASH_DIGITS: usize = 20;

/// Begins the host name of a Service whose own name begins with a digit.
const SERVICE_PREFIX: &str = "s-";

/// Longest name of an object whose name is a DNS subdomain (RFC 1123), such as a pod.
pub const SUBDOMAIN_LIMIT: usize = 253;
/// Longest DNS label (RFC 1123), such as the name of a namespace or Service.
pub const LABEL_LIMIT: usize = 63;

/// Name of a virtual cluster: a DNS label of at most [`ClusterName::LIMIT`] characters that begins
/// with a letter and has no part `x` between or beside its hyphens: `data-NAME-0`, the control plane's claim, must
/// not look like a translated one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName(String);

/// Name of a host namespace: a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostNamespace(String);

/// What is wrong with a name, worded to follow the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing given.
    #[error("must not be empty")]
    Empty,
    /// Too long.
    #[error("must be at most {limit} characters, has {len}")]
    TooLong {
        /// Most characters allowed.
        limit: usize,
        /// Characters given.
        len: usize,
    },
    /// Characters, or their places, that a DNS label does not allow.
    #[error(
        "must be lower-case letters, digits and '-', begin with {first} and end with a letter or digit"
    )]
    NotALabel {
        /// What it may begin with.
        first: &'static str,
    },
    /// Holds the separator of host names, or would beside a hyphen.
    #[error(
        "must not have \"x\" as a part of its own, as in \"a-x-b\" or \"x-a\": \"-x-\" separates the parts of host names"
    )]
    Separator,
}

impl ClusterName {
    /// Most characters, so that names derived from it stay DNS labels.
    pub const LIMIT: usize = 40;

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostNamespace {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_label(text: &str, limit: usize, first: &'static str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    let len = text.chars().count();
    if len > limit {
        return Err(Error::TooLong { limit, len });
    }
    let begins = |c: char| c.is_ascii_lowercase() || (first != LETTER && c.is_ascii_digit());
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.starts_with(begins) || !text.chars().all(inside) || text.ends_with('-') {
        return Err(Error::NotALabel { first });
    }
    Ok(())
}

const LETTER: &str = "a letter";
const LETTER_OR_DIGIT: &str = "a letter or digit";

impl FromStr for ClusterName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        check_label(text, Self::LIMIT, LETTER)?;
        if format!("-{text}-").contains(SEPARATOR) {
            return Err(Error::Separator);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for HostNamespace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        check_label(text, LABEL_LIMIT, LETTER_OR_DIGIT)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host name of the namespaced virtual object `namespace`/`name`, at most `limit` characters, a
/// DNS label if both parts are labels and `limit` is [`LABEL_LIMIT`].
pub fn host_name(name: &str, namespace: &str, cluster: &ClusterName, limit: usize) -> String {
    let plain = [name, namespace, cluster.as_str()].join(SEPARATOR);
    if plain.len() <= limit && separators(&plain) == 2 {
        return plain;
    }
    let hash = hash(name, namespace, cluster);
    let prefix = readable(&plain, limit.saturating_sub(HASH_DIGITS + 1));
    if prefix.is_empty() {
        hash
    } else {
        format!("{prefix}-{hash}")
    }
}

/// Host name of the virtual Service `namespace`/`name`: a DNS label that begins with a letter
/// (RFC 1035), which every API server accepts. One that [`host_name`] would begin with a digit
/// gets `s-` before its hashed form.
pub fn service_host_name(name: &str, namespace: &str, cluster: &ClusterName) -> String {
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        let host = host_name(name, namespace, cluster, LABEL_LIMIT);
        if host.starts_with(|c: char| c.is_ascii_lowercase()) {
            return host;
        }
    }
    let plain = [name, namespace, cluster.as_str()].join(SEPARATOR);
    let rest = LABEL_LIMIT - SERVICE_PREFIX.len() - (HASH_DIGITS + 1);
    let prefix = readable(&plain, rest);
    let hash = hash(name, namespace, cluster);
    if prefix.is_empty() {
        format!("{SERVICE_PREFIX}{hash}")
    } else {
        format!("{SERVICE_PREFIX}{prefix}-{hash}")
    }
}

/// Ends the host name of every object in no namespace that was made for a virtual cluster.
pub const CLUSTER_SCOPED: &str = ".vcluster.dev";

/// Host name of the virtual object `name` that lives in no namespace, on either side: `name.cluster.namespace` and
/// [`CLUSTER_SCOPED`]. Names of namespaces and of virtual clusters hold no dot, so that whose it is can be read from
/// the end, and no two virtual clusters meet. A longer one than `limit` has a readable prefix and a hash for `name`.
pub fn cluster_scoped_host_name(
    name: &str,
    namespace: &HostNamespace,
    cluster: &ClusterName,
    limit: usize,
) -> String {
    let end = cluster_scoped_end(namespace, cluster);
    if name.len() + end.len() <= limit {
        return format!("{name}{end}");
    }
    let prefix = readable(name, limit.saturating_sub(end.len() + HASH_DIGITS + 1));
    let hash = hash(name, namespace.as_str(), cluster);
    format!("{prefix}-{hash}{end}")
}

/// The end of the names that [`cluster_scoped_host_name`] gives for one virtual cluster, and for no other.
pub fn cluster_scoped_end(namespace: &HostNamespace, cluster: &ClusterName) -> String {
    format!(".{cluster}.{namespace}{CLUSTER_SCOPED}")
}

/// Occurrences of the separator, overlapping ones counted.
fn separators(text: &str) -> usize {
    text.as_bytes()
        .windows(SEPARATOR.len())
        .filter(|window| *window == SEPARATOR.as_bytes())
        .count()
}

/// `plain` without separators, at most `limit` bytes, ending so that `-` and a hash can follow
/// without making a separator.
fn readable(plain: &str, limit: usize) -> String {
    let mut text = plain.to_owned();
    while text.contains(SEPARATOR) {
        text = text.replace(SEPARATOR, "-");
    }
    // Object names are ASCII; a cut at any byte is then at a character.
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    loop {
        let trimmed = text.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let trimmed = trimmed.strip_suffix("-x").unwrap_or(trimmed);
        if trimmed.len() == text.len() {
            return text;
        }
        text.truncate(trimmed.len());
    }
}

fn hash(name: &str, namespace: &str, cluster: &ClusterName) -> String {
    let mut digest = Sha256::new();
    for part in [name, namespace, cluster.as_str()] {
        // No part holds a NUL, so the boundary is unambiguous.
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let mut text = String::with_capacity(HASH_DIGITS);
    for byte in &digest.finalize()[..HASH_DIGITS / 2] {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
