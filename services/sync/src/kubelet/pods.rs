//! A pod on both sides, as it is now.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::Value;
use vcluster_translate::name;
use vcluster_translate::reach::{self, Asked, Unreachable};

use super::access::Access;
use crate::apply::with_causes;
use crate::reply::{Kind, Refusal};

/// How long reading a pod may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A pod that may be reached.
#[derive(Debug)]
pub(super) struct Pods {
    /// In the virtual cluster.
    pub(super) inside: Value,
    /// On the host.
    pub(super) host: Value,
    /// Its name there.
    pub(super) host_name: String,
}

/// Why a pod cannot be reached.
#[derive(Debug)]
pub(super) enum Error {
    /// The virtual cluster has none.
    NotInside,
    /// The host has none.
    NotOnHost,
    /// It, or its container, may not.
    Unreachable(Unreachable),
    /// The virtual API server cannot be asked.
    VirtualFailed,
    /// The host cannot be asked.
    HostFailed,
    /// The host does not let the tenant's ServiceAccount.
    HostRefused,
}

impl Error {
    /// Whether what was known of the tenant may be wrong.
    pub(super) fn doubts_access(&self) -> bool {
        match self {
            Self::VirtualFailed | Self::HostFailed | Self::HostRefused => true,
            Self::NotInside | Self::NotOnHost | Self::Unreachable(_) => false,
        }
    }

    /// What the client is told.
    pub(super) fn refusal(&self, asked: &Asked) -> Refusal {
        let Asked { namespace, pod, .. } = asked;
        let (kind, message) = match self {
            Self::NotInside => (
                Kind::NotFound,
                format!("pods {pod:?} not found in namespace {namespace:?}"),
            ),
            Self::NotOnHost => (
                Kind::NotFound,
                format!(
                    "pod {pod:?} of namespace {namespace:?} is not on a node of the host: look at its events"
                ),
            ),
            Self::Unreachable(Unreachable::NoContainer) => (
                Kind::NotFound,
                format!(
                    "container {:?} not found in pod {pod:?}",
                    asked.container.as_deref().unwrap_or_default()
                ),
            ),
            Self::Unreachable(why @ Unreachable::NotOurs) => (
                Kind::Forbidden,
                format!("pod {pod:?} of namespace {namespace:?} cannot be reached: {why}"),
            ),
            Self::Unreachable(why @ (Unreachable::OtherPod | Unreachable::Former)) => (
                Kind::NotFound,
                format!("pod {pod:?} of namespace {namespace:?} cannot be reached: {why}"),
            ),
            Self::VirtualFailed => (
                Kind::Unavailable,
                "the virtual cluster's API server cannot be asked for the pod".to_owned(),
            ),
            Self::HostFailed => (
                Kind::Unavailable,
                "the host's API server cannot be asked for the pod".to_owned(),
            ),
            Self::HostRefused => (
                Kind::Internal,
                "the host does not let sync act for this virtual cluster: tell its administrators"
                    .to_owned(),
            ),
        };
        Refusal::new(kind, message)
    }
}

/// Reads a pod on both sides and decides whether it may be reached.
pub(super) async fn read(access: &Access, asked: &Asked) -> Result<Pods, Error> {
    let host_name = name::of_pod(&asked.namespace, &asked.pod, &access.tenant);
    let (inside, host) = tokio::join!(
        get(&access.virtual_, &asked.namespace, &asked.pod),
        get(&access.host, access.tenant.namespace.as_str(), &host_name),
    );
    let inside = inside.map_err(|error| {
        tracing::warn!(tenant = %access.tenant, error = with_causes(&error), "virtual pod cannot be read");
        Error::VirtualFailed
    })?;
    let inside = inside.ok_or(Error::NotInside)?;
    let host = match host {
        Ok(host) => host.ok_or(Error::NotOnHost)?,
        Err(Failure::Api(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            tracing::warn!(tenant = %access.tenant, message = status.message, "host refuses a pod");
            return Err(Error::HostRefused);
        }
        Err(error) => {
            tracing::warn!(tenant = %access.tenant, error = with_causes(&error), "host pod cannot be read");
            return Err(Error::HostFailed);
        }
    };
    reach::decide(asked, &inside, &host, &access.tenant).map_err(Error::Unreachable)?;
    Ok(Pods {
        inside,
        host,
        host_name,
    })
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the API server did not answer as it should")]
    Api(#[source] kube::Error),
    #[error("the API server did not answer in time")]
    Late,
}

async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| Failure::Api(kube::Error::HttpError(error)))?;
    let answer = tokio::time::timeout(DEADLINE, client.request::<Value>(request)).await;
    match answer {
        Ok(Ok(pod)) => Ok(Some(pod)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(Failure::Api(error)),
        Err(_elapsed) => Err(Failure::Late),
    }
}
