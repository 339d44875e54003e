//! What a cluster can be asked to have beyond DNS and a StorageClass. Pure.

use serde::{Deserialize, Serialize};

/// One of them. In the order in which they are built and started: what the next run on first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum AddOn {
    /// A second node, tainted `vcluster.dev/second-node` so that only who asks for it gets on it
    SecondNode,
    /// IPv6 beside IPv4, for nodes, pods and Services: only a new cluster can be made so
    DualStack,
    /// A metrics server, for `kubectl top` and autoscaling
    Metrics,
    /// An enforcer of NetworkPolicies
    Policies,
    /// An ingress controller, for Ingresses of the class `dev`
    Ingress,
    /// Images and chart of cert-manager, to be installed in virtual clusters
    CertManager,
    /// The image of PostgreSQL, to be run in virtual clusters
    Postgres,
    /// A CSI driver whose volumes grow and have snapshots, for claims of the class `csi`
    Csi,
}

impl AddOn {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SecondNode,
        Self::DualStack,
        Self::Metrics,
        Self::Policies,
        Self::Ingress,
        Self::CertManager,
        Self::Postgres,
        Self::Csi,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecondNode => "second-node",
            Self::DualStack => "dual-stack",
            Self::Metrics => "metrics",
            Self::Policies => "policies",
            Self::Ingress => "ingress",
            Self::CertManager => "cert-manager",
            Self::Postgres => "postgres",
            Self::Csi => "csi",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn the_record_and_the_command_line_use_the_same_word() {
        for addon in AddOn::ALL {
            let value = addon.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), addon.name());
            let recorded = serde_json::to_value(addon).expect("JSON");
            assert_eq!(recorded, addon.name());
        }
        assert_eq!(AddOn::value_variants(), AddOn::ALL);
    }
}
