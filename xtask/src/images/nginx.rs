//! nginx out of Debian's package, for the workload image.
//!
//! The package is unpacked into the cache and never installed: an installed nginx would be a daemon
//! of this machine, now or at its next boot.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{Image, Layer, linked};
use crate::{cache::Cache, command, workspace};

/// Where the unpacked package is in the cache.
pub(crate) const NGINX: &str = "debian/nginx";

/// The image.
///
/// # Errors
/// The package cannot be had, or does not run on this machine.
pub(crate) fn image(cache: &Cache) -> Result<Image> {
    let files = cache.publish(NGINX, unpack)?;
    let program = files.join("usr/sbin/nginx");
    let version = version(&program)?;
    let (major_minor, _) = version.rsplit_once('.').unwrap_or((&version, ""));
    let tags = ["latest", major_minor, &version];
    let layer = super::stock::busybox_layer()?
        .folder("run", 0o1777)
        .folder("var/log/nginx", 0o1777)
        .folder("var/lib/nginx", 0o1777)
        .copy("etc/nginx/nginx.conf", workspace::own("assets/nginx.conf"))
        .copy("etc/nginx/mime.types", files.join("etc/nginx/mime.types"))
        .text(
            "usr/share/nginx/html/index.html",
            "<h1>Welcome to nginx!</h1>\n",
        );
    Ok(Image {
        slug: "nginx".to_owned(),
        names: tags
            .iter()
            .map(|tag| format!("docker.io/library/nginx:{tag}"))
            .collect(),
        layer: with_libraries(layer, &program)?,
        entrypoint: Vec::new(),
        command: ["/usr/sbin/nginx", "-e", "/dev/stderr", "-g", "daemon off;"]
            .map(str::to_owned)
            .to_vec(),
        user: String::new(),
    })
}

fn with_libraries(layer: Layer, program: &Path) -> Result<Layer> {
    linked::add(layer, "usr/sbin/nginx", program)
        .context("nginx for the workload image cannot run on this machine")
}

fn unpack(place: &Path) -> Result<()> {
    fs::create_dir_all(place)?;
    let mut apt = Command::new("apt-get");
    // Since Debian 12 `nginx` holds the program and `nginx-light` only depends on it.
    apt.args(["download", "-q", "nginx", "nginx-common"])
        .current_dir(place);
    command::run(&mut apt).context("cannot download Debian's nginx (apt-get update first?)")?;
    let packages: Vec<_> = fs::read_dir(place)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    for package in packages {
        command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(place))?;
        fs::remove_file(package)?;
    }
    if !place.join("usr/sbin/nginx").exists() {
        bail!("Debian's nginx package holds no /usr/sbin/nginx");
    }
    Ok(())
}

fn version(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("-v")
        .output()
        .context("cannot run nginx -v")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = said
        .trim()
        .rsplit_once("nginx/")
        .map(|(_, version)| version.to_owned());
    version.with_context(|| format!("nginx -v says no version: {said}"))
}
