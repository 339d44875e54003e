//! Sync's finalizer on a VirtualCluster: there before the first write, gone after the last removal.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use vcluster_resources::VirtualCluster;
use vcluster_resources::ownership::SYNC_FINALIZER;

use crate::deadline::{REQUEST, within};
use crate::tenant::Id;

/// How often a change of somebody else's in between is read anew.
const TRIES: usize = 8;

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
    let mut tries = TRIES;
    loop {
        let Some(cluster) = within(REQUEST, api.get_opt(&id.name)).await? else {
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
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        match within(REQUEST, api.patch(&id.name, &params, &patch)).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 && tries > 1 => tries -= 1,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use serde_json::Value;
    use vcluster_chassis::testing::{ApiServer, json as answer};

    use super::*;

    const LIVE: &str = "uid";

    fn id(uid: &str) -> Id {
        Id {
            uid: uid.to_owned(),
            namespace: "team-a".to_owned(),
            name: "demo".to_owned(),
        }
    }

    fn holding(finalizers: &[&str], deleting: bool) -> ApiServer {
        let mut cluster = json!({
            "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {
                "name": "demo", "namespace": "team-a", "uid": LIVE, "resourceVersion": "7",
                "finalizers": finalizers,
            },
            "spec": {},
        });
        if deleting {
            cluster["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        ApiServer::new(move |_call| -> Response<String> { answer(200, &cluster) })
    }

    fn patches(server: &ApiServer) -> Vec<Value> {
        let calls = server
            .calls()
            .into_iter()
            .filter(|call| call.method == "PATCH");
        calls.map(|call| call.body["metadata"].clone()).collect()
    }

    #[tokio::test]
    async fn it_is_added_beside_others_for_this_very_object_and_version() {
        let server = holding(&["vcluster.dev/control"], false);
        assert!(add(&server.client(), &id(LIVE)).await.unwrap());
        let wanted = json!({
            "uid": LIVE, "resourceVersion": "7",
            "finalizers": ["vcluster.dev/control", "vcluster.dev/sync"],
        });
        assert_eq!(patches(&server), [wanted]);
    }

    #[tokio::test]
    async fn it_is_not_added_to_what_is_deleted_or_another() {
        let server = holding(&[], true);
        assert!(!add(&server.client(), &id(LIVE)).await.unwrap());
        assert!(!add(&server.client(), &id("earlier")).await.unwrap());
        assert!(patches(&server).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_end_its_answer_is_not_waited_for_for_ever() {
        let server = crate::deadline::tests::stalling();
        assert!(add(&server, &id(LIVE)).await.is_err());
        assert!(remove(&server, &id(LIVE)).await.is_err());
    }

    #[tokio::test]
    async fn it_is_written_only_when_it_changes_something() {
        let there = holding(&["vcluster.dev/sync"], false);
        assert!(add(&there.client(), &id(LIVE)).await.unwrap());
        let gone = holding(&["vcluster.dev/control"], true);
        assert!(remove(&gone.client(), &id(LIVE)).await.unwrap());
        assert!(patches(&there).is_empty() && patches(&gone).is_empty());
        assert!(remove(&there.client(), &id(LIVE)).await.unwrap());
        assert_eq!(patches(&there)[0]["finalizers"], json!([]));
    }
}
