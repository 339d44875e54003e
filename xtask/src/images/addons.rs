//! The images of add-ons, each with the placeholder that its name replaces in the manifest, if there is one.

use anyhow::Result;

use std::path::Path;

use super::{
    Image, Layer, linked, postgres,
    stock::{busybox_layer, image},
};
use crate::{addon::AddOn, cache::Cache, upstream::Binaries};

/// What the pod of the CSI driver runs.
const CSI_PROGRAMS: [&str; 5] = [
    "csi-driver",
    "csi-provisioner",
    "csi-resizer",
    "csi-snapshotter",
    "snapshot-controller",
];

/// What an add-on runs.
///
/// # Errors
/// A binary is missing.
pub(crate) fn addon(
    addon: AddOn,
    cache: &Cache,
    binaries: &Binaries,
) -> Result<Vec<(&'static str, Image)>> {
    match addon {
        AddOn::SecondNode | AddOn::DualStack => Ok(Vec::new()),
        AddOn::Metrics => Ok(vec![(
            "@METRICS_SERVER_IMAGE@",
            upstream(
                binaries,
                "metrics-server",
                "metrics-server",
                "registry.k8s.io/metrics-server/metrics-server",
            )?,
        )]),
        AddOn::Policies | AddOn::Ingress => Ok(vec![("@DEV_ADDONS_IMAGE@", own(cache, binaries)?)]),
        AddOn::CertManager => ["controller", "webhook", "cainjector"]
            .into_iter()
            .map(|part| Ok(("", cert_manager(binaries, part)?)))
            .collect(),
        AddOn::Postgres => Ok(vec![("", postgres::image(cache)?)]),
        AddOn::Csi => Ok(vec![("@CSI_IMAGE@", csi(cache, binaries)?)]),
    }
}

/// As the project's own image: its user is a number, and not root's.
fn cert_manager(binaries: &Binaries, part: &str) -> Result<Image> {
    let program = format!("cert-manager-{part}");
    let name = format!("quay.io/jetstack/{program}");
    Ok(Image {
        user: "1000:1000".to_owned(),
        ..upstream(binaries, "cert-manager", &program, &name)?
    })
}

/// Ours, with Debian's nft beside it.
fn own(cache: &Cache, binaries: &Binaries) -> Result<Image> {
    let layer = linked::add(busybox_layer()?, "usr/sbin/nft", Path::new("/usr/sbin/nft"))?
        .program("dev-addons", binaries.path("dev-addons")?);
    tagged(
        cache,
        "dev-addons",
        image("dev-addons", "", layer, &["/dev-addons"]),
    )
}

/// The driver and upstream's sidecars in one image, as one pod runs them all: what they share is there once. The
/// driver copies with busybox' `cp`.
fn csi(cache: &Cache, binaries: &Binaries) -> Result<Image> {
    let mut layer = busybox_layer()?;
    for program in CSI_PROGRAMS {
        layer = layer.program(program, binaries.path(program)?);
    }
    tagged(cache, "csi", image("csi", "", layer, &["/csi-driver"]))
}

/// The image with its content as the tag of its name.
fn tagged(cache: &Cache, name: &str, mut image: Image) -> Result<Image> {
    let key = image.key(cache)?;
    let tag = key.get(..12).unwrap_or(&key);
    image.names = vec![format!("{}/{name}:dev-{tag}", super::REGISTRY)];
    Ok(image)
}

/// An image of one program, as most upstream projects publish it.
fn upstream(binaries: &Binaries, project: &str, program: &str, name: &str) -> Result<Image> {
    let layer = Layer::minimal().program(program, binaries.path(program)?);
    let name = format!("{name}:{}", binaries.version(project)?);
    Ok(image(program, &name, layer, &[&format!("/{program}")]))
}
