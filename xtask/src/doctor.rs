//! Checks this machine before anything is started, installs what it may, and says everything that
//! is missing in one message.

mod packages;
mod probe;

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

pub(crate) use self::packages::host;
use crate::{addon::AddOn, cache::Cache, output::Progress};

/// One thing that is missing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lack {
    what: String,
    cure: String,
}

impl Lack {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: cure.into(),
        }
    }
}

const SUDO: &str = "run it with sudo -E env \"PATH=$PATH\"";

/// Namespaces, mounts and cgroups are root's.
///
/// # Errors
/// We are somebody else.
pub fn root() -> Result<()> {
    ensure!(is_root(), "a cluster needs root: {SUDO}");
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Everything else that starting a cluster, or a part of it, with these add-ons needs: asked before anything is
/// started. Installs missing Debian packages, where there is apt-get and nothing is missing that it cannot
/// cure: nobody waits for packages only to read that there is no Go.
///
/// # Errors
/// Something is missing; the message lists all of it.
pub fn check(cache: &Cache, with: &BTreeSet<AddOn>, progress: &Progress) -> Result<()> {
    let mut lacks = Vec::new();
    if !is_root() {
        lacks.push(Lack::new("root, for namespaces, mounts and cgroups", SUDO));
    }
    lacks.extend(packages::not_for_apt(cache));
    if lacks.is_empty() {
        packages::install(progress)?;
    }
    let packages = packages::lacking();
    // The kernel is asked by programs of these packages.
    let askable = is_root() && packages.is_empty();
    lacks.extend(packages);
    lacks.extend(probe::lacking(cache, with, askable));
    match report(&lacks) {
        Some(message) => bail!(message),
        None => Ok(()),
    }
}

fn report(lacks: &[Lack]) -> Option<String> {
    if lacks.is_empty() {
        return None;
    }
    let line = |lack: &Lack| format!("\n  - {}: {}", lack.what, lack.cure);
    let lines: String = lacks.iter().map(line).collect();
    Some(format!(
        "this machine cannot run what was asked for yet; nothing was started. Missing:{lines}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_lists_everything_with_its_cure() {
        let lacks = [
            Lack::new("runc", "apt-get install runc"),
            Lack::new("Go", "install Go"),
        ];
        let message = report(&lacks).expect("something is missing");
        let lines: Vec<&str> = message.lines().skip(1).collect();
        assert_eq!(
            lines,
            ["  - runc: apt-get install runc", "  - Go: install Go"]
        );
    }

    #[test]
    fn nothing_is_said_where_nothing_is_missing() {
        assert_eq!(report(&[]), None);
    }
}
