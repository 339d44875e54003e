//! The images the dev cluster needs that are not ours, under the names and tags upstream gives
//! them: one set of manifests serves this cluster and a user's own.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result};

use super::{Image, Layer, nginx};
use crate::{cache::Cache, command, upstream::Binaries, workspace};

/// The sandbox image. Ours is forty lines of C, under the name that containerd is told.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10.2";
/// The workload image for everything that wants a shell.
pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// What the node cannot be ready without.
pub(crate) fn base(cache: &Cache, binaries: &Binaries) -> Result<Vec<Image>> {
    let provisioner = binaries.path("local-path-provisioner")?;
    Ok(vec![
        image("pause", PAUSE, pause_layer(cache)?, &["/pause"]),
        Image {
            command: vec!["sh".to_owned()],
            ..image("busybox", BUSYBOX, busybox_layer()?, &[])
        },
        image(
            "coredns",
            &coredns_name(binaries)?,
            Layer::minimal().program("coredns", binaries.path("coredns")?),
            &["/coredns"],
        ),
        image(
            "local-path-provisioner",
            &local_path_name(binaries)?,
            busybox_layer()?.program("usr/bin/local-path-provisioner", provisioner),
            &["/usr/bin/local-path-provisioner"],
        ),
    ])
}

/// What workloads and virtual control planes run.
pub(crate) fn later(cache: &Cache, binaries: &Binaries) -> Result<Vec<Image>> {
    let kubernetes = binaries.version("kubernetes")?;
    let mut images = vec![nginx::image(cache)?];
    for program in ["kube-apiserver", "kube-controller-manager"] {
        let place = format!("usr/local/bin/{program}");
        let layer = Layer::minimal().program(&place, binaries.path(program)?);
        let name = format!("registry.k8s.io/{program}:{kubernetes}");
        images.push(image(program, &name, layer, &[&format!("/{place}")]));
    }
    // kine wants a shell beside it for an exec probe.
    let kine = busybox_layer()?.program("bin/kine", binaries.path("kine")?);
    let name = format!("docker.io/rancher/kine:{}", binaries.version("kine")?);
    images.push(image("kine", &name, kine, &["/bin/kine"]));
    Ok(images)
}

/// CoreDNS' image.
pub(crate) fn coredns_name(binaries: &Binaries) -> Result<String> {
    Ok(format!(
        "registry.k8s.io/coredns/coredns:{}",
        binaries.version("coredns")?
    ))
}

/// The default StorageClass' provisioner.
pub(crate) fn local_path_name(binaries: &Binaries) -> Result<String> {
    let version = binaries.version("local-path-provisioner")?;
    Ok(format!(
        "docker.io/rancher/local-path-provisioner:{version}"
    ))
}

pub(super) fn image(slug: &str, name: &str, layer: Layer, entrypoint: &[&str]) -> Image {
    Image {
        slug: slug.to_owned(),
        names: vec![name.to_owned()],
        layer,
        entrypoint: entrypoint.iter().map(|&word| word.to_owned()).collect(),
        command: Vec::new(),
        user: String::new(),
    }
}

fn pause_layer(cache: &Cache) -> Result<Layer> {
    let source = workspace::own("assets/pause.c");
    let hash = super::digest(&std::fs::read(&source).context("cannot read pause.c")?);
    let name = format!("bin/pause-{}", hash.get(..12).unwrap_or(&hash));
    let program = cache.publish(name, |partial| {
        let mut compiler = Command::new("gcc");
        compiler
            .args(["-Os", "-static", "-s", "-o"])
            .arg(partial)
            .arg(&source);
        command::run(&mut compiler).context("cannot compile pause")
    })?;
    Ok(Layer::default().program("pause", program))
}

/// Debian's static busybox with a link for each of its programs.
pub(super) fn busybox_layer() -> Result<Layer> {
    let busybox = "/bin/busybox";
    let listed = command::stdout(Command::new(busybox).arg("--list"))
        .context("Debian's busybox-static is missing")?;
    let programs: BTreeSet<&str> = listed
        .split_whitespace()
        .filter(|&p| p != "busybox")
        .collect();
    let layer = Layer::minimal()
        .program("bin/busybox", busybox)
        .folder("root", 0o700);
    let linked = |layer: Layer, program| layer.link(&format!("bin/{program}"), busybox);
    let layer = programs.into_iter().fold(layer, linked);
    Ok(layer
        .folder("var", 0o755)
        .link("sbin/ip", busybox)
        .link("usr/bin/env", busybox))
}
