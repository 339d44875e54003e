//! The objects of a virtual cluster as they should be. Pure; applied by server-side apply.

use serde_json::{Value, json};
use vcluster_resources::VirtualClusterSpec;
use vcluster_resources::layout::{
    API_PORT, API_TARGET_PORT, TENANT_ROLE, TENANT_SERVICE_ACCOUNT, TENANT_TOKEN_ROLE,
};

use crate::address::{Address, Range};
use crate::admission::{self, Sync};
use crate::distro::{self, Images};
use crate::dns;
use crate::isolation::{self, Isolation};
use crate::pki::Material;
use crate::slot::Slot;
use crate::subject::Subject;

/// What is the same for every virtual cluster of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Namespace of control and sync.
    pub namespace: String,
    /// ServiceAccount of control.
    pub control_account: String,
    /// ServiceAccount of sync.
    pub sync_account: String,
    /// Where images come from.
    pub images: Images,
    /// What NetworkPolicies let control planes and DNS servers do; `None` if there are to be none.
    pub isolation: Option<Isolation>,
}

/// What is wanted of one virtual cluster.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Whose.
    pub subject: &'a Subject,
    /// As its users want it.
    pub spec: &'a VirtualClusterSpec,
    /// As the installation has it.
    pub installation: &'a Installation,
    /// Certificates that verify sync, PEM.
    pub sync_roots: &'a str,
}

impl Wish<'_> {
    /// The object of a slot that needs nothing but the wish; `None` for the others, and for what is not wanted.
    pub fn plain(&self, slot: Slot) -> Option<Value> {
        let rendered = match slot {
            Slot::TenantAccount | Slot::WorkloadAccount => json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "automountServiceAccountToken": false,
            }),
            Slot::TenantBinding => binding(
                TENANT_ROLE,
                &[
                    (TENANT_SERVICE_ACCOUNT, self.subject.namespace().as_str()),
                    (
                        &self.installation.control_account,
                        &self.installation.namespace,
                    ),
                ],
            ),
            Slot::TenantTokenBinding => binding(
                TENANT_TOKEN_ROLE,
                &[(
                    &self.installation.sync_account,
                    &self.installation.namespace,
                )],
            ),
            Slot::Admission => json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "data": admission::files(Sync {
                    namespace: &self.installation.namespace,
                    roots: self.sync_roots,
                }),
            }),
            Slot::DnsService => dns::service(self.subject),
            Slot::ControlPlanePolicy => policy(
                &self
                    .installation
                    .isolation
                    .as_ref()?
                    .control_plane(self.subject, &self.installation.namespace),
            ),
            Slot::DnsPolicy => {
                self.installation.isolation.as_ref()?;
                policy(&isolation::dns(self.subject))
            }
            Slot::Service
            | Slot::Secret(_)
            | Slot::DnsConfig
            | Slot::Dns
            | Slot::ControlPlane
            | Slot::Claim => return None,
        };
        Some(self.owned(slot, rendered))
    }

    /// The Service at that address.
    pub fn service(&self, address: Address) -> Value {
        use vcluster_resources::label;
        self.owned(
            Slot::Service,
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "spec": {
                    "type": "ClusterIP",
                    "clusterIP": address.to_string(),
                    "ipFamilyPolicy": "SingleStack",
                    "ipFamilies": ["IPv4"],
                    "selector": {
                        label::CLUSTER: self.subject.name().as_str(),
                        label::PART: label::Part::ControlPlane.as_str(),
                    },
                    "ports": [
                        port("https", API_PORT),
                        // The endpoints of default/kubernetes inside lead here.
                        port("api", API_TARGET_PORT),
                    ],
                },
            }),
        )
    }

    /// The StatefulSet, for a PKI of that digest.
    pub fn control_plane(
        &self,
        address: Address,
        second: Option<Range>,
        pki_fingerprint: &str,
    ) -> Value {
        let config_hash = format!(
            "{pki_fingerprint}-{}",
            admission::config_fingerprint(&self.installation.namespace)
        );
        let rendered = distro::stateful_set(distro::Inputs {
            subject: self.subject,
            spec: self.spec,
            address,
            second,
            config_hash: &config_hash,
            images: &self.installation.images,
        });
        self.owned(Slot::ControlPlane, rendered)
    }

    /// The DNS server's configuration.
    pub fn dns_config(&self, address: Address) -> Value {
        self.owned(Slot::DnsConfig, dns::config_map(address))
    }

    /// The DNS server, for a Secret of that digest.
    pub fn dns(&self, address: Address, secret_fingerprint: &str) -> Value {
        let rendered = dns::deployment(dns::Inputs {
            subject: self.subject,
            wish: &self.spec.dns,
            address,
            secret_fingerprint,
            images: &self.installation.images,
        });
        self.owned(Slot::Dns, rendered)
    }

    /// A Secret with that contents.
    pub fn secret(&self, slot: Slot, material: &Material) -> Value {
        self.owned(
            slot,
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "data": material.expose(),
            }),
        )
    }

    /// The Secret in the release namespace with the roots of trust. It has no owner: garbage
    /// collection does not reach over namespaces.
    pub fn roots_secret(&self, material: &Material) -> Value {
        let mut annotations = self.subject.annotations();
        annotations["vcluster.dev/name"] = self.subject.name().as_str().into();
        annotations["vcluster.dev/namespace"] = self.subject.namespace().as_str().into();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.subject.roots_secret(),
                "namespace": self.installation.namespace,
                "labels": self.subject.labels(),
                "annotations": annotations,
            },
            "type": "Opaque",
            "data": material.expose(),
        })
    }

    /// Adds the metadata that every object of ours in the host namespace has.
    fn owned(&self, slot: Slot, mut object: Value) -> Value {
        object["metadata"] = json!({
            "name": slot.name(self.subject),
            "namespace": self.subject.namespace().as_str(),
            "labels": self.subject.labels(),
            "annotations": self.subject.annotations(),
            "ownerReferences": [self.subject.owner()],
        });
        object
    }
}

fn port(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "protocol": "TCP", "targetPort": API_TARGET_PORT })
}

fn policy(spec: &Value) -> Value {
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec })
}

fn binding(role: &str, accounts: &[(&str, &str)]) -> Value {
    let subjects: Vec<Value> = accounts
        .iter()
        .map(|(name, namespace)| {
            json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace })
        })
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": role,
        },
        "subjects": subjects,
    })
}
