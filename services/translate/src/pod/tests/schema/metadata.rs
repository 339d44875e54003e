//! What becomes of a pod's metadata.

use serde_json::json;

use super::fate::{Row, dropped, moved, rewritten};

pub(super) fn rows() -> Vec<Row> {
    [
        rewritten(
            "unique in the host namespace",
            &["metadata.name"],
            "web",
            "web-x-shop-x-demo",
        ),
        rewritten(
            "all pods share the host namespace",
            &["metadata.namespace"],
            "shop",
            "team-a",
        ),
        moved(
            "under a prefix of ours, so that no selector of the host meets it",
            &["metadata.labels{}"],
            "v",
            "/metadata/labels/label.vcluster.dev~1k",
            "v",
        ),
        moved(
            "its own is the host's to give",
            &["metadata.uid"],
            "u",
            "/metadata/annotations/vcluster.dev~1uid",
            "u",
        ),
        moved(
            "the VirtualCluster controls it, so that no controller of the host adopts it",
            &["metadata.ownerReferences[].kind"],
            "ReplicaSet",
            "/metadata/ownerReferences/0/kind",
            "VirtualCluster",
        ),
        moved(
            "as above",
            &["metadata.ownerReferences[].name"],
            "web",
            "/metadata/ownerReferences/0/name",
            "demo",
        ),
        moved(
            "as above",
            &["metadata.ownerReferences[].apiVersion"],
            "apps/v1",
            "/metadata/ownerReferences/0/apiVersion",
            "vcluster.dev/v1alpha1",
        ),
        moved(
            "as above",
            &["metadata.ownerReferences[].uid"],
            "1",
            "/metadata/ownerReferences/0/uid",
            "c0ffee00-0000-4000-8000-000000000001",
        ),
        moved(
            "as above",
            &["metadata.ownerReferences[].controller"],
            false,
            "/metadata/ownerReferences/0/controller",
            true,
        ),
        moved(
            "as above",
            &["metadata.ownerReferences[].blockOwnerDeletion"],
            true,
            "/metadata/ownerReferences/0/blockOwnerDeletion",
            false,
        ),
        moved(
            "acts on the host if anything there reads it: those of a short list pass",
            &["metadata.annotations{}"],
            "v",
            "/metadata/annotations/k",
            json!(null),
        ),
        dropped(
            "each side keeps its own",
            &[
                "metadata.creationTimestamp",
                "metadata.deletionGracePeriodSeconds",
                "metadata.deletionTimestamp",
                "metadata.generation",
                "metadata.managedFields[].**",
                "metadata.resourceVersion",
                "metadata.selfLink",
            ],
        ),
        dropped("the name is already made", &["metadata.generateName"]),
        dropped(
            "the virtual cluster alone acts on it",
            &["metadata.finalizers[]"],
        ),
    ]
    .concat()
}
