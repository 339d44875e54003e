//! Builds one project's binaries with Go into the cache, once per pin, flags and Go version.
//!
//! Static (no C compiler, no libc at run time), without paths of this machine in them.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow};

use super::{Project, Version, module_folder};
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
        for (name, package) in project.binaries {
            let took = Stopwatch::start();
            progress.step(format_args!("building {name} {version} …"));
            let mut go = go();
            go.current_dir(module_folder(project))
                .args(["build", "-trimpath"]);
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
        Ok(())
    })
}

/// The project's folder in the cache, whether it is there or not.
pub(super) fn place(cache: &Cache, project: &Project, version: &Version) -> Result<PathBuf> {
    let folder = module_folder(project);
    let mut key = format!(
        "{}\n{}\n{:?}\n",
        go_version()?,
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
    let hash = digest(key.as_bytes());
    let short = hash.get(..12).unwrap_or(&hash);
    Ok(cache
        .path("bin")
        .join(format!("{}-{short}", project.folder)))
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

/// Go's own version and target, asked once: the same for every project.
fn go_version() -> Result<&'static str> {
    static VERSION: OnceLock<Result<String, String>> = OnceLock::new();
    let ask = || {
        let mut go = go();
        go.args(["env", "GOVERSION", "GOOS", "GOARCH"]);
        command::stdout(&mut go).map_err(|error| format!("{error:#}"))
    };
    let version = VERSION.get_or_init(ask).as_ref();
    version
        .map(String::as_str)
        .map_err(|error| anyhow!("{error}"))
}

fn go() -> Command {
    let mut go = Command::new("go");
    go.env("CGO_ENABLED", "0");
    go
}
