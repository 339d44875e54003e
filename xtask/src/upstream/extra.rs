//! The upstream projects of add-ons: built only for who asks for the add-on.
//!
//! Where they can, their go.mod files hold the libraries that they share with Kubernetes at Kubernetes'
//! versions, so that Go's build cache serves both.

use super::Project;
use crate::addon::AddOn;

const METRICS: [Project; 1] = [Project {
    folder: "metrics-server",
    module: "sigs.k8s.io/metrics-server",
    tags: "",
    binaries: &[(
        "metrics-server",
        "sigs.k8s.io/metrics-server/cmd/metrics-server",
    )],
    versioned: &[],
    mends: &[],
}];

/// Our own, where no upstream program can be built from Go modules. Its version is client-go's.
const OWN: [Project; 1] = [Project {
    folder: "dev-addons",
    module: "k8s.io/client-go",
    tags: "",
    binaries: &[("dev-addons", "vcluster.dev/dev-addons")],
    versioned: &[],
    mends: &[],
}];

/// The driver is ours, and upstream's sidecars drive it, the provisioner with a main of ours: one module, so that what they share is compiled once. Its
/// version is that of the module in which the definitions of snapshots lie.
const CSI: [Project; 1] = [Project {
    folder: "csi",
    module: "github.com/kubernetes-csi/external-snapshotter/client/v8",
    tags: "",
    binaries: &[
        ("csi-driver", "vcluster.dev/csi/driver"),
        ("csi-provisioner", "vcluster.dev/csi/provisioner"),
        (
            "csi-resizer",
            "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer",
        ),
        (
            "csi-snapshotter",
            "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter",
        ),
        (
            "snapshot-controller",
            "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
        ),
    ],
    versioned: &[],
    mends: &[],
}];

const CERT_MANAGER: [Project; 1] = [Project {
    folder: "cert-manager",
    module: "github.com/cert-manager/cert-manager",
    tags: "",
    binaries: &[
        (
            "cert-manager-controller",
            "github.com/cert-manager/cert-manager/cmd/controller",
        ),
        (
            "cert-manager-webhook",
            "github.com/cert-manager/cert-manager/cmd/webhook",
        ),
        (
            "cert-manager-cainjector",
            "github.com/cert-manager/cert-manager/cmd/cainjector",
        ),
    ],
    versioned: &[],
    mends: &[],
}];

/// What an add-on is built from.
pub(super) fn projects(addon: AddOn) -> &'static [Project] {
    match addon {
        // Needs nothing more, or a package of Debian's.
        AddOn::SecondNode | AddOn::DualStack | AddOn::Postgres => &[],
        AddOn::Metrics => &METRICS,
        AddOn::Policies | AddOn::Ingress => &OWN,
        AddOn::CertManager => &CERT_MANAGER,
        AddOn::Csi => &CSI,
    }
}
