//! Sync's credential for a virtual API server: one Secret in the host namespace, read by name.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use vcluster_chassis::tls::{self, Identity, Live, Publisher, Roots};
use vcluster_resources::layout::{
    CA_CERT, FRONT_PROXY_CA_CERT, PLATFORM_CA_CERT, SYNC_SECRET, TLS_CERT, TLS_KEY,
};

use crate::deadline::{REQUEST, within};

/// The credential cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The Secret cannot be read.
    #[error("cannot read Secret {SYNC_SECRET}: {0}")]
    Read(#[from] Box<kube::Error>),
    /// It lacks a key.
    #[error("the Secret {SYNC_SECRET} has no key {0}")]
    Missing(&'static str),
    /// Its content cannot be used.
    #[error("the Secret {SYNC_SECRET} cannot be used: {0}")]
    Content(#[from] tls::Error),
}

/// The credential, as it is now and as it will be.
pub(crate) struct Credentials {
    client: Client,
    namespace: String,
    version: Option<String>,
    identity: (Publisher<Identity>, Live<Identity>),
    roots: (Publisher<Roots>, Live<Roots>),
    front_proxy: Option<Roots>,
}

/// What the Secret holds.
struct Content {
    version: Option<String>,
    identity: Identity,
    roots: Roots,
    front_proxy: Option<Roots>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads it.
    pub(crate) async fn read(client: Client, namespace: &str) -> Result<Self, Error> {
        let content = read(&client, namespace).await?;
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            version: content.version,
            identity: Live::channel(content.identity),
            roots: Live::channel(content.roots),
            front_proxy: content.front_proxy,
        })
    }

    /// What connections are made with.
    pub(crate) fn live(&self) -> (Live<Roots>, Live<Identity>) {
        (self.roots.1.clone(), self.identity.1.clone())
    }

    /// The authority of the virtual API server's certificate towards aggregated API servers; none if control is
    /// older.
    pub(crate) fn front_proxy(&self) -> Option<&Roots> {
        self.front_proxy.as_ref()
    }

    /// Reads it again; new connections use what has changed.
    pub(crate) async fn refresh(&mut self) -> Result<(), Error> {
        let content = read(&self.client, &self.namespace).await?;
        if content.version != self.version {
            self.version = content.version;
            self.identity.0.publish(content.identity);
            self.roots.0.publish(content.roots);
            self.front_proxy = content.front_proxy;
            tracing::info!(namespace = self.namespace, "credential has changed");
        }
        Ok(())
    }
}

/// The authority by which the virtual API server knows sync, PEM; none if control is older.
pub(crate) async fn platform_authority(
    client: &Client,
    namespace: &str,
) -> Result<Option<String>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = within(REQUEST, api.get(SYNC_SECRET))
        .await
        .map_err(Box::new)?;
    let found = secret
        .data
        .and_then(|mut data| data.remove(PLATFORM_CA_CERT));
    Ok(found.and_then(|pem| String::from_utf8(pem.0).ok()))
}

async fn read(client: &Client, namespace: &str) -> Result<Content, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = within(REQUEST, api.get(SYNC_SECRET))
        .await
        .map_err(Box::new)?;
    let data = secret.data.unwrap_or_default();
    let optional = |key| data.get(key).map(|value| value.0.as_slice());
    let key = |key| optional(key).ok_or(Error::Missing(key));
    let front_proxy = optional(FRONT_PROXY_CA_CERT).map(Roots::from_pem);
    Ok(Content {
        version: secret.metadata.resource_version,
        identity: Identity::from_pem(key(TLS_CERT)?, key(TLS_KEY)?)?,
        roots: Roots::from_pem(key(CA_CERT)?)?,
        front_proxy: front_proxy.transpose()?,
    })
}
