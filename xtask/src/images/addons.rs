//! The images of add-ons, each with the placeholder that its name replaces in the manifest.

use anyhow::Result;

use super::{Image, Layer, stock::image};
use crate::{addon::AddOn, upstream::Binaries};

/// What an add-on runs.
///
/// # Errors
/// A binary is missing.
pub(crate) fn addon(
    addon: AddOn,
    _cache: &crate::cache::Cache,
    binaries: &Binaries,
) -> Result<Vec<(&'static str, Image)>> {
    match addon {
        AddOn::Metrics => Ok(vec![(
            "@METRICS_SERVER_IMAGE@",
            upstream(
                binaries,
                "metrics-server",
                "metrics-server",
                "registry.k8s.io/metrics-server/metrics-server",
            )?,
        )]),
    }
}

/// An image of one program, as most upstream projects publish it.
fn upstream(binaries: &Binaries, project: &str, program: &str, name: &str) -> Result<Image> {
    let layer = Layer::minimal().program(program, binaries.path(program)?);
    let name = format!("{name}:{}", binaries.version(project)?);
    Ok(image(program, &name, layer, &[&format!("/{program}")]))
}
