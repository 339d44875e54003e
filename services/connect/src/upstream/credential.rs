//! The gateway's credential for one virtual API server, read from its host namespace.
//!
//! One Secret, read by name. It must bear the UID of the virtual cluster that it is used for: a Secret that
//! was left over, or that somebody put there, opens nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use sha2::{Digest, Sha256};
use vcluster_chassis::tls::{Identity, Roots};
use vcluster_resources::label::CLUSTER_UID;
use vcluster_resources::layout::{CA_CERT, GATEWAY_SECRET, TLS_CERT, TLS_KEY};

use crate::route::ClusterKey;

/// How long reading may take.
const READ: Duration = Duration::from_secs(5);

/// What the gateway shows to a virtual API server, and whom it trusts to be that server.
#[derive(Debug, Clone)]
pub struct Material {
    /// Certificate of the front proxy and its key.
    pub identity: Identity,
    /// Authority of the API server's certificate.
    pub roots: Roots,
    /// Tells one version from the next.
    pub fingerprint: [u8; 32],
}

/// The credential cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none (yet).
    #[error("there is no secret {GATEWAY_SECRET}")]
    Missing,
    /// It belongs to another virtual cluster.
    #[error("the secret {GATEWAY_SECRET} is not of this virtual cluster")]
    Foreign,
    /// It cannot be used.
    #[error("the secret {GATEWAY_SECRET} is broken: {0}")]
    Broken(String),
    /// The host API server cannot be asked.
    #[error("the secret {GATEWAY_SECRET} cannot be read")]
    Unavailable(#[source] Box<kube::Error>),
    /// The host API server does not answer.
    #[error("the secret {GATEWAY_SECRET} cannot be read in time")]
    Timeout,
}

/// Reads the credential for the virtual cluster of that UID.
pub async fn read(client: &kube::Client, key: &ClusterKey, uid: &str) -> Result<Material, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), key.namespace.as_str());
    let read = tokio::time::timeout(READ, api.get_opt(GATEWAY_SECRET));
    let secret = read
        .await
        .map_err(|_elapsed| Error::Timeout)?
        .map_err(|error| Error::Unavailable(Box::new(error)))?
        .ok_or(Error::Missing)?;
    if secret.annotations().get(CLUSTER_UID).map(String::as_str) != Some(uid) {
        return Err(Error::Foreign);
    }
    parse(&secret.data.unwrap_or_default())
}

fn parse(data: &BTreeMap<String, ByteString>) -> Result<Material, Error> {
    let get = |key: &str| {
        let value = data.get(key).map(|value| value.0.as_slice());
        value.ok_or_else(|| Error::Broken(format!("it has no {key}")))
    };
    let (ca, certificate, private) = (get(CA_CERT)?, get(TLS_CERT)?, get(TLS_KEY)?);
    let broken = |error: vcluster_chassis::tls::Error| Error::Broken(error.to_string());
    let mut digest = Sha256::new();
    for part in [ca, certificate, private] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    Ok(Material {
        identity: Identity::from_pem(certificate, private).map_err(broken)?,
        roots: Roots::from_pem(ca).map_err(broken)?,
        fingerprint: digest.finalize().into(),
    })
}
