//! Our own images, from what cargo built: the binary, the shared libraries it loads, and a user who
//! is not root.
//!
//! Tagged by content (`dev-<12 hex>`): a tag never changes its meaning, so a pod that runs a tag
//! runs that code, and what did not change is not rolled out again.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{Image, Layer, import, linked};
use crate::{
    cache::Cache, cluster::Cluster, command, images::Archived, output::Progress, workspace,
};

/// Where the chart finds our images.
pub const REGISTRY: &str = "ghcr.io/vcluster-dev";

/// The tag of each service's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// `control`
    pub control: String,
    /// `sync`
    pub sync: String,
    /// `connect`
    pub connect: String,
}

impl Tags {
    /// Service and tag.
    pub fn each(&self) -> [(&'static str, &str); 3] {
        [
            ("control", &self.control),
            ("sync", &self.sync),
            ("connect", &self.connect),
        ]
    }
}

/// Builds the services and the command-line client, and brings the services' images into the
/// cluster.
///
/// # Errors
/// The build fails, or containerd does not take an image.
pub fn services(cluster: &Cluster, progress: &Progress) -> Result<Tags> {
    let mut cargo = Command::new("cargo");
    cargo.arg("build").current_dir(workspace::root());
    for package in ["control", "sync", "connect", "client"] {
        cargo.arg("-p").arg(format!("vcluster-{package}"));
    }
    progress.step("cargo build");
    // Its output is for a person and goes to stderr anyway.
    command::inherit(&mut cargo)?;
    let built = workspace::target()?.join("debug");
    let cache = Cache::open()?;
    let lock = cache.lock("images")?;
    let archive = |service: &str| archive(&cache, service, &built);
    let [control, sync, connect] = ["control", "sync", "connect"].map(archive);
    let (control, sync, connect) = (control?, sync?, connect?);
    let tags = Tags {
        control: control.0,
        sync: sync.0,
        connect: connect.0,
    };
    import(
        &cluster.runtime()?,
        &[control.1, sync.1, connect.1],
        progress,
    )?;
    drop(lock);
    Ok(tags)
}

fn archive(cache: &Cache, service: &str, built: &Path) -> Result<(String, Archived)> {
    let program = format!("vcluster-{service}");
    let binary = stripped(cache, &built.join(&program))?;
    let place = format!("usr/local/bin/{program}");
    let mut image = Image {
        slug: format!("service-{service}"),
        names: Vec::new(),
        layer: linked::add(Layer::minimal(), &place, &binary)?,
        entrypoint: vec![format!("/{place}")],
        command: Vec::new(),
        user: "65532:65532".to_owned(),
    };
    let key = image.key(cache)?;
    let tag = format!("dev-{}", key.get(..12).unwrap_or(&key));
    image.names = vec![format!("{REGISTRY}/{service}:{tag}")];
    Ok((tag, image.archive(cache)?))
}

/// A copy without debug information: a tenth of the size.
fn stripped(cache: &Cache, binary: &Path) -> Result<std::path::PathBuf> {
    let name = binary.file_name().context("a binary has a name")?;
    let folder = cache.path("stripped");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join(name);
    command::run(Command::new("strip").arg("-o").arg(&copy).arg(binary))
        .with_context(|| format!("cannot strip {}", binary.display()))?;
    Ok(copy)
}
