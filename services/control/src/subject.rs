//! Which virtual cluster: what names and ownership are derived from.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use vcluster_resources::label::{self, Part};
use vcluster_resources::name::Error as NameError;
use vcluster_resources::{ClusterName, HostNamespace, VirtualCluster};

/// The identity of a virtual cluster. A cluster made again under the same name is another subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    name: ClusterName,
    namespace: HostNamespace,
    uid: String,
}

/// An object that cannot be a virtual cluster; the schema refuses such ones.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its name is not allowed.
    #[error("the name of the virtual cluster {0}")]
    Name(#[source] NameError),
    /// Its namespace is not allowed.
    #[error("the namespace of the virtual cluster {0}")]
    Namespace(#[source] NameError),
    /// It was not read from the API.
    #[error("the virtual cluster has no UID")]
    NoUid,
}

impl Subject {
    /// The subject of an object that was read from the API.
    pub fn of(cluster: &VirtualCluster) -> Result<Self, Error> {
        Ok(Self {
            name: cluster.name_any().parse().map_err(Error::Name)?,
            namespace: cluster
                .namespace()
                .unwrap_or_default()
                .parse()
                .map_err(Error::Namespace)?,
            uid: cluster.uid().ok_or(Error::NoUid)?,
        })
    }

    /// Its name.
    pub const fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Its host namespace.
    pub const fn namespace(&self) -> &HostNamespace {
        &self.namespace
    }

    /// Its UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Labels of everything that is made for it.
    pub fn labels(&self) -> Value {
        json!({
            label::CLUSTER: self.name.as_str(),
            label::CLUSTER_UID: self.uid,
            label::PART: Part::ControlPlane.as_str(),
        })
    }

    /// Annotation by which everything that is made for it is known to be ours.
    pub fn annotations(&self) -> Value {
        json!({ label::CLUSTER_UID: self.uid })
    }

    /// The VirtualCluster as owner, so that garbage collection is a second net.
    pub fn owner(&self) -> Value {
        json!({
            "apiVersion": "vcluster.dev/v1alpha1",
            "kind": "VirtualCluster",
            "name": self.name.as_str(),
            "uid": self.uid,
            "controller": true,
        })
    }

    /// Name of the Secret in the release namespace that holds its roots of trust.
    pub fn roots_secret(&self) -> String {
        format!("vcluster-ca-{}", self.uid)
    }

    /// Name of the claim that holds its data.
    pub fn claim(&self) -> String {
        format!("{}-{}-0", crate::distro::DATA_VOLUME, self.name)
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            name: "demo".parse().expect("a good name"),
            namespace: "team-a".parse().expect("a good name"),
            uid: "0d3b6f5e-7c1a-4d58-9f0e-1a2b3c4d5e6f".to_owned(),
        }
    }
}
