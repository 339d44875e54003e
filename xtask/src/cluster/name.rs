//! A cluster's name: part of paths, of a namespace's and a cgroup's name, so short and plain.

use std::{fmt, str::FromStr};

use anyhow::{Error, ensure};

/// Beyond this, the shims' socket paths (name + 85 characters) come near the kernel's 107.
const LONGEST: usize = 14;

/// A valid name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        ensure!(
            !text.is_empty()
                && text.len() <= LONGEST
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && text.starts_with(|first: char| first.is_ascii_lowercase()),
            "a cluster's name has 1 to {LONGEST} of a-z, 0-9 and '-', and begins with a letter"
        );
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", "..", "a/b", "A", "1a", "-a", "a b", "abcdefghijklmno"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for good in ["dev", "test", "demo", "t-1"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
    }
}
