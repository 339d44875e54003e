//! What becomes of a pod's volumes.

use serde_json::json;

use super::fate::{
    Fate, Row, dropped, host_access, moved, passes, rewritten, rows as rows_of, unsupported,
};
use crate::pod::ReferenceKind;

pub(super) fn rows() -> Vec<Row> {
    [contents(), references(), tokens(), refused()].concat()
}

const FILES: &str = "spec.volumes[].{configMap,secret,downwardAPI,projected.sources[].configMap,projected.sources[].secret,projected.sources[].downwardAPI}";

fn contents() -> Vec<Row> {
    let file = |field: &str| format!("{FILES}.items[].{field}");
    let downward = "spec.volumes[].{downwardAPI,projected.sources[].downwardAPI}.items[]";
    let named = "spec.volumes[].{configMap,secret,projected.sources[].configMap,projected.sources[].secret}";
    [
        passes("the pod's own name of it", &["spec.volumes[].name"]),
        passes(
            "lives and dies with the pod",
            &["spec.volumes[].emptyDir.{medium,mode,sizeLimit}"],
        ),
        passes(
            "the node pulls it with the pod's own Secrets",
            &["spec.volumes[].image.{pullPolicy,reference}"],
        ),
        passes(
            "how files look inside the pod",
            &[
                &file("{mode,path,user}"),
                "spec.volumes[].{configMap,secret,downwardAPI,projected}.{defaultMode,defaultUser}",
            ],
        ),
        passes(
            "within the object referred to",
            &[
                &format!("{named}.items[].key"),
                &format!("{named}.optional"),
            ],
        ),
        passes(
            "tells of the pod's own containers",
            &[
                &format!("{downward}.resourceFieldRef.{{containerName,divisor,resource}}"),
                &format!("{downward}.fieldRef.apiVersion"),
            ],
        ),
        rewritten(
            "told by annotations and labels that hold the virtual value",
            &[&format!("{downward}.fieldRef.fieldPath")],
            "metadata.namespace",
            "metadata.annotations['vcluster.dev/namespace']",
        ),
    ]
    .concat()
}

fn references() -> Vec<Row> {
    let to = |kind, paths| {
        rows_of(
            "an object of the pod's virtual namespace",
            &Fate::Reference(kind),
            paths,
        )
    };
    [
        to(
            ReferenceKind::ConfigMap,
            &["spec.volumes[].{configMap,projected.sources[].configMap}.name"],
        ),
        to(
            ReferenceKind::Secret,
            &[
                "spec.volumes[].secret.secretName",
                "spec.volumes[].projected.sources[].secret.name",
            ],
        ),
        to(
            ReferenceKind::PersistentVolumeClaim,
            &["spec.volumes[].persistentVolumeClaim.claimName"],
        ),
        passes(
            "how the pod itself uses the claim",
            &["spec.volumes[].persistentVolumeClaim.readOnly"],
        ),
        dropped(
            "the virtual cluster's own controller makes the claim, and the pod names that",
            &["spec.volumes[].ephemeral.**"],
        ),
    ]
    .concat()
}

/// Tokens come from the virtual API server, as files of a Secret.
fn tokens() -> Vec<Row> {
    let why = "the virtual API server issues it, and it is delivered as a Secret";
    let secret = "/spec/volumes/0/projected/sources/0/secret";
    let token = "spec.volumes[].projected.sources[].serviceAccountToken";
    let name: &'static str = format!("{secret}/name").leak();
    let path: &'static str = format!("{secret}/items/0/path").leak();
    let user: &'static str = format!("{secret}/items/0/user").leak();
    let named = "web-x-shop-x-demo.token";
    [
        moved(why, &[&format!("{token}.audience")], "a", name, named),
        moved(
            why,
            &[&format!("{token}.expirationSeconds")],
            600,
            name,
            named,
        ),
        moved(why, &[&format!("{token}.path")], "p", path, "p"),
        moved(why, &[&format!("{token}.user")], 1000, user, json!(1000)),
    ]
    .concat()
}

fn refused() -> Vec<Row> {
    [
        host_access("files of the node", &["spec.volumes[].hostPath.**"]),
        host_access(
            "reached with the rights or from the address of the node",
            &[
                "spec.volumes[].{awsElasticBlockStore,azureDisk,azureFile,cephfs,cinder,fc,flexVolume,flocker,gcePersistentDisk,gitRepo,glusterfs,iscsi,nfs,photonPersistentDisk,portworxVolume,quobyte,rbd,scaleIO,storageos,vsphereVolume}.**",
            ],
        ),
        unsupported(
            "their objects are not translated",
            &[
                "spec.volumes[].csi.**",
                "spec.volumes[].projected.sources[].{clusterTrustBundle,podCertificate}.**",
            ],
        ),
    ]
    .concat()
}
