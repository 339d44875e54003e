//! The chart installs the definition that this crate has, not an older one.

use kube::CustomResourceExt as _;
use vcluster_resources::VirtualCluster;

const COMMAND: &str = "cargo run -p vcluster-resources --example crds \
     > deploy/chart/crds/virtualclusters.vcluster.dev.yaml";

#[test]
fn the_chart_holds_the_generated_definition() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/chart/crds/virtualclusters.vcluster.dev.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let generated = serde_saphyr::to_string(&VirtualCluster::crd()).expect("a definition is YAML");
    // The comment above the document is for people.
    let chart = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>();
    let generated = generated.lines().collect::<Vec<_>>();
    assert!(
        chart == generated,
        "deploy/chart/crds is not what the types say. From the root of the repository, run\n{COMMAND}"
    );
}
