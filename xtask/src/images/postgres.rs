//! PostgreSQL out of Debian's packages, started as its official image is: the password comes from `POSTGRES_PASSWORD`,
//! the data are in `PGDATA`.
//!
//! The packages are unpacked into the cache and never installed: an installed PostgreSQL would be a
//! daemon of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Image, Layer, linked};
use crate::{cache::Cache, command, workspace};

/// Where the unpacked packages are in the cache.
const FILES: &str = "debian/postgres";
/// Debian 12's.
const MAJOR: &str = "15";
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_isready", "psql"];
/// Libraries of the machine, and of parts that nobody needs here.
const LEFT_OUT: [&str; 4] = ["libc6", "libc-bin", "libllvm", "libperl"];

pub(super) fn image(cache: &Cache) -> Result<Image> {
    let files = cache.publish(FILES, unpack)?;
    let (program, share) = (
        format!("usr/lib/postgresql/{MAJOR}/bin"),
        format!("usr/share/postgresql/{MAJOR}"),
    );
    let modules = format!("usr/lib/postgresql/{MAJOR}/lib");
    let mut layer = super::stock::busybox_layer()?
        .text(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n",
        )
        .text("etc/group", "root:x:0:\npostgres:x:999:\n")
        .folder("var/lib/postgresql", 0o1777)
        .program(
            "usr/local/bin/docker-entrypoint.sh",
            workspace::own("assets/addons/postgres.sh"),
        );
    let libraries = library_folders(&files)?;
    for name in PROGRAMS {
        let place = format!("{program}/{name}");
        layer = linked::add_with(layer, &place, &files.join(&place), &libraries)
            .context("PostgreSQL for the workload image cannot run on this machine")?
            .link(&format!("usr/bin/{name}"), &format!("/{place}"));
    }
    for folder in [share, modules] {
        layer = tree(layer, &files, &files.join(folder))?;
    }
    Ok(Image {
        slug: "postgres".to_owned(),
        names: vec![format!("docker.io/library/postgres:{MAJOR}")],
        layer,
        entrypoint: vec!["/usr/local/bin/docker-entrypoint.sh".to_owned()],
        command: Vec::new(),
        user: "999:999".to_owned(),
    })
}

/// Every file below `folder`, at its place below `root`; the compiler for queries is as big as all the rest and stays
/// out.
fn tree(mut layer: Layer, root: &Path, folder: &Path) -> Result<Layer> {
    let listed = fs::read_dir(folder);
    for entry in listed.with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let place = path.strip_prefix(root)?.to_string_lossy().into_owned();
        layer = match path.metadata() {
            Ok(found) if found.is_dir() && !place.contains("bitcode") => tree(layer, root, &path)?,
            Ok(found) if found.is_file() && !place.contains("llvmjit") => layer.copy(&place, path),
            // A link that leads out of the packages.
            Ok(_) | Err(_) => layer,
        };
    }
    Ok(layer)
}

/// Folders of the packages that hold shared libraries.
fn library_folders(files: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for parent in ["usr/lib", "lib"] {
        let Ok(listed) = fs::read_dir(files.join(parent)) else {
            continue;
        };
        for entry in listed {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-linux-gnu") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn unpack(place: &Path) -> Result<()> {
    fs::create_dir_all(place)?;
    let server = format!("postgresql-{MAJOR}");
    let mut depends = Command::new("apt-cache");
    depends.args([
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
        &server,
    ]);
    let listed = command::stdout(&mut depends).context("apt-cache knows no packages")?;
    let mut apt = Command::new("apt-get");
    apt.args([
        "download",
        "-q",
        &server,
        &format!("postgresql-client-{MAJOR}"),
    ])
    .args(libraries(&listed))
    .current_dir(place);
    command::run(&mut apt)
        .context("cannot download Debian's PostgreSQL (apt-get update first?)")?;
    for entry in fs::read_dir(place)? {
        let package = entry?.path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(place))?;
            fs::remove_file(package)?;
        }
    }
    Ok(())
}

/// The packages of shared libraries in what `apt-cache depends` lists, without those that are left out.
fn libraries(listed: &str) -> Vec<&str> {
    let is_wanted = |name: &&str| {
        name.starts_with("lib") && !LEFT_OUT.iter().any(|left_out| name.starts_with(left_out))
    };
    listed.lines().filter(is_wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::libraries;

    #[test]
    fn only_packages_of_libraries_are_taken() {
        let listed = "postgresql-15\n  Depends: libicu72\nlibicu72\nlibc6\nlibllvm14\nperl\n<libfoo>\nlibpq5\n";
        assert_eq!(libraries(listed), ["libicu72", "libpq5"]);
    }
}
