//! The Secrets of a virtual cluster, one per reader, as data: what stands under which key, and who
//! signs it. Minting and checking are folds over the same [`recipe`], so they cannot disagree.

use jiff::Timestamp;
use secrecy::ExposeSecret;
use vcluster_resources::{TenantUri, layout};

use super::inspect::{self, Flaw};
use super::leaf::Leaf;
use super::roots::{
    CA_CERT, CA_KEY, FRONT_PROXY_CA_CERT, SERVICE_ACCOUNT_PRIVATE, SERVICE_ACCOUNT_PUBLIC,
};
use super::{Authority, Error, Issuers, Material, kubeconfig};
use crate::address::Address;
use crate::subject::Subject;

/// Group whose members may do anything.
const MASTERS: &str = "system:masters";
/// User of the virtual API server itself, towards aggregated API servers.
pub const AGGREGATOR_USER: &str = "front-proxy-client";
/// Key of the API server's serving certificate.
pub const API_SERVER_CERT: &str = "apiserver.crt";
/// Key of the API server's serving key.
pub const API_SERVER_KEY: &str = "apiserver.key";
/// Key of the API server's certificate towards aggregated API servers.
pub const AGGREGATOR_CERT: &str = "front-proxy-client.crt";
/// Key of its key.
pub const AGGREGATOR_KEY: &str = "front-proxy-client.key";
/// Key of the controller-manager's kubeconfig.
pub const CONTROLLER_MANAGER_CONFIG: &str = "controller-manager.conf";
/// User as which the virtual API server calls sync.
const SYNC_CLIENT_USER: &str = "kube-apiserver-kubelet-client";

/// A Secret of a virtual cluster, by its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credential {
    /// The control-plane pod.
    ControlPlane,
    /// The gateway.
    Gateway,
    /// Sync.
    Sync,
    /// An administrator of the host.
    Administrator,
    /// The DNS server.
    Dns,
}

/// What is known of a Secret's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Everything in it is as it should be.
    Good {
        /// Digest of the contents.
        fingerprint: String,
    },
    /// Something in it must be made again.
    Flawed {
        /// Which key.
        key: &'static str,
        /// Why.
        flaw: Flaw,
    },
    /// It holds another certificate authority than the cluster's own: nobody may guess which one
    /// is right.
    OtherAuthority {
        /// Which key.
        key: &'static str,
    },
}

/// What stands under one key, or two.
enum Entry {
    /// A copy of something that its issuers have.
    Copy { key: &'static str, kind: Kind },
    /// A certificate and its key.
    Pair {
        certificate: &'static str,
        key: &'static str,
        signer: Signer,
        leaf: Leaf,
    },
    /// A kubeconfig with a client certificate in it.
    Kubeconfig {
        key: &'static str,
        server: String,
        leaf: Leaf,
    },
}

/// What is copied.
enum Kind {
    Cluster,
    ClusterKey,
    FrontProxy,
    ServiceAccountPublic,
    ServiceAccountPrivate,
    Sync,
}

enum Signer {
    Cluster,
    FrontProxy,
    Tenants,
}

impl Credential {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ControlPlane,
        Self::Gateway,
        Self::Sync,
        Self::Administrator,
        Self::Dns,
    ];

    /// Name of its Secret.
    pub const fn secret(self) -> &'static str {
        match self {
            Self::ControlPlane => layout::PKI_SECRET,
            Self::Gateway => layout::GATEWAY_SECRET,
            Self::Sync => layout::SYNC_SECRET,
            Self::Administrator => layout::KUBECONFIG_SECRET,
            Self::Dns => layout::DNS,
        }
    }

    /// Makes the contents of its Secret.
    pub fn mint(
        self,
        issuers: Issuers<'_>,
        subject: &Subject,
        address: Address,
        now: Timestamp,
    ) -> Result<Material, Error> {
        let mut material = Material::default();
        for entry in recipe(self, subject, address) {
            match entry {
                Entry::Copy { key, kind } => material.insert(key, kind.of(issuers)),
                Entry::Pair {
                    certificate,
                    key,
                    signer,
                    leaf,
                } => {
                    let issued = signer.of(issuers).issue(&leaf, now)?;
                    material.insert(certificate, issued.certificate);
                    material.insert(key, issued.key.expose_secret());
                }
                Entry::Kubeconfig { key, server, leaf } => {
                    let authority = &issuers.roots.cluster;
                    let issued = authority.issue(&leaf, now)?;
                    let text = kubeconfig::write(&server, authority.certificate(), &issued);
                    material.insert(key, text.expose_secret());
                }
            }
        }
        Ok(material)
    }

    /// Checks the contents of its Secret.
    pub fn inspect(
        self,
        material: &Material,
        issuers: Issuers<'_>,
        subject: &Subject,
        address: Address,
        now: Timestamp,
    ) -> Health {
        let mut flawed = None;
        for entry in recipe(self, subject, address) {
            match check(&entry, material, issuers, now) {
                Ok(()) => {}
                // Says more than any other flaw, so it must not hide behind an earlier one.
                Err((key, Problem::OtherAuthority)) => return Health::OtherAuthority { key },
                Err((key, Problem::Flaw(flaw))) => {
                    flawed.get_or_insert(Health::Flawed { key, flaw });
                }
            }
        }
        flawed.unwrap_or_else(|| Health::Good {
            fingerprint: material.fingerprint(),
        })
    }
}

enum Problem {
    Flaw(Flaw),
    OtherAuthority,
}

fn check(
    entry: &Entry,
    material: &Material,
    issuers: Issuers<'_>,
    now: Timestamp,
) -> Result<(), (&'static str, Problem)> {
    let text = |key| {
        let flaw = if material.get(key).is_none() {
            Flaw::Missing
        } else {
            Flaw::Unreadable
        };
        material.text(key).ok_or((key, Problem::Flaw(flaw)))
    };
    match entry {
        Entry::Copy { key, kind } => match material.get(key) {
            None => Err((*key, Problem::Flaw(Flaw::Missing))),
            Some(found) if found == kind.of(issuers) => Ok(()),
            Some(found) if kind.is_authority() && inspect::is_certificate(found) => {
                Err((*key, Problem::OtherAuthority))
            }
            Some(_) => Err((*key, Problem::Flaw(Flaw::Stale))),
        },
        Entry::Pair {
            certificate,
            key,
            signer,
            leaf,
        } => {
            let authority = signer.of(issuers).certificate();
            inspect::leaf(text(certificate)?, text(key)?, authority, leaf, now)
                .map_err(|flaw| (*certificate, Problem::Flaw(flaw)))
        }
        Entry::Kubeconfig { key, server, leaf } => {
            let authority = issuers.roots.cluster.certificate();
            kubeconfig::check(text(key)?, server, authority, leaf, now)
                .map_err(|flaw| (*key, Problem::Flaw(flaw)))
        }
    }
}

impl Kind {
    fn of(&self, issuers: Issuers<'_>) -> Vec<u8> {
        let roots = issuers.roots;
        match self {
            Self::Cluster => roots.cluster.certificate().into(),
            Self::ClusterKey => roots.cluster.key().expose_secret().into(),
            Self::FrontProxy => roots.front_proxy.certificate().into(),
            Self::ServiceAccountPublic => roots.service_account_public.as_str().into(),
            Self::ServiceAccountPrivate => roots.service_account_private.expose_secret().into(),
            Self::Sync => issuers.shared.sync.as_str().into(),
        }
    }

    /// Whether it is an authority of the cluster's own, which nothing ever replaces.
    const fn is_authority(&self) -> bool {
        match self {
            Self::Cluster | Self::FrontProxy => true,
            // The installation's changes where an administrator replaces it, and is followed.
            Self::Sync
            | Self::ClusterKey
            | Self::ServiceAccountPublic
            | Self::ServiceAccountPrivate => false,
        }
    }
}

impl Signer {
    const fn of<'i>(&self, issuers: Issuers<'i>) -> &'i Authority {
        match self {
            Self::Cluster => &issuers.roots.cluster,
            Self::FrontProxy => &issuers.roots.front_proxy,
            Self::Tenants => &issuers.shared.tenants,
        }
    }
}

/// What stands in each Secret.
fn recipe(credential: Credential, subject: &Subject, address: Address) -> Vec<Entry> {
    match credential {
        Credential::ControlPlane => control_plane(subject, address),
        // The gateway trusts the cluster's authority and is known by the front proxy's.
        Credential::Gateway => vec![
            Entry::Copy {
                key: layout::CA_CERT,
                kind: Kind::Cluster,
            },
            Entry::Pair {
                certificate: layout::TLS_CERT,
                key: layout::TLS_KEY,
                signer: Signer::FrontProxy,
                leaf: Leaf::client(layout::FRONT_PROXY_USER, None),
            },
        ],
        Credential::Sync => vec![
            Entry::Copy {
                key: layout::CA_CERT,
                kind: Kind::Cluster,
            },
            Entry::Pair {
                certificate: layout::TLS_CERT,
                key: layout::TLS_KEY,
                signer: Signer::Cluster,
                leaf: Leaf::client(layout::SYNC_USER, Some(MASTERS)),
            },
            // By which sync knows the API server when it asks for metrics, and the other way round.
            Entry::Copy {
                key: layout::FRONT_PROXY_CA_CERT,
                kind: Kind::FrontProxy,
            },
            Entry::Copy {
                key: layout::PLATFORM_CA_CERT,
                kind: Kind::Sync,
            },
        ],
        // What the user may read is said inside the virtual cluster.
        Credential::Dns => vec![
            Entry::Copy {
                key: layout::CA_CERT,
                kind: Kind::Cluster,
            },
            Entry::Pair {
                certificate: layout::TLS_CERT,
                key: layout::TLS_KEY,
                signer: Signer::Cluster,
                leaf: Leaf::client(layout::DNS_USER, None),
            },
        ],
        Credential::Administrator => vec![Entry::Kubeconfig {
            key: layout::KUBECONFIG,
            server: address.endpoint(),
            leaf: Leaf::client("kubernetes-admin", Some(MASTERS)),
        }],
    }
}

fn control_plane(subject: &Subject, address: Address) -> Vec<Entry> {
    vec![
        Entry::Copy {
            key: CA_CERT,
            kind: Kind::Cluster,
        },
        // The controller-manager signs CertificateSigningRequests with it.
        Entry::Copy {
            key: CA_KEY,
            kind: Kind::ClusterKey,
        },
        Entry::Copy {
            key: FRONT_PROXY_CA_CERT,
            kind: Kind::FrontProxy,
        },
        Entry::Copy {
            key: SERVICE_ACCOUNT_PUBLIC,
            kind: Kind::ServiceAccountPublic,
        },
        Entry::Copy {
            key: SERVICE_ACCOUNT_PRIVATE,
            kind: Kind::ServiceAccountPrivate,
        },
        Entry::Pair {
            certificate: API_SERVER_CERT,
            key: API_SERVER_KEY,
            signer: Signer::Cluster,
            leaf: Leaf::server("kube-apiserver", server_names(subject, address)),
        },
        Entry::Pair {
            certificate: AGGREGATOR_CERT,
            key: AGGREGATOR_KEY,
            signer: Signer::FrontProxy,
            // Aggregated API servers ask for the name only; sync is one, of every tenant.
            leaf: Leaf::client(AGGREGATOR_USER, None).of_tenant(tenant(subject)),
        },
        Entry::Kubeconfig {
            key: CONTROLLER_MANAGER_CONFIG,
            server: format!("https://127.0.0.1:{}", layout::API_TARGET_PORT),
            leaf: Leaf::client("system:kube-controller-manager", None),
        },
        Entry::Pair {
            certificate: layout::SYNC_CLIENT_CERT,
            key: layout::SYNC_CLIENT_KEY,
            signer: Signer::Tenants,
            leaf: Leaf::client(SYNC_CLIENT_USER, None).of_tenant(tenant(subject)),
        },
        Entry::Copy {
            key: layout::PLATFORM_CA_CERT,
            kind: Kind::Sync,
        },
    ]
}

fn tenant(subject: &Subject) -> TenantUri {
    TenantUri {
        namespace: subject.namespace().clone(),
        name: subject.name().clone(),
        uid: subject.uid().to_owned(),
    }
}

/// Every name by which the virtual API server is called: by its Service in the host, as
/// `default/kubernetes` inside, and from its own pod.
fn server_names(subject: &Subject, address: Address) -> Vec<String> {
    let (name, namespace) = (subject.name(), subject.namespace());
    let mut names: Vec<String> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    ]
    .map(str::to_owned)
    .into();
    names.extend([
        name.to_string(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        address.ip().to_string(),
    ]);
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
