//! Sync's credential for a virtual API server: one Secret in the host namespace, read by name.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use vcluster_chassis::tls::{self, Identity, Live, Publisher, Roots};
use vcluster_resources::layout::{CA_CERT, SYNC_SECRET, TLS_CERT, TLS_KEY};

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
        let (version, identity, roots) = read(&client, namespace).await?;
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            version,
            identity: Live::channel(identity),
            roots: Live::channel(roots),
        })
    }

    /// What connections are made with.
    pub(crate) fn live(&self) -> (Live<Roots>, Live<Identity>) {
        (self.roots.1.clone(), self.identity.1.clone())
    }

    /// Reads it again; new connections use what has changed.
    pub(crate) async fn refresh(&mut self) -> Result<(), Error> {
        let (version, identity, roots) = read(&self.client, &self.namespace).await?;
        if version != self.version {
            self.version = version;
            self.identity.0.publish(identity);
            self.roots.0.publish(roots);
            tracing::info!(namespace = self.namespace, "credential has changed");
        }
        Ok(())
    }
}

async fn read(
    client: &Client,
    namespace: &str,
) -> Result<(Option<String>, Identity, Roots), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get(SYNC_SECRET).await.map_err(Box::new)?;
    let data = secret.data.unwrap_or_default();
    let key = |key| {
        data.get(key)
            .map(|value| value.0.as_slice())
            .ok_or(Error::Missing(key))
    };
    let identity = Identity::from_pem(key(TLS_CERT)?, key(TLS_KEY)?)?;
    let roots = Roots::from_pem(key(CA_CERT)?)?;
    Ok((secret.metadata.resource_version, identity, roots))
}
