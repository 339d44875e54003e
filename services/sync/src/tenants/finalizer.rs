//! Sync's finalizer on a VirtualCluster: there before the first write, gone after the last removal.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use vcluster_resources::VirtualCluster;
use vcluster_resources::ownership::SYNC_FINALIZER;

use crate::tenant::Id;

/// Puts the finalizer on. False if the VirtualCluster is gone, is being deleted, or is another one.
pub(super) async fn add(client: &Client, id: &Id) -> Result<bool, kube::Error> {
    edit(client, id, |cluster| {
        if cluster.metadata.deletion_timestamp.is_some() {
            return Edit::Impossible;
        }
        let mut finalizers = cluster.finalizers().to_vec();
        if finalizers
            .iter()
            .any(|finalizer| finalizer == SYNC_FINALIZER)
        {
            return Edit::Done;
        }
        finalizers.push(SYNC_FINALIZER.to_owned());
        Edit::To(finalizers)
    })
    .await
}

/// Takes the finalizer off. False if the VirtualCluster is gone or is another one.
pub(super) async fn remove(client: &Client, id: &Id) -> Result<bool, kube::Error> {
    edit(client, id, |cluster| {
        let mut finalizers = cluster.finalizers().to_vec();
        let before = finalizers.len();
        finalizers.retain(|finalizer| finalizer != SYNC_FINALIZER);
        if finalizers.len() == before {
            Edit::Done
        } else {
            Edit::To(finalizers)
        }
    })
    .await
}

enum Edit {
    Done,
    Impossible,
    To(Vec<String>),
}

async fn edit(
    client: &Client,
    id: &Id,
    edit: impl Fn(&VirtualCluster) -> Edit,
) -> Result<bool, kube::Error> {
    let api: Api<VirtualCluster> = Api::namespaced(client.clone(), &id.namespace);
    loop {
        let Some(cluster) = api.get_opt(&id.name).await? else {
            return Ok(false);
        };
        if cluster.uid().as_deref() != Some(&id.uid) {
            return Ok(false);
        }
        let finalizers = match edit(&cluster) {
            Edit::Done => return Ok(true),
            Edit::Impossible => return Ok(false),
            Edit::To(finalizers) => finalizers,
        };
        // The list is written as a whole: the version keeps us from undoing somebody else's change.
        let patch = json!({"metadata": {
            "uid": id.uid,
            "resourceVersion": cluster.metadata.resource_version,
            "finalizers": finalizers,
        }});
        match api
            .patch(&id.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
