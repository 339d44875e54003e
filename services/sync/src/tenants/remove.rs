//! Removing what was translated for a virtual cluster that is being deleted.
//!
//! Also what rules for custom resources had made that are gone by now: every kind is looked through that may be written.
//! By the tenant's own identity, object by object, each by its UID and only if its annotations name this very
//! cluster. Labels find nothing here, because somebody may have taken them off: all that is in the namespace is
//! listed, by metadata only, page by page. The virtual API server is not asked: what is ours is known by the host's annotations. Where our
//! right to delete has gone already (the ServiceAccount, or the namespace itself, is being removed), whoever
//! removed it is removing the objects too: then sync only waits until they are gone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;
use vcluster_chassis::retry::Policy;
use vcluster_resources::label::{self, Part};
use vcluster_translate::environment;

use super::finalizer;
use crate::deadline::within;
use crate::engine::Engine;
use crate::guard::{self, Guard};
use crate::object::{Kind, Object, resource};
use crate::own_classes;
use crate::tenant::Id;
use crate::tenant_token::{self, TenantToken};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Pauses after failures.
const RETRY: Policy = Policy {
    base: PAUSE,
    factor: 2.0,
    cap: Duration::from_secs(30),
};
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

/// Failures in a row, each reason of which is logged once.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    said: String,
}

impl Failures {
    /// Waits longer with each failure.
    async fn pause(&mut self, id: &Id, error: &(dyn fmt::Display + Sync)) {
        let error = error.to_string();
        if error != self.said {
            tracing::warn!(tenant = %id, error, "removal is tried again");
            self.said = error;
        }
        tokio::time::sleep(RETRY.delay(self.count).max(PAUSE)).await;
        self.count = self.count.saturating_add(1);
    }
}

/// Removes everything and takes the finalizer off. Returns when that is done, or on an error after a pause, to
/// be called again.
pub(super) async fn everything(engine: &Arc<Engine>, id: &Id, custom: &[Kind]) {
    tracing::info!(tenant = %id, "translated objects are removed");
    let _draining = engine.drains();
    let own = engine.host.own.request.clone();
    let token = TenantToken::new(&id.namespace, own.clone(), Arc::clone(&engine.clock));
    let tenant = engine.host.tenant(Arc::new(token), &Arc::default());
    until_nothing_is_left(&tenant, &own, id, custom).await;
    classes(&own, id).await;
    match finalizer::remove(&own, id).await {
        Ok(_) => tracing::info!(tenant = %id, "finalizer is taken off"),
        Err(error) => tracing::warn!(tenant = %id, %error, "finalizer is taken off later"),
    }
    tokio::time::sleep(PAUSE).await;
}

/// Removes its classes, which nobody else does: they live in no namespace, and nothing can own them.
async fn classes(own: &Client, id: &Id) {
    let mut failures = Failures::default();
    loop {
        match own_classes::sweep(own, id).await {
            Ok(()) => return,
            Err(error @ own_classes::Error::NoRight(_)) => {
                tracing::warn!(tenant = %id, %error, "its classes stay on the host: sync may not delete them");
                return;
            }
            Err(error @ (own_classes::Error::Failed(_) | own_classes::Error::Refused(_))) => {
                failures.pause(id, &error).await;
            }
        }
    }
}

/// Removes everything, by the tenant's identity; or gives up where that has lost its right to for good.
async fn until_nothing_is_left(tenant: &Client, own: &Client, id: &Id, custom: &[Kind]) {
    // Since when the right is missing. A webhook may refuse once, and a role may be made anew.
    let mut missing: Option<Instant> = None;
    let mut failures = Failures::default();
    loop {
        let left = once(tenant, id, custom).await;
        missing = match &left {
            Ok(Left::NoRight(_)) => missing.or_else(|| Some(Instant::now())),
            Ok(Left::Nothing | Left::Some(_)) | Err(_) => None,
        };
        match left {
            Ok(Left::Nothing) => return,
            Ok(Left::Some(count)) => tracing::debug!(tenant = %id, count, "objects are ending"),
            Ok(Left::NoRight(why)) => match without_right(own, id).await {
                Ok(pods) if is_hopeless(pods, missing, namespace(own, id).await) => {
                    tracing::warn!(tenant = %id, pods, why, "left to the garbage collector");
                    return;
                }
                Ok(pods) => tracing::debug!(tenant = %id, pods, why, "waits for the right"),
                Err(error) => tracing::warn!(tenant = %id, %error, "cannot look for pods"),
            },
            Err(error) => {
                failures.pause(id, &error).await;
                continue;
            }
        }
        failures = Failures::default();
        tokio::time::sleep(PAUSE).await;
    }
}

/// How the host namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Live,
    /// It is being removed, and everything in it.
    Ending,
    Unknown,
}

/// Whether nothing is to be gained by waiting for a right that has been missing since then. While a namespace ends,
/// its pods are ended by others: they are waited for, and nothing else.
fn is_hopeless(pods: usize, missing: Option<Instant>, namespace: Namespace) -> bool {
    let for_long = missing.is_some_and(|since| since.elapsed() > PATIENCE);
    match (pods, namespace) {
        (0, Namespace::Ending) => true,
        (0, Namespace::Live | Namespace::Unknown) | (_, Namespace::Live) => for_long,
        (_, Namespace::Ending | Namespace::Unknown) => false,
    }
}

/// Deletes what is there; pods first, because they use the rest.
async fn once(tenant: &Client, id: &Id, custom: &[Kind]) -> Result<Left, kube::Error> {
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
    for kind in custom.iter().copied() {
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
        match within(DEADLINE, api.delete(&object.name_any(), &precisely(object))).await {
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
        let list = within(DEADLINE, api.list_metadata(&params)).await?;
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

/// What we may not do, or no token can be had for: somebody has taken the tenant's rights away. A token that is refused
/// (401) says nothing of rights: another is asked for at the next try.
fn no_right(error: kube::Error) -> Result<Left, kube::Error> {
    if let kube::Error::Api(status) = &error
        && matches!(status.code, 403 | 404)
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

async fn namespace(own: &Client, id: &Id) -> Namespace {
    let api: Api<core::Namespace> = Api::all(own.clone());
    match within(DEADLINE, api.get_opt(&id.namespace)).await {
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => Namespace::Ending,
        Ok(Some(_)) => Namespace::Live,
        Ok(None) => Namespace::Ending,
        Err(_) => Namespace::Unknown,
    }
}

fn api(client: &Client, id: &Id, kind: Kind) -> Api<Object> {
    Api::namespaced_with(client.clone(), &id.namespace, &resource(kind))
}

#[cfg(test)]
mod tests;
