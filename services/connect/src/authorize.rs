//! What a caller may do with a virtual cluster, asked of the host cluster's RBAC.
//!
//! Verb `connect` on `virtualclusters/NAME` lets a caller in as itself, verb `admin` beside it makes it an
//! administrator inside. Answers are kept for seconds. It is asked before anything tells whether the cluster exists.

use vcluster_chassis::access::{self, Attributes, Authorizer};
use vcluster_chassis::identity::Identity;

use crate::refusal::{Kind, Refusal};
use crate::route::ClusterKey;

/// What a caller was granted on a virtual cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// To come in as itself.
    Connect,
    /// To come in as an administrator.
    Admin,
}

/// Asks the host cluster what callers may do.
#[derive(Debug, Clone)]
pub struct Access {
    authorizer: Authorizer,
}

impl Access {
    /// Makes one over the host cluster's authorizer.
    pub fn new(authorizer: Authorizer) -> Self {
        Self { authorizer }
    }

    /// Tells what `caller` may do with `cluster`; refuses who may not connect.
    pub async fn grant(&self, caller: &Identity, cluster: &ClusterKey) -> Result<Grant, Refusal> {
        self.may_connect(caller, cluster).await?;
        match self
            .authorizer
            .check(caller, &attributes("admin", cluster))
            .await
        {
            Ok(()) => Ok(Grant::Admin),
            Err(access::Error::Denied(_)) => Ok(Grant::Connect),
            // Who is an administrator must not lose the rights for a while without being told.
            Err(error) => Err(error.into()),
        }
    }

    /// Succeeds if `caller` may connect to `cluster`.
    pub async fn may_connect(
        &self,
        caller: &Identity,
        cluster: &ClusterKey,
    ) -> Result<(), Refusal> {
        match self
            .authorizer
            .check(caller, &attributes("connect", cluster))
            .await
        {
            Ok(()) => Ok(()),
            Err(access::Error::Denied(denied)) => Err(forbidden(&denied.user, cluster)),
            Err(error) => Err(error.into()),
        }
    }
}

fn attributes(verb: &str, cluster: &ClusterKey) -> Attributes {
    Attributes {
        group: "vcluster.dev".to_owned(),
        resource: "virtualclusters".to_owned(),
        subresource: String::new(),
        namespace: cluster.namespace.to_string(),
        name: cluster.name.to_string(),
        verb: verb.to_owned(),
    }
}

fn forbidden(user: &str, cluster: &ClusterKey) -> Refusal {
    Refusal::new(
        Kind::Forbidden,
        format!(
            "user {user:?} cannot connect to virtual cluster \"{}\" in host namespace \"{}\": ask for \
             verb connect on virtualclusters.vcluster.dev",
            cluster.name, cluster.namespace
        ),
    )
}
