//! Builds one project's binaries with Go into the cache, once per pin, flags and Go version.
//!
//! Static (no C compiler, no libc at run time), without paths of this machine in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Project, Version, mend, module_folder};
use crate::{cache::Cache, command, images::digest, output::Progress, wait::Stopwatch};

/// The project's folder in the cache; builds it first if it is not there.
pub(super) fn ensure(
    cache: &Cache,
    project: &Project,
    version: &Version,
    progress: &Progress,
) -> Result<PathBuf> {
    let place = place(cache, project, version)?;
    if place.is_dir() {
        return Ok(place);
    }
    let _lock = cache.lock(&format!("build-{}", project.folder))?;
    cache.publish(&place, |partial| {
        fs::create_dir_all(partial)?;
        let folder = mend::folder(project, partial)?;
        for (name, package) in project.binaries {
            let took = Stopwatch::start();
            progress.step(format_args!("building {name} {version} …"));
            let mut go = go();
            go.current_dir(&folder).args(["build", "-trimpath"]);
            go.args([
                "-tags",
                project.tags,
                "-ldflags",
                &ldflags(project, version),
            ]);
            go.arg("-o").arg(partial.join(name)).arg(package);
            command::run(&mut go).with_context(|| format!("cannot build {name}"))?;
            progress.step(format_args!("built {name} in {:.0} s", took.seconds()));
        }
        if !project.mends.is_empty() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(())
    })
}

/// The project's folder in the cache, whether it is there or not.
pub(super) fn place(cache: &Cache, project: &Project, version: &Version) -> Result<PathBuf> {
    let folder = module_folder(project);
    let mut key = format!(
        "{}\n{}\n{:?}\n",
        go_version(&folder)?,
        ldflags(project, version),
        project
    );
    for file in ["go.mod", "go.sum"] {
        let path = folder.join(file);
        key.push_str(
            &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    // What is not upstream's is not pinned by a version.
    for source in sources(&folder)? {
        key.push_str(&fs::read_to_string(source)?);
    }
    let hash = digest(key.as_bytes());
    let short = hash.get(..12).unwrap_or(&hash);
    Ok(cache
        .path("bin")
        .join(format!("{}-{short}", project.folder)))
}

/// Go files in the module's packages of ours; an upstream module has none but its `upstream.go`.
fn sources(module: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(module)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "go")
            && !path.ends_with("upstream.go")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn ldflags(project: &Project, version: &Version) -> String {
    let mut flags = "-s -w".to_owned();
    let (major, minor) = version.major_minor();
    for package in project.versioned {
        for (variable, value) in [
            ("gitVersion", version.as_str()),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
        ] {
            flags.extend([" -X ", package, ".", variable, "=", value]);
        }
    }
    flags
}

/// The Go version and target that `go` takes in this module: its go.mod may ask for a newer Go than
/// the installed one.
fn go_version(module: &Path) -> Result<String> {
    let mut go = go();
    go.args(["env", "GOVERSION", "GOOS", "GOARCH"])
        .current_dir(module);
    command::stdout(&mut go).context("Go does not work here")
}

fn go() -> Command {
    let mut go = Command::new("go");
    go.env("CGO_ENABLED", "0");
    go
}
