//! Prints the CustomResourceDefinitions as YAML, for the chart:
//! `cargo run -p vcluster-resources --example crds > deploy/chart/crds/virtualclusters.vcluster.dev.yaml`.

use std::io::{self, Write as _};

use kube::CustomResourceExt as _;
use vcluster_resources::VirtualCluster;

/// Says where the file comes from, because it is meant to be read and applied, never edited.
const HEADER: &str = "# Generated from services/resources/src/cluster.rs; do not edit. To make it anew:\n\
     # cargo run -p vcluster-resources --example crds > deploy/chart/crds/virtualclusters.vcluster.dev.yaml\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let yaml = serde_saphyr::to_string(&VirtualCluster::crd())?;
    write!(io::stdout().lock(), "{HEADER}{yaml}")?;
    Ok(())
}
