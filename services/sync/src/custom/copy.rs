//! The copy of a CustomResourceDefinition inside a virtual cluster, kept as the host's is.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::Value;
use vcluster_chassis::retry::Policy;
use vcluster_resources::ownership::SYNC_FROM_HOST;
use vcluster_translate::custom::definition::{self, Learnt, Step};
use vcluster_translate::patch::Format;

use super::definitions::COLLECTION;
use crate::apply::with_causes;
use crate::deadline::{REQUEST, within};
use crate::object::Kind;
use crate::tenant::Tenant;

/// Delays while a definition is being taken up.
pub(super) const RETRY: Policy = Policy {
    base: Duration::from_millis(200),
    factor: 1.5,
    cap: Duration::from_secs(10),
};
/// After so many of them it takes longer than it should.
pub(super) const SOON: u32 = 20;

/// How a definition is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// As a copy of the host's.
    Copied,
    /// As the tenant's own.
    Own,
}

/// Why it is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the virtual API server has not taken up its definition yet")]
    Wait,
    #[error(
        "the virtual cluster has a definition of this name of its own, which does not serve this kind in this version: \
         sync does not touch it"
    )]
    Unfit,
    #[error("its definition inside cannot be written: {0}")]
    Request(String),
}

/// Has it there, and served.
pub(super) async fn ensure(tenant: &Tenant, learnt: &Learnt) -> Result<There, Error> {
    let name = learnt.identity.definition();
    let path = format!("{COLLECTION}/{name}");
    let found = match send(tenant, Method::GET, &path, None).await {
        Ok(found) => Some(found),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(failed(&error)),
    };
    let step = definition::step(found.as_ref(), learnt, &tenant.context.cluster_uid);
    drop(found);
    match step {
        Step::Ready => Ok(There::Copied),
        Step::Own => Ok(There::Own),
        Step::Unfit => Err(Error::Unfit),
        Step::Wait => Err(Error::Wait),
        Step::Create(copy) => {
            let made = send(tenant, Method::POST, COLLECTION, Some(&copy)).await;
            made.map_err(|error| failed(&error))?;
            tracing::info!(tenant = %tenant.id, definition = name, "definition is copied from the host");
            Err(Error::Wait)
        }
        Step::Patch(patch) => {
            let patched = send(tenant, Method::PATCH, &path, Some(&patch.body)).await;
            // What an older API server leaves out of it will not come by sending it again.
            if definition::is_established(&patched.map_err(|error| failed(&error))?) {
                Ok(There::Copied)
            } else {
                Err(Error::Wait)
            }
        }
    }
}

/// Whether the kind is served inside: a moment later than its definition says.
pub(super) async fn is_served(tenant: &Tenant, kind: Kind) -> Result<bool, Error> {
    let api = kind.description().api;
    let path = format!("/apis/{}/{}?limit=1", api.version(), api.plural);
    match send(tenant, Method::GET, &path, None).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &kube::Error) -> Error {
    Error::Request(with_causes(error))
}

async fn send(
    tenant: &Tenant,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, kube::Error> {
    let is_read = method == Method::GET;
    let uri = if is_read {
        path.to_owned()
    } else {
        format!("{path}?fieldManager={SYNC_FROM_HOST}")
    };
    let media = if method == Method::PATCH {
        Format::Merge.content_type()
    } else {
        "application/json"
    };
    if !is_read {
        tenant.virtual_writes.take().await;
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(CONTENT_TYPE, media);
    let request = request.body(body.into_bytes());
    let request = request.map_err(kube::Error::HttpError)?;
    let client = &tenant.clients.virtual_.request;
    within(REQUEST, client.request(request)).await
}

#[cfg(test)]
mod tests;
