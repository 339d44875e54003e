//! Charts of add-ons that are installed by whoever uses the cluster, made of the project's own sources as its release
//! process makes them: nothing in a template is changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::Cluster;
use crate::{
    addon::AddOn,
    upstream::{self, Version},
};

/// Folder of the charts in a cluster's state.
pub(crate) fn folder(cluster: &Cluster) -> PathBuf {
    cluster.layout.state.join("charts")
}

/// Makes the chart of `addon`, under the add-on's name.
pub(super) fn lay(cluster: &Cluster, addon: AddOn, version: &Version) -> Result<()> {
    let sources = upstream::sources(addon)?.join("deploy");
    let from = sources.join("charts").join(addon.name());
    let place = folder(cluster).join(addon.name());
    let templates = place.join("templates");
    fs::create_dir_all(&templates)?;
    for (name, text) in texts(&from.join("templates"))? {
        fs::write(templates.join(name), text)?;
    }
    let crds: Vec<String> = texts(&sources.join("crds"))?
        .into_iter()
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|end| end == "yaml"))
        .map(|(_, text)| text)
        .collect();
    fs::write(templates.join("crds.yaml"), definitions(&crds))?;
    fs::write(place.join("values.yaml"), read(&from.join("values.yaml"))?)?;
    let about = read(&from.join("Chart.template.yaml"))?;
    fs::write(place.join("Chart.yaml"), stamped(&about, version.as_str()))?;
    Ok(())
}

/// The file that a release makes of the custom resources.
fn definitions(crds: &[String]) -> String {
    let all = crds.join("---\n");
    format!("{{{{- if .Values.installCRDs }}}}\n{all}{{{{- end }}}}\n")
}

/// Version and prerelease, which a release fills in.
fn stamped(about: &str, version: &str) -> String {
    about
        .replace("v0.1.0", version)
        .replace("{{IS_PRERELEASE}}", "false")
}

/// Names and texts of a folder's files, in order.
fn texts(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let listed = fs::read_dir(folder);
    for entry in listed.with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, read(&entry.path())?));
    }
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_stamps_both_versions() {
        let about = "version: v0.1.0\nappVersion: v0.1.0\nprerelease: \"{{IS_PRERELEASE}}\"\n";
        let expected = "version: v1.2.3\nappVersion: v1.2.3\nprerelease: \"false\"\n";
        assert_eq!(stamped(about, "v1.2.3"), expected);
    }

    #[test]
    fn custom_resources_come_when_they_are_asked_for() {
        let crds = ["a: 1\n".to_owned(), "b: 2\n".to_owned()];
        let expected = "{{- if .Values.installCRDs }}\na: 1\n---\nb: 2\n{{- end }}\n";
        assert_eq!(definitions(&crds), expected);
    }
}
