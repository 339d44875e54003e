//! The installation's own keys: an authority for its services with an identity for each, and one for
//! the virtual API servers that call sync.
//!
//! Whichever replica comes first makes what is missing, by `create`, so that of two that try one is
//! refused and reads the other's. The leader renews at two thirds of a certificate's life. The
//! authorities and the signing key are never replaced. A Secret that does not bear our label is
//! somebody's own choice, such as identities of the organisation's own authority: it is used and not
//! touched. The gateway's certificate is also its identity towards control and sync, so whoever
//! brings one brings one that they accept.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rcgen::KeyPair;
use secrecy::ExposeSecret;
use serde_json::json;
use vcluster_chassis::clock::Clock;
use vcluster_chassis::tls;
use vcluster_resources::layout::{
    CA_CERT, CONNECT_COMMON_NAME, CONNECT_TLS_SECRET, CONTROL_TLS_SECRET, GATEWAY_ADDRESS,
    GATEWAY_CONFIG_MAP, METRICS_SERVICE, PLATFORM_CA_SECRET, SIGNING_SECRET, SYNC_SERVICE,
    SYNC_TLS_SECRET, TENANT_CA_CERT, TENANT_CA_SECRET, TLS_CERT, TLS_KEY,
};
use vcluster_resources::ownership::CONTROL;

use crate::pki::{self, Authority, Leaf, Material, Shared, Usage, inspect, inspect::Flaw};

pub mod follow;

/// Label of the Secrets that control made, and may therefore renew.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The gateway as users reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its address, `https://HOST[:PORT]`.
    pub address: String,
    /// Names and IP addresses that its certificate is for, besides those of its Service.
    pub names: Vec<String>,
}

/// Why the installation has no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server cannot be asked, or refuses.
    #[error("{what} cannot be read or written")]
    Api {
        /// Which object.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Keys cannot be made.
    #[error("keys cannot be made")]
    Keys(#[source] pki::Error),
    /// An authority's Secret is damaged; replacing it would cut off everybody who trusts it.
    #[error("Secret {secret} is damaged: restore it from a backup, or {or_else}")]
    Authority {
        /// Which.
        secret: &'static str,
        /// What helps where there is no backup.
        or_else: &'static str,
        /// What is wrong.
        source: pki::Error,
    },
    /// This service's own certificate cannot be used.
    #[error("Secret {CONTROL_TLS_SECRET} cannot be used")]
    Identity(#[source] tls::Error),
    /// A Secret that was there a moment ago is gone.
    #[error("Secret {0} vanished")]
    Vanished(&'static str),
}

/// This service's identity and whom it trusts.
#[derive(Clone)]
pub struct Keys {
    /// What it shows.
    pub identity: tls::Identity,
    /// Whose client certificates it takes.
    pub roots: tls::Roots,
    /// What virtual clusters need of the installation.
    pub shared: Arc<Shared>,
    /// The contents of the Secret, to tell whether it has changed.
    fingerprint: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Keeps the installation's keys.
#[derive(Clone)]
pub struct Platform {
    client: Client,
    namespace: String,
    gateway: Gateway,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").finish_non_exhaustive()
    }
}

/// A Secret of a service.
struct Identity {
    secret: &'static str,
    leaf: Leaf,
    /// What else stands in it.
    beside: Option<(&'static str, String)>,
}

/// An authority of the installation.
struct Root {
    secret: &'static str,
    name: &'static str,
    or_else: &'static str,
}

/// Signs the services' certificates.
const PLATFORM: Root = Root {
    secret: PLATFORM_CA_SECRET,
    name: "vcluster-platform-ca",
    or_else: "delete it together with the *-tls Secrets beside it and restart every service",
};

/// Signs the certificates of virtual API servers towards sync.
const TENANTS: Root = Root {
    secret: TENANT_CA_SECRET,
    name: "vcluster-tenant-ca",
    or_else: "delete it, and every virtual API server gets another certificate and restarts",
};

impl Platform {
    /// Keys of the installation in that namespace.
    pub fn new(client: Client, namespace: String, gateway: Gateway, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            namespace,
            gateway,
            clock,
        }
    }

    /// Makes what is missing, renews what is due if `renew`, and gives this service's own keys.
    pub async fn ensure(&self, renew: bool) -> Result<Keys, Error> {
        let now = self.clock.now();
        let authority = self.authority(&PLATFORM, now).await?;
        let tenants = self.authority(&TENANTS, now).await?;
        let mut own = None;
        let mut sync = authority.certificate().to_owned();
        for identity in self.identities(&tenants) {
            let (material, ours) = self.identity(&authority, &identity, renew, now).await?;
            if identity.secret == CONTROL_TLS_SECRET {
                own = Some(material);
            } else if identity.secret == SYNC_TLS_SECRET && !ours {
                // Somebody's own choice, perhaps of another authority.
                sync = sync_roots(&sync, &material);
            }
        }
        self.signing_key().await?;
        self.publish(&authority).await?;
        let own = own.ok_or(Error::Vanished(CONTROL_TLS_SECRET))?;
        keys(&own, Shared { sync, tenants })
    }

    async fn authority(&self, root: &Root, now: Timestamp) -> Result<Authority, Error> {
        let make = || {
            let minted = Authority::mint(root.name, now).map_err(Error::Keys)?;
            let mut material = Material::default();
            material.insert(TLS_CERT, minted.certificate());
            material.insert(TLS_KEY, minted.key().expose_secret());
            Ok(material)
        };
        let (material, _) = self.found_or_made(root.secret, make).await?;
        let text = |what| material.text(what).ok_or(pki::Error::Missing { what });
        let read = || Authority::from_pem(text(TLS_CERT)?, text(TLS_KEY)?, TLS_KEY);
        read().map_err(|source| Error::Authority {
            secret: root.secret,
            or_else: root.or_else,
            source,
        })
    }

    async fn identity(
        &self,
        authority: &Authority,
        identity: &Identity,
        renew: bool,
        now: Timestamp,
    ) -> Result<(Material, bool), Error> {
        let make = || issue(authority, identity, now).map_err(Error::Keys);
        let (material, ours) = self.found_or_made(identity.secret, make).await?;
        let Err(flaw) = check(&material, authority, identity, now) else {
            return Ok((material, ours));
        };
        if !ours || !renew {
            tracing::debug!(
                secret = identity.secret,
                flaw = flaw.as_str(),
                ours,
                "kept as it is"
            );
            return Ok((material, ours));
        }
        tracing::info!(
            secret = identity.secret,
            flaw = flaw.as_str(),
            "issuing a certificate again"
        );
        let material = make()?;
        let patch = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": identity.secret, "labels": { (MANAGED_BY): CONTROL } },
            "data": material.expose(),
        });
        let params = PatchParams::apply(CONTROL).force();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let written = api
            .patch(identity.secret, &params, &Patch::Apply(&patch))
            .await;
        written.map_err(|error| failed(identity.secret, error))?;
        Ok((material, ours))
    }

    /// The key that signs credentials: made once; connect tells if it cannot be used.
    async fn signing_key(&self) -> Result<(), Error> {
        let make = || {
            let pair = KeyPair::generate()
                .map_err(pki::Error::Generate)
                .map_err(Error::Keys)?;
            let mut material = Material::default();
            material.insert(TLS_KEY, pair.serialize_pem());
            Ok(material)
        };
        self.found_or_made(SIGNING_SECRET, make).await.map(drop)
    }

    /// Reads a Secret, or makes it; also tells whether it is ours to renew.
    async fn found_or_made(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Result<Material, Error>,
    ) -> Result<(Material, bool), Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        if let Some(found) = api
            .get_opt(name)
            .await
            .map_err(|error| failed(name, error))?
        {
            return Ok(read(found));
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(MANAGED_BY.to_owned(), CONTROL.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(make()?.expose()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(CONTROL.to_owned()),
            ..PostParams::default()
        };
        match api.create(&params, &secret).await {
            Ok(made) => {
                tracing::info!(secret = name, "made");
                Ok(read(made))
            }
            // Another replica was first.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = api
                    .get_opt(name)
                    .await
                    .map_err(|error| failed(name, error))?;
                found.map(read).ok_or(Error::Vanished(name))
            }
            Err(error) => Err(failed(name, error)),
        }
    }

    /// Tells users where the gateway is and whom to trust.
    async fn publish(&self, authority: &Authority) -> Result<(), Error> {
        let (namespace, name) = GATEWAY_CONFIG_MAP;
        let patch = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": name, "labels": { (MANAGED_BY): CONTROL } },
            "data": {
                GATEWAY_ADDRESS: self.gateway.address,
                CA_CERT: authority.certificate(),
            },
        });
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::apply(CONTROL).force();
        let written = api.patch(name, &params, &Patch::Apply(&patch)).await;
        written.map(drop).map_err(|error| failed(name, error))
    }

    fn identities(&self, tenants: &Authority) -> [Identity; 3] {
        let service = |name: &str, further: &[String]| {
            let namespace = &self.namespace;
            let mut names = vec![
                name.to_owned(),
                format!("{name}.{namespace}"),
                format!("{name}.{namespace}.svc"),
                format!("{name}.{namespace}.svc.cluster.local"),
            ];
            names.extend_from_slice(further);
            names.sort_unstable();
            names.dedup();
            Leaf {
                common_name: name.to_owned(),
                organization: None,
                names,
                tenant: None,
                usage: Usage::Both,
            }
        };
        // What sync is called inside virtual clusters, as an aggregated API server.
        let (kube_system, metrics) = METRICS_SERVICE;
        [
            Identity {
                secret: CONTROL_TLS_SECRET,
                leaf: service("vcluster-control", &[]),
                beside: None,
            },
            Identity {
                secret: SYNC_TLS_SECRET,
                leaf: service(SYNC_SERVICE, &[format!("{metrics}.{kube_system}.svc")]),
                beside: Some((TENANT_CA_CERT, tenants.certificate().to_owned())),
            },
            Identity {
                secret: CONNECT_TLS_SECRET,
                leaf: service(CONNECT_COMMON_NAME, &self.gateway.names),
                beside: None,
            },
        ]
    }
}

fn failed(what: &str, error: kube::Error) -> Error {
    Error::Api {
        what: what.to_owned(),
        source: Box::new(error),
    }
}

fn read(secret: Secret) -> (Material, bool) {
    let labels = secret.metadata.labels.as_ref();
    let ours = labels
        .and_then(|map| map.get(MANAGED_BY))
        .is_some_and(|value| value == CONTROL);
    (Material::of(secret), ours)
}

/// Our own authority's certificates, and those that vouch for an identity of somebody's own.
fn sync_roots(ours: &str, material: &Material) -> String {
    match material.text(CA_CERT) {
        Some(theirs) if theirs != ours => format!("{}\n{theirs}", ours.trim_end()),
        Some(_) | None => ours.to_owned(),
    }
}

fn issue(
    authority: &Authority,
    identity: &Identity,
    now: Timestamp,
) -> Result<Material, pki::Error> {
    let issued = authority.issue(&identity.leaf, now)?;
    let mut material = Material::default();
    material.insert(CA_CERT, authority.certificate());
    material.insert(TLS_CERT, issued.certificate);
    material.insert(TLS_KEY, issued.key.expose_secret());
    if let Some((key, text)) = &identity.beside {
        material.insert(key, text.as_str());
    }
    Ok(material)
}

fn check(
    material: &Material,
    authority: &Authority,
    identity: &Identity,
    now: Timestamp,
) -> Result<(), Flaw> {
    let text = |key| material.text(key).ok_or(Flaw::Missing);
    if text(CA_CERT)? != authority.certificate() {
        return Err(Flaw::Stale);
    }
    if let Some((key, wanted)) = &identity.beside
        && text(key)? != wanted
    {
        return Err(Flaw::Stale);
    }
    inspect::leaf(
        text(TLS_CERT)?,
        text(TLS_KEY)?,
        authority.certificate(),
        &identity.leaf,
        now,
    )
}

fn keys(material: &Material, shared: Shared) -> Result<Keys, Error> {
    let bytes = |key| material.get(key).unwrap_or_default();
    Ok(Keys {
        identity: tls::Identity::from_pem(bytes(TLS_CERT), bytes(TLS_KEY))
            .map_err(Error::Identity)?,
        roots: tls::Roots::from_pem(bytes(CA_CERT)).map_err(Error::Identity)?,
        shared: Arc::new(shared),
        fingerprint: material.fingerprint(),
    })
}

#[cfg(test)]
mod tests;
