//! Reads a version out of a `go.mod`. Understands what `go mod tidy` writes, not every go.mod.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result, bail};

/// A module version as Go writes it: `v1.37.2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// With the leading `v`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `1` and `37` of `v1.37.2`.
    pub fn major_minor(&self) -> (&str, &str) {
        let mut parts = self.0.trim_start_matches('v').split('.');
        (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of `module` that the go.mod in `folder` requires.
pub(super) fn read(folder: &Path, module: &str) -> Result<Version> {
    let path = folder.join("go.mod");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    match parse(&text, module) {
        Some(version) => Ok(version),
        None => bail!("{}: no `require {module} vX.Y.Z`", path.display()),
    }
}

fn parse(text: &str, module: &str) -> Option<Version> {
    let requirement = |line: &str| {
        let line = line.trim().trim_start_matches("require ").trim();
        let (name, version) = line
            .strip_suffix("// indirect")
            .unwrap_or(line)
            .split_once(' ')?;
        let version = version.trim();
        (name == module && version.starts_with('v')).then(|| Version(version.to_owned()))
    };
    text.lines().find_map(requirement)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO_MOD: &str = "module m\n\ngo 1.26.8\n\nrequire k8s.io/kubernetes v1.37.2\n\n\
        require (\n\tk8s.io/api v0.37.2 // indirect\n\tk8s.io/api/extra v0.1.0 // indirect\n)\n\n\
        replace k8s.io/api => k8s.io/api v0.37.3\n";

    fn version(module: &str) -> Option<String> {
        parse(GO_MOD, module).map(|version| version.to_string())
    }

    #[test]
    fn a_single_requirement_is_found() {
        assert_eq!(version("k8s.io/kubernetes").as_deref(), Some("v1.37.2"));
    }

    #[test]
    fn a_requirement_in_a_block_is_found_and_replacements_are_not() {
        assert_eq!(version("k8s.io/api").as_deref(), Some("v0.37.2"));
    }

    #[test]
    fn a_module_whose_name_only_begins_the_same_is_another() {
        assert_eq!(version("k8s.io"), None);
    }

    #[test]
    fn major_and_minor_come_without_the_v() {
        assert_eq!(Version("v1.37.2".to_owned()).major_minor(), ("1", "37"));
    }
}
