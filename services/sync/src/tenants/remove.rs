//! Removing what was translated for a virtual cluster that is being deleted.
//!
//! By the tenant's own identity, object by object, each by its UID and only if its annotations name this very
//! cluster. Labels find nothing here, because somebody may have taken them off: all that is in the namespace is
//! listed, by metadata only, page by page. The virtual API server is not asked: what is ours is known by the host's annotations. Where our
//! right to delete has gone already (the ServiceAccount, or the namespace itself, is being removed), whoever
//! removed it is removing the objects too: then sync only waits until they are gone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;
use vcluster_resources::label::{self, Part};
use vcluster_translate::custom::Kinds;
use vcluster_translate::environment;

use super::finalizer;
use crate::engine::Engine;
use crate::guard::{self, Guard};
use crate::object::{Kind, Object, resource};
use crate::tenant::Id;
use crate::tenant_token::{self, TenantToken};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a missing right is waited for. Afterwards the garbage collector removes what is left, because
/// everything is owned by the VirtualCluster.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Objects per page of a list.
const PAGE: u32 = 250;

/// An object without its content, which may be a Secret's.
type Metadata = PartialObjectMeta<Object>;

/// What is left after a try.
enum Left {
    Nothing,
    /// So many objects, which are ending.
    Some(usize),
    /// Nobody lets us look or delete.
    NoRight(String),
}

/// Removes everything and takes the finalizer off. Returns when that is done, or on an error after a pause, to
/// be called again.
pub(super) async fn everything(engine: &Arc<Engine>, id: &Id, custom: &Kinds) {
    tracing::info!(tenant = %id, "translated objects are removed");
    let _draining = engine.drains();
    let own = engine.host.own.request.clone();
    let token = TenantToken::new(&id.namespace, own.clone(), Arc::clone(&engine.clock));
    let tenant = engine.host.tenant(Arc::new(token), &Arc::default());
    let begun = Instant::now();
    loop {
        match once(&tenant, id, custom).await {
            Ok(Left::Nothing) => break,
            Ok(Left::Some(count)) => tracing::debug!(tenant = %id, count, "objects are ending"),
            Ok(Left::NoRight(why)) => match without_right(&own, id).await {
                Ok(0) => break,
                Ok(count) if begun.elapsed() > PATIENCE && !is_terminating(&own, id).await => {
                    tracing::warn!(tenant = %id, count, why, "left to the garbage collector");
                    break;
                }
                Ok(count) => tracing::debug!(tenant = %id, count, why, "waits for pods to vanish"),
                Err(error) => tracing::warn!(tenant = %id, %error, "cannot look for pods"),
            },
            Err(error) => tracing::warn!(tenant = %id, %error, "removal is tried again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    match finalizer::remove(&own, id).await {
        Ok(_) => tracing::info!(tenant = %id, "finalizer is taken off"),
        Err(error) => tracing::warn!(tenant = %id, %error, "finalizer is taken off later"),
    }
    tokio::time::sleep(PAUSE).await;
}

/// Deletes what is there; pods first, because they use the rest.
async fn once(tenant: &Client, id: &Id, custom: &Kinds) -> Result<Left, kube::Error> {
    let pods = sweep(tenant, id, Kind::Pod).await?;
    if !guard::passes(Guard::PodsFirst, matches!(pods, Left::Nothing)) {
        return Ok(pods);
    }
    let mut left = 0;
    for kind in Kind::all().filter(|kind| kind.is_translated() && *kind != Kind::Pod) {
        match sweep(tenant, id, kind).await? {
            Left::Nothing => {}
            Left::Some(count) => left += count,
            none @ Left::NoRight(_) => return Ok(none),
        }
    }
    let custom = custom.iter().map(|synced| Kind::Custom(synced.kind));
    for kind in custom.filter(|kind| kind.is_translated()) {
        match sweep(tenant, id, kind).await? {
            Left::Nothing => {}
            Left::Some(count) => left += count,
            // Not allowed any more: the garbage collector removes them with the VirtualCluster, which owns them.
            Left::NoRight(why) => {
                tracing::warn!(tenant = %id, %kind, why, "left to the garbage collector");
            }
        }
    }
    Ok(if left == 0 {
        Left::Nothing
    } else {
        Left::Some(left)
    })
}

/// Deletes what is there of one kind. One that may not be deleted keeps none of the others.
async fn sweep(tenant: &Client, id: &Id, kind: Kind) -> Result<Left, kube::Error> {
    let all = match translated(tenant, id, kind).await {
        Ok(all) => all,
        // The host does not serve the kind.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Left::Nothing),
        Err(error) => return no_right(error),
    };
    let api = api(tenant, id, kind);
    let mut refused = None;
    let ending = |object: &&Metadata| object.metadata.deletion_timestamp.is_some();
    for object in all.iter().filter(|object| !ending(object)) {
        match timed(api.delete(&object.name_any(), &precisely(object))).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => refused = Some(no_right(error)?),
        }
    }
    Ok(match (refused, all.len()) {
        (Some(no_right), _) => no_right,
        (None, 0) => Left::Nothing,
        (None, left) => Left::Some(left),
    })
}

/// Metadata of everything of one kind that was translated for this cluster.
async fn translated(client: &Client, id: &Id, kind: Kind) -> Result<Vec<Metadata>, kube::Error> {
    let api = api(client, id, kind);
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let list = timed(api.list_metadata(&params)).await?;
        let ours = |object: &Metadata| is_of(object, id, kind);
        found.extend(list.items.into_iter().filter(ours));
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(found),
        }
    }
}

fn precisely(object: &Metadata) -> DeleteParams {
    DeleteParams::background().preconditions(Preconditions {
        uid: Some(object.uid().unwrap_or_default()),
        resource_version: None,
    })
}

/// Whether it was translated for this cluster, by its annotations. The control plane's objects name the cluster
/// too, but no virtual kind; they are control's. The ConfigMaps that we add name none either.
fn is_of(object: &Metadata, id: &Id, kind: Kind) -> bool {
    let annotation = |key| object.annotations().get(key).map(String::as_str);
    let part = object.labels().get(label::PART).map(String::as_str);
    let is_control = part == Some(Part::ControlPlane.as_str());
    let added = kind == Kind::ConfigMap && environment::is_named(&object.name_any());
    let translated = annotation(label::VIRTUAL_KIND).is_some() || added;
    annotation(label::CLUSTER_UID) == Some(&id.uid) && translated && !is_control
}

/// Our token is refused, or cannot be had: somebody has taken the tenant's rights away.
fn no_right(error: kube::Error) -> Result<Left, kube::Error> {
    if let kube::Error::Api(status) = &error
        && matches!(status.code, 401 | 403 | 404)
    {
        return Ok(Left::NoRight(status.message.clone()));
    }
    match tenant_token::Error::of(&error) {
        Some(gone @ (tenant_token::Error::Gone { .. } | tenant_token::Error::Refused { .. })) => {
            Ok(Left::NoRight(gone.to_string()))
        }
        Some(tenant_token::Error::Unavailable { .. }) | None => Err(error),
    }
}

/// Pods of ours that are still there, as sync's own account sees them.
async fn without_right(own: &Client, id: &Id) -> Result<usize, kube::Error> {
    Ok(translated(own, id, Kind::Pod).await?.len())
}

/// Whether the host namespace is being removed. When it cannot be found out, it is taken to be.
async fn is_terminating(own: &Client, id: &Id) -> bool {
    let api: Api<Namespace> = Api::all(own.clone());
    match timed(api.get_opt(&id.namespace)).await {
        Ok(Some(namespace)) => namespace.metadata.deletion_timestamp.is_some(),
        Ok(None) | Err(_) => true,
    }
}

fn api(client: &Client, id: &Id, kind: Kind) -> Api<Object> {
    Api::namespaced_with(client.clone(), &id.namespace, &resource(kind))
}

async fn timed<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    tokio::time::timeout(DEADLINE, request)
        .await
        .unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use vcluster_chassis::testing::json as answer;

    use super::*;
    use crate::testing::{Store, status};

    fn id() -> Id {
        Id {
            uid: "cluster-uid".to_owned(),
            namespace: "team-a".to_owned(),
            name: "demo".to_owned(),
        }
    }

    fn object(name: &str, cluster: &str) -> Value {
        json!({"metadata": {
            "namespace": "team-a", "name": name, "uid": name,
            "annotations": {label::CLUSTER_UID: cluster, label::VIRTUAL_KIND: "Pod"},
        }})
    }

    #[tokio::test]
    async fn pods_go_first_then_the_rest_and_strangers_stay() {
        let host = Store::new("h");
        for (kind, name) in [
            (Kind::Pod, "pod"),
            (Kind::Secret, "secret"),
            (Kind::ConfigMap, "map"),
        ] {
            host.put(kind, object(name, "cluster-uid"));
            host.put(kind, object(&format!("{name}-of-another"), "another"));
        }
        let client = host.client();
        let deletes = || {
            let mut calls = host.take_calls();
            calls.retain(|call| call.starts_with("DELETE"));
            calls
        };
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Some(1)
        ));
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Some(1)
        ));
        assert_eq!(
            deletes(),
            ["DELETE /api/v1/namespaces/team-a/pods/pod"],
            "it ends gracefully"
        );
        host.lose(Kind::Pod, "team-a", "pod");
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Some(2)
        ));
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Nothing
        ));
        assert_eq!(
            deletes(),
            [
                "DELETE /api/v1/namespaces/team-a/secrets/secret",
                "DELETE /api/v1/namespaces/team-a/configmaps/map",
            ]
        );
    }

    #[tokio::test]
    async fn strangers_that_fill_a_page_hide_nothing_and_hold_nothing_up() {
        let host = Store::new("h");
        let page = |name: &str, cluster: &str, next: &str| {
            let metadata = json!({"resourceVersion": "1", "continue": next});
            answer(
                200,
                json!({"metadata": metadata, "items": [object(name, cluster)]}),
            )
        };
        let on_last = |cluster: &'static str| {
            host.script(move |call| {
                match (call.method.as_str(), call.query.contains("continue=more")) {
                    ("GET", false) => Some(page("stranger", "another", "more")),
                    ("GET", true) => Some(page("last", cluster, "")),
                    _ => Some(answer(200, json!({"kind": "Status", "status": "Success"}))),
                }
            });
        };
        on_last("another");
        let client = host.client();
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Nothing
        ));
        host.take_calls();
        on_last("cluster-uid");
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Some(1)
        ));
        let mut calls = host.take_calls();
        calls.retain(|call| call.starts_with("DELETE"));
        assert_eq!(calls, ["DELETE /api/v1/namespaces/team-a/pods/last"]);
    }

    #[tokio::test]
    async fn what_lost_its_labels_is_found_and_the_control_plane_is_left_to_control() {
        let host = Store::new("h");
        let with = |mut object: Value, kind: &str, part: Option<&str>| {
            object["metadata"]["annotations"][label::VIRTUAL_KIND] = kind.into();
            if kind.is_empty() {
                object["metadata"]["annotations"] = json!({label::CLUSTER_UID: "cluster-uid"});
            }
            if let Some(part) = part {
                object["metadata"]["labels"] = json!({label::PART: part});
            }
            object
        };
        let control = Some(Part::ControlPlane.as_str());
        host.put(
            Kind::Secret,
            with(object("vcluster-pki", "cluster-uid"), "", control),
        );
        host.put(
            Kind::Secret,
            with(object("vcluster-sync", "cluster-uid"), "", None),
        );
        host.put(Kind::Pod, with(object("demo-0", "cluster-uid"), "", None));
        host.put(
            Kind::Secret,
            with(object("hidden", "cluster-uid"), "Secret", None),
        );
        host.put(
            Kind::ConfigMap,
            with(object(environment::CONFIG_MAP, "cluster-uid"), "", None),
        );
        let client = host.client();
        assert!(matches!(
            once(&client, &id(), &Kinds::default()).await.unwrap(),
            Left::Some(2)
        ));
        let mut calls = host.take_calls();
        calls.retain(|call| call.starts_with("DELETE"));
        assert_eq!(
            calls,
            [
                "DELETE /api/v1/namespaces/team-a/secrets/hidden",
                "DELETE /api/v1/namespaces/team-a/configmaps/vcluster-env",
            ]
        );
    }

    #[tokio::test]
    async fn one_object_that_may_not_be_deleted_keeps_none_of_the_others() {
        let host = Store::new("h");
        for name in ["a-refused", "b"] {
            host.put(Kind::ConfigMap, object(name, "cluster-uid"));
        }
        host.script(|call| {
            let refused = call.method == "DELETE" && call.path.ends_with("a-refused");
            refused.then(|| status(403, "Forbidden"))
        });
        let left = once(&host.client(), &id(), &Kinds::default()).await;
        assert!(matches!(left, Ok(Left::NoRight(_))));
        assert!(host.get(Kind::ConfigMap, "team-a", "b").is_none());
        assert_eq!(without_right(&host.client(), &id()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_right_that_was_taken_away_is_told_from_a_server_that_is_not_there() {
        let host = Store::new("h");
        host.script(|_call| Some(status(403, "Forbidden")));
        assert!(matches!(
            once(&host.client(), &id(), &Kinds::default()).await,
            Ok(Left::NoRight(_))
        ));
        host.script(|_call| Some(status(503, "ServiceUnavailable")));
        assert!(
            once(&host.client(), &id(), &Kinds::default())
                .await
                .is_err()
        );
    }
}
